"""Padding by reflection, at the bottom and at the right."""

import torch
from torch import Tensor


def reflect_pad(maps: Tensor, height: int, width: int) -> Tensor:
    """Go on behind the last row and column with the mirror image, without them (NumPy's "reflect").

    A map too small for that is mirrored again and again.

    Args:
        maps: (…, h, w), 1×1 at least.
        height, width: h×w at least.

    Returns:
        (…, height, width).
    """
    rows, columns = (
        _reflected(length, padded, maps.device)
        for length, padded in zip(maps.shape[-2:], (height, width), strict=True)
    )
    return maps[..., rows[:, None], columns]


def _reflected(length: int, padded: int, device: torch.device) -> Tensor:
    """Of `padded` places, which of the first `length` each shows: 0, 1, 2, 1, 0, 1, … of 3."""
    last = length - 1
    return last - (torch.arange(padded, device=device) % max(2 * last, 1) - last).abs()
