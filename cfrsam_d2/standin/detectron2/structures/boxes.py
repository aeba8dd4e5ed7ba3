"""Axis-aligned boxes."""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch


class BoxMode(IntEnum):
    """How four numbers describe a box, in px."""

    XYXY_ABS = 0
    XYWH_ABS = 1

    @staticmethod
    def convert(box, from_mode: "BoxMode", to_mode: "BoxMode"):
        """Convert a list, a tuple or an (N, 4) array or tensor; the type stays."""
        if from_mode == to_mode:
            return box
        single = isinstance(box, (list, tuple))
        if single:
            assert len(box) == 4, "BoxMode.convert takes 4 numbers or an Nx4 array"
        # A copy: the input stays as it is.
        rows = torch.tensor([box]) if single else torch.as_tensor(box).clone()
        sign = 1 if to_mode == BoxMode.XYXY_ABS else -1
        rows[:, 2:] += sign * rows[:, :2]
        if single:
            return type(box)(rows[0].tolist())
        return rows.numpy() if isinstance(box, np.ndarray) else rows


class Boxes:
    """N boxes: `tensor` is (N, 4) float32, each row x1, y1, x2, y2 in px."""

    def __init__(self, tensor: torch.Tensor) -> None:
        tensor = torch.as_tensor(tensor, dtype=torch.float32)
        if tensor.numel() == 0:
            tensor = tensor.reshape(-1, 4)
        assert tensor.dim() == 2 and tensor.size(-1) == 4, tensor.size()
        self.tensor = tensor

    def clone(self) -> "Boxes":
        return Boxes(self.tensor.clone())

    def to(self, device: torch.device) -> "Boxes":
        return Boxes(self.tensor.to(device=device))

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def area(self) -> torch.Tensor:
        """(N,) areas in px²."""
        return (self.tensor[:, 2:] - self.tensor[:, :2]).prod(dim=1)

    def clip(self, box_size: tuple[int, int]) -> None:
        """Clip in place to an image of (height, width)."""
        assert torch.isfinite(self.tensor).all(), "Box tensor contains infinite or NaN!"
        height, width = box_size
        limit = self.tensor.new_tensor([width, height, width, height])
        self.tensor = torch.minimum(self.tensor.clamp(min=0), limit)

    def nonempty(self, threshold: float = 0.0) -> torch.Tensor:
        """(N,) bool: both sides are longer than `threshold` px."""
        return (self.tensor[:, 2:] - self.tensor[:, :2] > threshold).all(dim=1)

    def get_centers(self) -> torch.Tensor:
        """(N, 2) centres x, y."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Scale in place."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    def __getitem__(self, item) -> "Boxes":
        rows = self.tensor[[item]] if isinstance(item, int) else self.tensor[item]
        assert rows.dim() == 2, f"Indexing on Boxes with {item} failed to return a matrix!"
        return Boxes(rows)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.tensor

    def __repr__(self) -> str:
        return f"Boxes({self.tensor})"

    @classmethod
    def cat(cls, boxes_list: list["Boxes"]) -> "Boxes":
        if len(boxes_list) == 0:
            return cls(torch.empty(0))
        return cls(torch.cat([boxes.tensor for boxes in boxes_list]))


def pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """(N, M) intersection over union; 0 where boxes do not meet."""
    first, second = boxes1.tensor[:, None], boxes2.tensor[None]
    near = torch.maximum(first[..., :2], second[..., :2])
    far = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (far - near).clamp(min=0).prod(dim=-1)
    union = boxes1.area()[:, None] + boxes2.area() - shared
    return torch.where(shared > 0, shared / union, torch.zeros_like(shared))
