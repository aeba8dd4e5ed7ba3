"""Boxes of masks, without a loop over them."""

import torch


def mask_boxes(masks: torch.Tensor) -> torch.Tensor:
    """The smallest box around each mask: x0, y0, x1, y1 in px, ends excluded.

    Args:
        masks: bool, (R, h, w).

    Returns:
        (R, 4), int64. A mask without a pixel gets the whole frame.
    """
    sides = []
    for present in (masks.any(dim=1), masks.any(dim=2)):  # columns (R, w), rows (R, h)
        first = present.int().argmax(dim=1)
        end = present.shape[1] - present.flip(1).int().argmax(dim=1)
        sides.append((first, end))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1)
