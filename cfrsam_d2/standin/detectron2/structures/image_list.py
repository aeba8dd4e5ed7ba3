"""Images of several sizes as one padded tensor."""

from typing import Any

import torch
from torch.nn import functional as F


class ImageList:
    """`tensor` is (B, C, H, W), padded at bottom right; `image_sizes` are the (h, w) inside."""

    def __init__(self, tensor: torch.Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> torch.Tensor:
        """An image without its padding."""
        height, width = self.image_sizes[idx]
        return self.tensor[idx, ..., :height, :width]

    def to(self, *args: Any, **kwargs: Any) -> "ImageList":
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: list[torch.Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: dict[str, int] | None = None,
    ) -> "ImageList":
        """Pad all images (…, h, w) to the largest, then to a multiple of `size_divisibility`.

        Of `padding_constraints`, "size_divisibility" goes before the argument, and a "square_size"
        above 0 is the side that all are padded to.
        """
        assert isinstance(tensors, (tuple, list)) and len(tensors) > 0
        for image in tensors:
            assert isinstance(image, torch.Tensor), type(image)
            assert image.shape[:-2] == tensors[0].shape[:-2], image.shape
        constraints = padding_constraints or {}
        step = max(constraints.get("size_divisibility", size_divisibility), 1)
        square = constraints.get("square_size", 0)
        sizes = [(image.shape[-2], image.shape[-1]) for image in tensors]
        largest = (square, square) if square > 0 else [max(sides) for sides in zip(*sizes)]  # noqa: B905
        height, width = (-(-side // step) * step for side in largest)
        padded = [
            F.pad(image, (0, width - w, 0, height - h), value=pad_value)
            for image, (h, w) in zip(tensors, sizes, strict=True)
        ]
        return ImageList(torch.stack(padded), sizes)
