"""Registries of model parts, and building them by the names in a config."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from fvcore.common.registry import Registry
from torch import nn

from .backbone import BACKBONE_REGISTRY, Backbone, build_backbone  # noqa: F401

META_ARCH_REGISTRY = Registry("META_ARCH")
PROPOSAL_GENERATOR_REGISTRY = Registry("PROPOSAL_GENERATOR")


def build_model(cfg: CfgNode) -> nn.Module:
    """The model MODEL.META_ARCHITECTURE on MODEL.DEVICE, without loading weights."""
    return META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg).to(cfg.MODEL.DEVICE)


def build_proposal_generator(cfg: CfgNode, input_shape: dict[str, ShapeSpec] | None) -> nn.Module:
    """The generator MODEL.PROPOSAL_GENERATOR.NAME."""
    return PROPOSAL_GENERATOR_REGISTRY.get(cfg.MODEL.PROPOSAL_GENERATOR.NAME)(cfg, input_shape)
