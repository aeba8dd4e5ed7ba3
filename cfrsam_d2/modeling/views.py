"""The ways to look at an image: itself, and its flips and rotations.

Points are x, y in px, where a pixel's centre is a whole number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..structures.prompts import upright


@dataclass(frozen=True)
class View:
    """A way to look at an image.

    Attributes:
        transposed: rows become columns.
        flipped: dimensions then reversed, -2 for rows and -1 for columns.
    """

    transposed: bool
    flipped: tuple[int, ...]

    def of_maps(self, maps: Tensor) -> Tensor:
        """(…, h, w) to (…, h, w), or (…, w, h) if transposed."""
        return (maps.mT if self.transposed else maps).flip(self.flipped)

    def undo(self, maps: Tensor) -> Tensor:
        """The inverse of `of_maps`."""
        maps = maps.flip(self.flipped)
        return maps.mT if self.transposed else maps

    def of_prompts(self, prompts: Tensor, height: int, width: int) -> Tensor:
        """Move prompts with the images, which are of height×width px before."""
        xy = prompts.unflatten(-1, (-1, 2))
        if self.transposed:
            xy, width, height = xy.flip(-1), height, width
        if -1 in self.flipped:
            xy = torch.stack([width - 1 - xy[..., 0], xy[..., 1]], dim=-1)
        if -2 in self.flipped:
            xy = torch.stack([xy[..., 0], height - 1 - xy[..., 1]], dim=-1)
        return upright(xy.flatten(-2))

    def of_box(
        self, box: tuple[int, int, int, int], height: int, width: int
    ) -> tuple[int, int, int, int]:
        """Move a box x0, y0, x1, y1, ends excluded, with its image of height×width px."""
        x0, y0, x1, y1 = box
        if self.transposed:
            x0, y0, x1, y1, width, height = y0, x0, y1, x1, height, width
        if -1 in self.flipped:
            x0, x1 = width - x1, width - x0
        if -2 in self.flipped:
            y0, y1 = height - y1, height - y0
        return x0, y0, x1, y1

    def undo_points(self, points: Tensor, height: int, width: int) -> Tensor:
        """Move points (…, 2) back into the images, which are of height×width px."""
        x, y = points.unbind(-1)
        if self.transposed:
            height, width = width, height
        if -1 in self.flipped:
            x = width - 1 - x
        if -2 in self.flipped:
            y = height - 1 - y
        return torch.stack([y, x] if self.transposed else [x, y], dim=-1)


# The image itself and its seven others.
VIEWS = [
    View(transposed, flipped)
    for transposed in (False, True)
    for flipped in ((), (-1,), (-2,), (-2, -1))
]
