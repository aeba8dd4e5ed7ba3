"""Layer helpers: shapes, normalisation by name, NMS by class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torchvision.ops import boxes as box_ops


@dataclass
class ShapeSpec:
    """What is known of a feature map before there is one."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None


def get_norm(norm: str | Callable | None, out_channels: int) -> nn.Module | None:
    """The normalisation layer called `norm` ("BN", "SyncBN" or "GN"); none for "" and None."""
    if norm is None or norm == "":
        return None
    if isinstance(norm, str):
        norm = {
            "BN": nn.BatchNorm2d,
            "SyncBN": nn.SyncBatchNorm,
            "GN": lambda channels: nn.GroupNorm(32, channels),
        }[norm]
    return norm(out_channels)


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """Indices that survive NMS among boxes of equal `idxs`, best score first."""
    assert boxes.shape[-1] == 4
    return box_ops.batched_nms(boxes.float(), scores, idxs, iou_threshold)
