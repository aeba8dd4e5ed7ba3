"""Backbones: from images to named feature maps."""

from abc import ABCMeta, abstractmethod

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from fvcore.common.registry import Registry
from torch import Tensor, nn

BACKBONE_REGISTRY = Registry("BACKBONE")


class Backbone(nn.Module, metaclass=ABCMeta):
    """A network whose `forward` returns `{name: feature map}`."""

    size_divisibility = property(lambda self: 0)  # of input sides, in px; 0: none

    @abstractmethod
    def forward(self) -> dict[str, Tensor]:
        """Subclasses take the images."""


def build_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> Backbone:
    """The backbone MODEL.BACKBONE.NAME."""
    input_shape = input_shape or ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    return BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)(cfg, input_shape)
