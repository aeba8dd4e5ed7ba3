"""Masks in their boxes: a nucleus costs the area of its box, whatever the size of its image.

N masks, H×W px of their image, h×w px of one box, P px of all boxes together. Boxes are x0, y0, x1,
y1 in px, ends excluded.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes
from torch import Tensor


class BoxMask(NamedTuple):
    """One mask in its box, in NumPy.

    Attributes:
        left, top: where the box lies in the image, px.
        pixels: the mask in its box, (h, w) bool.
    """

    left: int
    top: int
    pixels: np.ndarray

    @classmethod
    def of_frame(cls, frame: np.ndarray, left: int = 0, top: int = 0) -> "BoxMask":
        """Cut a mask to the smallest box that holds it.

        Args:
            frame: (H, W); pixels other than 0 are the mask's.
            left, top: where the frame lies in the image, px.

        Returns:
            The mask; one of 0×0 px if it has none.
        """
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        if rows.size == 0:
            return cls(left, top, np.zeros((0, 0), dtype=bool))
        y, x = int(rows[0]), int(columns[0])
        pixels = frame[y : int(rows[-1]) + 1, x : int(columns[-1]) + 1] != 0
        return cls(left + x, top + y, pixels)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in px of the image, ends excluded."""
        height, width = self.pixels.shape
        return self.left, self.top, self.left + width, self.top + height

    @property
    def area(self) -> int:
        """Px of the mask."""
        return int(self.pixels.sum())

    @property
    def in_image(self) -> tuple[slice, slice]:
        """The index of its box in an image."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)

    def iou(self, other: "BoxMask") -> float:
        """Intersection over union with another mask of the image; one of them has a pixel."""
        x0, y0 = np.maximum(self.box, other.box)[:2]
        x1, y1 = np.minimum(self.box, other.box)[2:]
        if x0 >= x1 or y0 >= y1:
            return 0.0
        one, two = (
            mask.pixels[y0 - mask.top : y1 - mask.top, x0 - mask.left : x1 - mask.left]
            for mask in (self, other)
        )
        common = int((one & two).sum())
        return common / (self.area + other.area - common)

    def indices(self, width: int) -> np.ndarray:
        """The mask's pixels as indices into the flattened image, rising.

        Args:
            width: of the image in px.
        """
        rows, columns = np.nonzero(self.pixels)
        return (rows + self.top) * width + columns + self.left

    def frame(self, height: int, width: int) -> np.ndarray:
        """The mask in the whole image, (height, width) bool; the box must lie inside."""
        frame = np.zeros((height, width), dtype=bool)
        frame[self.in_image] = self.pixels
        return frame


class BoxMasks:
    """The masks of one image, in place of Detectron2's `BitMasks`, as a field of `Instances`.

    Attributes:
        boxes: (N, 4) int64.
        pixels: the masks' bits, box after box and row after row, (P,) bool.
        image_size: H, W.
    """

    def __init__(self, boxes: Tensor, pixels: Tensor, image_size: tuple[int, int]) -> None:
        """
        Args:
            boxes: (N, 4) integers; inside the image.
            pixels: (P,) bool, on the device of `boxes`.
            image_size: H, W.

        Raises:
            ValueError: there are other pixels than the boxes have.
        """
        self.boxes = boxes.long().reshape(-1, 4)
        self.pixels = pixels.bool()
        self.image_size = image_size
        if len(self.pixels) != int(_box_areas(self.boxes).sum()):
            raise ValueError(f"{len(self.pixels)} pixels do not fill {len(self.boxes)} boxes")

    @classmethod
    def empty(cls, image_size: tuple[int, int], device: torch.device | str = "cpu") -> "BoxMasks":
        """No masks."""
        no_boxes = torch.zeros((0, 4), dtype=torch.long, device=device)
        return cls(no_boxes, torch.zeros(0, dtype=torch.bool, device=device), image_size)

    @classmethod
    def from_frames(
        cls,
        frames: Tensor,
        image_size: tuple[int, int] | None = None,
        corners: Tensor | None = None,
    ) -> "BoxMasks":
        """Cut masks to the smallest boxes that hold them; without a pixel, to a box of 0×0 px.

        Args:
            frames: bool, (N, h, w).
            image_size: H, W; None: h, w.
            corners: x0, y0 of each frame in the image, (N, 2) integers; None: 0, 0.
        """
        boxes = mask_boxes(frames)
        owner, x, y = _box_pixels(boxes)
        pixels = frames[owner, y, x]
        if corners is not None:
            boxes = boxes + corners.repeat(1, 2)
        height, width = frames.shape[1:]
        return cls(boxes, pixels, image_size or (height, width))

    @classmethod
    def from_box_masks(cls, masks: Sequence[BoxMask], image_size: tuple[int, int]) -> "BoxMasks":
        """Join masks that lie in NumPy."""
        boxes = np.array([mask.box for mask in masks], dtype=np.int64).reshape(-1, 4)
        pixels = [np.zeros(0, dtype=bool), *(mask.pixels.ravel() for mask in masks)]
        return cls(torch.from_numpy(boxes), torch.from_numpy(np.concatenate(pixels)), image_size)

    @staticmethod
    def cat(masks: Sequence["BoxMasks"]) -> "BoxMasks":
        """Join the masks of one image; one at least."""
        boxes = torch.cat([each.boxes for each in masks])
        return BoxMasks(boxes, torch.cat([each.pixels for each in masks]), masks[0].image_size)

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    def to(self, device: torch.device | str) -> "BoxMasks":
        return BoxMasks(self.boxes.to(device), self.pixels.to(device), self.image_size)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, item: int | slice | Tensor) -> "BoxMasks":
        """Some of the masks, in the order asked for: by index, slice, indices or (N,) bool."""
        if isinstance(item, int):
            item = slice(item, item + 1 or None)
        chosen = torch.arange(len(self), device=self.device)[item]
        boxes, areas = self.boxes[chosen], _box_areas(self.boxes)
        starts = (areas.cumsum(0) - areas)[chosen]
        owner, place = _places(areas[chosen])
        return BoxMasks(boxes, self.pixels[starts[owner] + place], self.image_size)

    def __iter__(self) -> Iterator[BoxMask]:
        """The masks one by one, in NumPy."""
        pixels, start = self.pixels.cpu().numpy(), 0
        for x0, y0, x1, y1 in self.boxes.tolist():
            end = start + (x1 - x0) * (y1 - y0)
            yield BoxMask(x0, y0, pixels[start:end].reshape(y1 - y0, x1 - x0))
            start = end

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"BoxMasks({len(self)} masks of an image of {height}×{width} px)"

    def inside(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of every pixel of the masks, mask after mask and row after row: its mask, x and y."""
        owner, x, y = _box_pixels(self.boxes)
        return owner[self.pixels], x[self.pixels], y[self.pixels]

    def areas(self) -> Tensor:
        """Px of each mask, (N,)."""
        owner, _, _ = self.inside()
        return torch.bincount(owner, minlength=len(self))

    def nonempty(self) -> Tensor:
        """Which masks have a pixel, (N,) bool."""
        return self.areas() > 0

    def centroids(self) -> Tensor:
        """Mean x, y of each mask's pixels in pixel-index units, (N, 2) float64; NaN without any."""
        owner, x, y = self.inside()
        sums = [torch.bincount(owner, axis.double(), minlength=len(self)) for axis in (x, y)]
        return torch.stack(sums, dim=1) / self.areas()[:, None]

    def unions(self, numbers: Tensor) -> "BoxMasks":
        """Join masks that have a pixel at least.

        Args:
            numbers: of the union that each goes into, (N,): 0, 1, 2, …, none left out.

        Returns:
            The unions, in the order of their numbers.
        """
        index = numbers[:, None].expand(-1, 2)
        nothing = self.boxes.new_zeros((len(numbers.unique()), 2))
        boxes = torch.cat(
            [
                nothing.scatter_reduce(0, index, self.boxes[:, :2], "amin", include_self=False),
                nothing.scatter_reduce(0, index, self.boxes[:, 2:], "amax", include_self=False),
            ],
            dim=1,
        )
        areas = _box_areas(boxes)
        owner, x, y = self.inside()
        of_pixel = numbers[owner]
        x0, y0, x1, _ = boxes[of_pixel].unbind(dim=1)
        place = (y - y0) * (x1 - x0) + x - x0
        pixels = self.pixels.new_zeros(int(areas.sum()))
        pixels[(areas.cumsum(0) - areas)[of_pixel] + place] = True
        return BoxMasks(boxes, pixels, self.image_size)

    def get_bounding_boxes(self) -> Boxes:
        """As of `BitMasks`, in float32."""
        return Boxes(self.boxes.float())

    def indices(self) -> list[np.ndarray]:
        """Each mask's pixels as indices into the flattened image, rising."""
        return [mask.indices(self.image_size[1]) for mask in self]

    def label_map(self, order: Tensor | None = None) -> Tensor:
        """Paint all masks into one map.

        Args:
            order: in which they are painted, the last on top, (N,); None: the first mask on top.

        Returns:
            (H, W) int32: 0 is background, i + 1 a pixel of mask i.
        """
        if order is None:
            order = torch.arange(len(self) - 1, -1, -1, device=self.device)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(1, len(order) + 1, device=self.device)
        owner, x, y = self.inside()
        height, width = self.image_size
        top = rank.new_zeros(height * width)
        top.scatter_reduce_(0, y * width + x, rank[owner], "amax")
        labels = torch.cat([order.new_zeros(1), order + 1])
        return labels[top].int().view(height, width)

    def to_bitmasks(self) -> BitMasks:
        """Detectron2's form, N×H×W px."""
        frames = torch.zeros((len(self), *self.image_size), dtype=torch.bool, device=self.device)
        owner, x, y = self.inside()
        frames[owner, y, x] = True
        return BitMasks(frames)

    def rescaled(self, image_size: tuple[int, int]) -> "BoxMasks":
        """Resample the masks with their image, by `F.interpolate`'s bilinear rule with antialias.

        Args:
            image_size: the new H, W.

        Returns:
            As many masks, each cut to its new box; it has no pixel where it would be below a half.
        """
        masks = self.to("cpu")  # mask after mask: on a device each would wait for its box
        rescaled = [BoxMasks.empty(image_size)]
        for (x0, y0, x1, y1), pixels in zip(masks.boxes.tolist(), masks._split(), strict=True):
            mask = pixels.view(y1 - y0, x1 - x0).float()
            top, rows = _resampling(y0, y1, self.image_size[0], image_size[0], mask)
            left, columns = _resampling(x0, x1, self.image_size[1], image_size[1], mask)
            frame = (rows @ mask @ columns.T > 0.5)[None]
            corner = masks.boxes.new_tensor([[left, top]])
            rescaled.append(BoxMasks.from_frames(frame, image_size, corner))
        return BoxMasks.cat(rescaled).to(self.device)

    def _split(self) -> tuple[Tensor, ...]:
        return self.pixels.split(_box_areas(self.boxes).tolist()) if len(self) else ()


