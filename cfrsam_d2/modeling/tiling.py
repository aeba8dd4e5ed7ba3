"""The geometry of windows over an image. P points, R masks, h×w px of a window."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Window:
    """A rectangle of the image in px: columns x0 to x1, rows y0 to y1, ends excluded."""

    x0: int
    y0: int
    x1: int
    y1: int


def cut_windows(height: int, width: int, size: int, overlap: int) -> list[Window]:
    """Windows of at most `size` px that cover an image, neighbours sharing `overlap` px or more.

    The last window of a row or column is moved back into the image. An image that fits is one
    window.
    """
    return [
        Window(x, y, min(x + size, width), min(y + size, height))
        for y in _starts(height, size, overlap)
        for x in _starts(width, size, overlap)
    ]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    last = max(length - size, 0)
    return [*range(0, last, size - overlap), last]


def points_inside(points: torch.Tensor, window: Window) -> torch.Tensor:
    """Indices of the points (P, 2) that lie in a window."""
    x, y = points.unbind(dim=1)
    inside = (x >= window.x0) & (x <= window.x1 - 1) & (y >= window.y0) & (y <= window.y1 - 1)
    return inside.nonzero().squeeze(1)


def cut_by_edge(
    boxes: torch.Tensor, window: Window, height: int, width: int, tolerance: int
) -> torch.Tensor:
    """Which boxes come within `tolerance` px of a window edge that lies inside the image.

    Args:
        boxes: x0, y0, x1, y1 in px of the image, ends excluded, (R, 4).
        window: the masks' window.
        height, width: of the image.
        tolerance: px.

    Returns:
        bool, (R,).
    """
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    left = (window.x0 > 0) & (x0 < window.x0 + tolerance)
    top = (window.y0 > 0) & (y0 < window.y0 + tolerance)
    right = (window.x1 < width) & (x1 > window.x1 - tolerance)
    bottom = (window.y1 < height) & (y1 > window.y1 - tolerance)
    return left | top | right | bottom
