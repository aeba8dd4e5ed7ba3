"""Configuration: the default tree, files with `_BASE_`, and classes built from a config."""

from .config import CfgNode, configurable, get_cfg

__all__ = ["CfgNode", "configurable", "get_cfg"]
