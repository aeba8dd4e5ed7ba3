"""Registries of model parts, and building them by the names in a config."""

from .backbone import BACKBONE_REGISTRY, Backbone, build_backbone
from .meta_arch import META_ARCH_REGISTRY, build_model
from .proposal_generator import PROPOSAL_GENERATOR_REGISTRY, build_proposal_generator

__all__ = [
    "BACKBONE_REGISTRY",
    "META_ARCH_REGISTRY",
    "PROPOSAL_GENERATOR_REGISTRY",
    "Backbone",
    "build_backbone",
    "build_model",
    "build_proposal_generator",
]
