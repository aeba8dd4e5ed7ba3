"""The geometry that point and box prompts share.

A prompt is a row of coordinates in px, where a pixel's centre is a whole number: a point is x, y; a
box is x0, y0, x1, y1, its first and its last pixel. R prompts of n corners (1 of a point, 2 of a
box) are (R, 2·n).
"""

from torch import Tensor

from .tiling import Window


def corners(prompts: Tensor) -> Tensor:
    """(R, 2·n) to (R, n, 2)."""
    return prompts.unflatten(1, (-1, 2))


def centers(prompts: Tensor) -> Tensor:
    """Points themselves, and the middles of boxes: (R, 2·n) to (R, 2)."""
    return corners(prompts).mean(dim=1)


def prompts_of_boxes(boxes: Tensor) -> Tensor:
    """Boxes x0, y0, x1, y1 in px, ends excluded, as Detectron2 has them: (R, 4) to prompts."""
    return boxes - boxes.new_tensor([0, 0, 1, 1])


def move_to_window(prompts: Tensor, window: Window) -> Tensor:
    """Cut prompts (R, 2·n) in px of an image to a window, in whose px they are returned."""
    first = prompts.new_tensor([window.x0, window.y0])
    last = prompts.new_tensor([window.x1 - 1, window.y1 - 1])
    return (corners(prompts).clamp(first, last) - first).flatten(1)
