"""Prompts of stage 2: the one place that says what their columns mean.

A prompt is a row of coordinates in px, where a pixel's centre is a whole number: a point is x, y; a
box is x0, y0, x1, y1, its first and its last pixel; a point with its box is x, y, x0, y0, x1, y1.
P prompts of n corners (a point is 1, a box 2, both are 3) are (P, 2·n); points with k negative ones
each are (P, 1+k, 2).
"""

import torch
from detectron2.structures import Instances
from torch import Tensor

_POINT_COLUMNS = {2: 2, 4: 0, 6: 2}  # by a prompt's columns; all others are its box's


def prompts_of(proposals: Instances, *, box_beside_point: bool = False) -> Tensor:
    """The prompts of proposals.

    Args:
        proposals: with `proposal_points` (P, 2), and `proposal_boxes` where boxes prompt.
        box_beside_point: boxes prompt beside the points rather than in their place.

    Returns:
        (P, 2), (P, 4) or (P, 6).
    """
    if not proposals.has("proposal_boxes"):
        return proposals.proposal_points
    boxes = box_prompts(proposals.proposal_boxes.tensor)
    return beside(proposals.proposal_points, boxes) if box_beside_point else boxes


def box_prompts(boxes: Tensor) -> Tensor:
    """Boxes x0, y0, x1, y1 in px, ends excluded, as Detectron2 has them: (P, 4) to prompts."""
    return boxes - boxes.new_tensor([0, 0, 1, 1])


def beside(points: Tensor, boxes: Tensor) -> Tensor:
    """Points (P, 2), each with its box (P, 4): to (P, 6)."""
    return torch.cat([points, boxes], dim=1)


def split_prompts(prompts: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Points, each followed by its negative ones, (P, 1+k, 2), and boxes (P, 4), as far as they
    prompt."""
    if prompts.dim() == 3:
        return prompts, None
    count = _POINT_COLUMNS[int(prompts.shape[1])]  # which a trace has as a tensor
    points = prompts[:, None, :count] if count else None
    return points, prompts[:, count:] if prompts.shape[1] > count else None


def centers(prompts: Tensor) -> Tensor:
    """The points, without their negative ones, or the middles of boxes without points: (P, 2)."""
    points, boxes = split_prompts(prompts)
    if points is not None:
        return points[:, 0]
    assert boxes is not None
    return boxes.unflatten(1, (2, 2)).mean(dim=1)


def upright(prompts: Tensor) -> Tensor:
    """The first corner of a box is its upper left one again, however its image was turned.

    A box that leans is replaced by the upright one through its two corners; one of which a
    coordinate is NaN becomes NaN.
    """
    points, boxes = split_prompts(prompts)
    if boxes is None:
        return prompts
    first, last = boxes[:, :2], boxes[:, 2:]
    boxes = torch.cat([first.minimum(last), first.maximum(last)], dim=1)
    return boxes if points is None else beside(points[:, 0], boxes)
