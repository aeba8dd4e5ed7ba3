"""fvcore's registry, by Detectron2's path."""

from fvcore.common.registry import Registry

__all__ = ["Registry"]
