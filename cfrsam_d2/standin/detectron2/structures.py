"""Boxes, masks and everything else that is known of the instances in an image."""

from collections.abc import Iterator
from enum import IntEnum
from itertools import chain
from operator import attrgetter
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class BoxMode(IntEnum):
    """How four numbers describe a box, in px."""

    XYXY_ABS = 0
    XYWH_ABS = 1


class _Stack:
    """What boxes and masks share: a tensor that holds one item after the other."""

    device = property(attrgetter("tensor.device"))

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __getitem__(self, item):
        chosen = self.tensor[[item]] if isinstance(item, int) else self.tensor[item]
        assert chosen.dim() == self.tensor.dim(), f"Indexing with {item} returns {chosen.shape}!"
        return type(self)(chosen)

    def __len__(self) -> int:
        return len(self.tensor)

    def __iter__(self) -> Iterator[Tensor]:
        yield from self.tensor


class Boxes(_Stack):
    """N boxes: `tensor` is (N, 4) float32, each row x1, y1, x2, y2 in px."""

    def __init__(self, tensor: Tensor) -> None:
        tensor = torch.as_tensor(tensor, dtype=torch.float32)
        self.tensor = tensor if tensor.numel() else tensor.reshape(-1, 4)
        assert self.tensor.shape[1:] == (4,), self.tensor.shape

    def to(self, device: torch.device) -> "Boxes":
        return Boxes(self.tensor.to(device=device))


class BitMasks(_Stack):
    """N masks of one image: `tensor` is (N, H, W) bool, `image_size` is (H, W)."""

    def __init__(self, tensor: Tensor | np.ndarray) -> None:
        self.tensor = torch.as_tensor(tensor, dtype=torch.bool)
        assert self.tensor.dim() == 3, self.tensor.shape
        self.image_size = self.tensor.shape[1:]

    def to(self, *args: Any, **kwargs: Any) -> "BitMasks":
        return BitMasks(self.tensor.to(*args, **kwargs))

    def get_bounding_boxes(self) -> Boxes:
        """Tight boxes, on the CPU; those of empty masks are all zero."""
        boxes = torch.zeros(len(self), 4)
        for box, mask in zip(boxes, self.tensor, strict=True):
            if len(pixels := mask.nonzero().flip(1)):  # x, y
                box[:] = torch.cat([pixels.amin(dim=0), pixels.amax(dim=0) + 1])
        return Boxes(boxes)


class Instances:
    """The instances of an image of `image_size` (height, width); each field is an attribute."""

    def __init__(self, image_size: tuple[int, int], **kwargs: Any) -> None:
        self._image_size = image_size
        self._fields: dict[str, Any] = {}
        for name, value in kwargs.items():
            self.set(name, value)

    image_size = property(attrgetter("_image_size"))

    def __setattr__(self, name: str, val: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, val)
        else:
            self.set(name, val)

    def __getattr__(self, name: str) -> Any:
        # `_fields` itself is asked for while an object is being copied or unpickled.
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"Cannot find field '{name}' in the given Instances!")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        length = len(self) if self._fields else len(value)
        assert length == len(value), f"Adding {name} of {len(value)} to Instances of {length}"
        self._fields[name] = value

    def has(self, name: str) -> bool:
        return name in self._fields

    def get(self, name: str) -> Any:
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """The fields by name; changing the dict changes the instances."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> "Instances":
        """A copy whose fields are moved, as far as they can be."""
        moved = Instances(self._image_size)
        for name, value in self._fields.items():
            moved.set(name, value.to(*args, **kwargs) if hasattr(value, "to") else value)
        return moved

    def __getitem__(self, item) -> "Instances":
        """Index every field; one integer gives one instance."""
        if type(item) is int:
            if not -len(self) <= item < len(self):
                raise IndexError("Instances index out of range!")
            item = slice(item, None, len(self))
        chosen = {name: value[item] for name, value in self._fields.items()}
        return Instances(self._image_size, **chosen)

    @staticmethod
    def cat(instance_lists: list["Instances"]) -> "Instances":
        """Join instances of one image, field by field: tensors, lists, or what has a `cat`."""
        first = instance_lists[0]
        joined = Instances(first.image_size)
        for name, value in first.get_fields().items():
            values = [each.get(name) for each in instance_lists]
            if isinstance(value, Tensor):
                joined.set(name, torch.cat(values))
            elif isinstance(value, list):
                joined.set(name, [*chain.from_iterable(values)])
            else:
                joined.set(name, type(value).cat(values))
        return joined

    def __len__(self) -> int:
        for value in self._fields.values():
            return len(value)
        raise NotImplementedError("Empty Instances does not support __len__!")

    def __iter__(self) -> NoReturn:
        raise NotImplementedError("`Instances` object is not iterable!")


class ImageList:
    """`tensor` is (B, C, H, W), padded at bottom right; `image_sizes` are the (h, w) inside."""

    device = property(attrgetter("tensor.device"))

    def __init__(self, tensor: Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> Tensor:
        """An image without its padding."""
        height, width = self.image_sizes[idx]
        return self.tensor[idx, ..., :height, :width]

    @staticmethod
    def from_tensors(
        tensors: list[Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: dict[str, int] | None = None,
    ) -> "ImageList":
        """Pad all images (…, h, w) to the largest, then to a multiple of `size_divisibility`."""
        assert not padding_constraints, "padding_constraints are not in the stand-in"
        sizes = [(image.shape[-2], image.shape[-1]) for image in tensors]
        step = max(size_divisibility, 1)
        height, width = (-(-max(sides) // step) * step for sides in zip(*sizes, strict=True))
        padded = [
            F.pad(image, (0, width - w, 0, height - h), value=pad_value)
            for image, (h, w) in zip(tensors, sizes, strict=True)
        ]
        return ImageList(torch.stack(padded), sizes)
