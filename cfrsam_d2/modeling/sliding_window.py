"""A sliding window over images of any size, the prompts in it, and the masks that it cuts off.

The encoder sees windows; prompts are decoded in frames, squares of a window's maps. By default a
window is one frame.

P prompts of n corners are (P, 2·n), see `structures.prompts`. R masks, H×W px of an image; their
boxes are x0, y0, x1, y1, ends excluded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..structures.prompts import centers

CELL = 16  # px of the image, of the maps that frames are cut from


class Window(NamedTuple):
    """A rectangle of an image in px: columns x0 to x1, rows y0 to y1, ends excluded."""

    image: int  # its index
    x0: int
    y0: int
    x1: int
    y1: int


class Frame(NamedTuple):
    """A part of a window in which prompts are decoded.

    Attributes:
        area: of the image.
        core: whose prompts it decodes: each prompt lies in the core of one frame of its window.
    """

    area: Window
    core: Window

    def box_in(self, window: Window) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of the area in px of the window, made whole cells at its end."""
        x0, y0, x1, y1 = (
            end - first for end, first in zip(self.area[1:], 2 * window[1:3], strict=True)
        )
        return x0, y0, -(-x1 // CELL) * CELL, -(-y1 // CELL) * CELL


@dataclass(frozen=True)
class SlidingWindow:
    """How images are cut for stage 2.

    Attributes:
        size: px; an image that fits is one window.
        overlap: px that neighbouring windows share at least.
        edge_tolerance: px from a window edge inside the image within which masks are dropped: a
            neighbouring window has them whole.
        batch: most windows of 256×256 px that are encoded at once, of larger ones fewer.
        frame: px; in a larger window prompts are decoded in frames of this size.
        repeat_prompts: a prompt is decoded in every window that it lies in, as published; without,
            in the one that reaches farthest around it.

    Raises:
        UserError: windows would not move on, or frames do not begin where cells do.
    """

    size: int = 256
    overlap: int = 64
    edge_tolerance: int = 7
    batch: int = 8
    frame: int = 256
    repeat_prompts: bool = False

    def __post_init__(self) -> None:
        if self.frame <= 0 or self.frame % (2 * CELL):
            raise UserError(f"FRAME is {self.frame}: give a positive multiple of {2 * CELL} px")
        if not 0 <= self.overlap < self.size:
            raise UserError(
                f"overlap is {self.overlap} with windows of {self.size} px: give px from 0 to "
                "below their size"
            )

    @property
    def stride(self) -> int:
        """Px from a window to the next."""
        return self.size - self.overlap

    @property
    def at_once(self) -> int:
        """Most windows that are encoded at once: no more px than `batch` of 256×256 px have."""
        return max(self.batch * 256**2 // max(self.size, 256) ** 2, 1)

    def starts(self, length: int) -> list[int]:
        """Where the windows of a row or column of `length` px start; the last is moved back."""
        return [*range(0, length - self.size, self.stride), max(length - self.size, 0)]

    def windows(self, image: int, height: int, width: int) -> list[Window]:
        """The windows of an image, row by row."""
        return [
            Window(image, x, y, min(x + self.size, width), min(y + self.size, height))
            for y in self.starts(height)
            for x in self.starts(width)
        ]

    def core(self, window: Window, image_size: tuple[int, int]) -> Window:
        """The part of a window whose prompts are decoded in it: to the middle of each overlap.

        Args:
            window: one of `windows`.
            image_size: H, W.
        """
        (x0, x1), (y0, y1) = (
            self._core(window.x0, window.x1, image_size[1]),
            self._core(window.y0, window.y1, image_size[0]),
        )
        return window if self.repeat_prompts else Window(window.image, x0, y0, x1, y1)

    def _core(self, first: int, end: int, length: int) -> tuple[int, int]:
        """That of a window from `first` to `end` in a row or column of `length` px."""
        previous_end = (first - 1) // self.stride * self.stride + self.size
        return (
            (first + previous_end) // 2 if first > 0 else first,
            (min(first + self.stride, length - self.size) + end) // 2 if end < length else end,
        )

    def frames(self, window: Window) -> list[Frame]:
        """The frames of a window, row by row; each overlaps its neighbours by a half.

        So a prompt is at least a quarter of a frame from an edge of its frame that is not the
        window's.
        """

        def spans(first: int, end: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
            """The frames along a side of the window, and their cores: first px and end of each."""
            last = -(-(end - first) // CELL) * CELL - self.frame
            starts = [first, *range(first + self.frame // 2, first + last, self.frame // 2)]
            starts += [first + last] if last > 0 else []
            borders = [(one + other + self.frame) // 2 for one, other in pairwise(starts)]
            cores = pairwise([first, *borders, end])
            ends = [min(start + self.frame, end) for start in starts]
            return list(zip(zip(starts, ends, strict=True), cores, strict=True))

        rows, columns = spans(window.y0, window.y1), spans(window.x0, window.x1)
        return [
            Frame(
                area=Window(window.image, x0, y0, x1, y1),
                core=Window(window.image, core_x0, core_y0, core_x1, core_y1),
            )
            for ((y0, y1), (core_y0, core_y1)), ((x0, x1), (core_x0, core_x1)) in product(
                rows, columns
            )
        ]

    def batches(
        self, image_sizes: Sequence[tuple[int, int]], prompts: Sequence[Tensor] | None = None
    ) -> Iterator[list[Window]]:
        """The windows of images, those of one size together, as many as `batch` allows.

        Args:
            image_sizes: H, W of each image.
            prompts: of each image, (P, 2·n): windows that decode none are left out.
        """
        windows = [
            window
            for image, size in enumerate(image_sizes)
            for window in self.windows(image, *size)
            if prompts is None or in_core(prompts[image], self.core(window, size)).any()
        ]
        by_size: dict[tuple[int, int], list[Window]] = {}
        for window in windows:
            by_size.setdefault((window.y1 - window.y0, window.x1 - window.x0), []).append(window)
        at_once = self.at_once
        for of_size in by_size.values():
            for first in range(0, len(of_size), at_once):
                yield of_size[first : first + at_once]

    def keeps(self, boxes: Tensor, window: Window, image_size: tuple[int, int]) -> Tensor:
        """Which masks are not cut off by their window.

        Args:
            boxes: of the masks in the image, (R, 4).
            window: the masks' window.
            image_size: H, W.

        Returns:
            bool, (R,).
        """
        height, width = image_size
        x0, y0, x1, y1 = boxes.unbind(dim=1)
        # As released: no more than the tolerance between the window's box and the mask's first or
        # last pixel, which is x1 - 1.
        left = (window.x0 > 0) & (x0 <= window.x0 + self.edge_tolerance)
        top = (window.y0 > 0) & (y0 <= window.y0 + self.edge_tolerance)
        right = (window.x1 < width) & (x1 > window.x1 - self.edge_tolerance)
        bottom = (window.y1 < height) & (y1 > window.y1 - self.edge_tolerance)
        return ~(left | top | right | bottom)


def prompts_in_window(prompts: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """The prompts of an image whose centers lie in a window.

    Args:
        prompts: in px of the image, (P, 2·n).
        window: of the image.

    Returns:
        Their indices (R,), and the prompts, cut to the window and in its px, (R, 2·n).
    """
    first = prompts.new_tensor([window.x0, window.y0])
    last = prompts.new_tensor([window.x1 - 1, window.y1 - 1])
    points = centers(prompts)
    inside = ((points >= first) & (points <= last)).all(dim=1).nonzero().squeeze(1)
    cut = prompts[inside].unflatten(1, (-1, 2)).clamp(first, last) - first
    return inside, cut.flatten(1)


def in_core(prompts: Tensor, core: Window) -> Tensor:
    """Which prompts of an image, (P, 2·n), have their centers in a core: bool, (P,)."""
    (_, x0, y0, x1, y1), (x, y) = core, centers(prompts).unbind(dim=1)
    return (x >= x0) & (x < x1) & (y >= y0) & (y < y1)


def with_negatives(points: Tensor, count: int) -> Tensor:
    """Points, each with the nearest of the others, the nearest first.

    Args:
        points: all of an image or a window, (P, 2).
        count: k, of negative ones for each.

    Returns:
        (P, 1+k, 2); NaN where there are fewer than k others.
    """
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    nearest = distances.argsort(dim=1, stable=True)[:, : min(count, max(len(points) - 1, 0))]
    missing = points.new_full((len(points), count - nearest.shape[1], 2), torch.nan)
    return torch.cat([points[:, None], points[nearest], missing], dim=1)


def best_per_prompt(scores: Tensor, prompts: Tensor) -> Tensor:
    """Indices of the highest-scored mask of each prompt, highest first.

    Args:
        scores: (R,).
        prompts: index of each mask's prompt, (R,).
    """
    order = scores.argsort(descending=True, stable=True)
    found, prompt_of = prompts[order].unique(return_inverse=True)
    ranks = torch.arange(len(order), device=order.device)
    first = ranks.new_zeros(len(found)).scatter_reduce(
        0, prompt_of, ranks, "amin", include_self=False
    )
    return order[first.sort().values]
