"""Backbones: from images to named feature maps."""

from abc import ABCMeta, abstractmethod

from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.utils.registry import Registry

BACKBONE_REGISTRY = Registry("BACKBONE")


class Backbone(nn.Module, metaclass=ABCMeta):
    """A network whose `forward` returns `{name: feature map}`."""

    @abstractmethod
    def forward(self) -> dict[str, Tensor]:
        """Subclasses take the images."""

    @property
    def size_divisibility(self) -> int:
        """Input sides must be multiples of this, in px; 0: of anything."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """What `ImageList.from_tensors` takes by this name."""
        return {}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each map, by name."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name], stride=self._out_feature_strides[name]
            )
            for name in self._out_features
        }


def build_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> Backbone:
    """The backbone MODEL.BACKBONE.NAME."""
    if input_shape is None:
        input_shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    backbone = BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)(cfg, input_shape)
    assert isinstance(backbone, Backbone)
    return backbone
