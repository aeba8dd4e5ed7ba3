"""Shapes of feature maps, and NMS."""

from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import boxes as box_ops


@dataclass
class ShapeSpec:
    """What is known of a feature map before there is one."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Indices that survive NMS among boxes of equal `idxs`, best score first."""
    return box_ops.batched_nms(boxes.float(), scores, idxs, iou_threshold)