def mask_boxes(masks: Tensor) -> Tensor:
    """The smallest box around each mask.

    Args:
        masks: bool, (N, h, w).

    Returns:
        (N, 4), int64. A mask without a pixel gets zeros.
    """
    sides = []
    for present in (masks.any(dim=1), masks.any(dim=2)):  # columns (N, w), rows (N, h)
        first = present.int().argmax(dim=1)
        end = present.shape[1] - present.flip(1).int().argmax(dim=1)
        sides.append((first, end))
    (x0, x1), (y0, y1) = sides
    boxes = torch.stack([x0, y0, x1, y1], dim=1)
    return boxes * present.any(dim=1, keepdim=True)


def _box_areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _box_pixels(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of every pixel of every box, row after row: its box, x and y; each (P,)."""
    owner, place = _places(_box_areas(boxes))
    widths = (boxes[:, 2] - boxes[:, 0])[owner]
    return owner, boxes[owner, 0] + place % widths, boxes[owner, 1] + place // widths


def _places(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Of `counts` (N,) things each: the owner of every thing, and its number among the owner's."""
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    starts = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - starts[owner]


def _resampling(start: int, end: int, old: int, new: int, like: Tensor) -> tuple[int, Tensor]:
    """How the px from `start` to `end` of an axis of `old` px weigh in one of `new` px.

    Returns:
        The first new px in which they can weigh, and the weights from there on, (n, end − start).
    """
    scale = old / new
    support = max(scale, 1.0)  # px on either side of a new pixel's centre
    first = max(math.floor((start - support) / scale), 0)
    centers = (torch.arange(first, min(math.ceil((end + support) / scale), new)) + 0.5) * scale
    low, high = max(start - math.ceil(2 * support), 0), min(end + math.ceil(2 * support), old)
    distances = torch.arange(low, high) + 0.5 - centers[:, None]
    weights = (1 - distances.abs() / support).clamp(min=0)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return first, weights[:, start - low : end - low].to(like)
