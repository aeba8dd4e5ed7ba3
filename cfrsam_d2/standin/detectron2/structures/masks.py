"""Full-frame masks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .boxes import Boxes


class BitMasks:
    """N masks of one image: `tensor` is (N, H, W) bool, `image_size` is (H, W)."""

    def __init__(self, tensor: torch.Tensor | np.ndarray) -> None:
        tensor = torch.as_tensor(tensor, dtype=torch.bool)
        assert tensor.dim() == 3, tensor.size()
        self.image_size = tensor.shape[1:]
        self.tensor = tensor

    def to(self, *args: Any, **kwargs: Any) -> "BitMasks":
        return BitMasks(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def nonempty(self) -> torch.Tensor:
        """(N,) bool: the mask has a pixel."""
        return self.tensor.flatten(1).any(dim=1)

    def get_bounding_boxes(self) -> Boxes:
        """Tight boxes; those of empty masks are all zero. On the CPU, as Detectron2's."""
        boxes = torch.zeros(len(self), 4)
        for box, mask in zip(boxes, self.tensor, strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            if len(rows):
                sides = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                box[:] = torch.stack(sides)
        return Boxes(boxes)

    def __getitem__(self, item) -> "BitMasks":
        masks = self.tensor[[item]] if isinstance(item, int) else self.tensor[item]
        assert masks.dim() == 3, f"Indexing on BitMasks with {item} returns {masks.shape}!"
        return BitMasks(masks)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.tensor

    def __repr__(self) -> str:
        return f"BitMasks(num_instances={len(self)})"

    @staticmethod
    def cat(bitmasks_list: list["BitMasks"]) -> "BitMasks":
        assert len(bitmasks_list) > 0
        return BitMasks(torch.cat([masks.tensor for masks in bitmasks_list]))
