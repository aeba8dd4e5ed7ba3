"""Outlines as files give them, checked before anything computes with them.

To fill an outline takes time and memory that grow with its length, inside of the image or not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UserError

REACH = 100_000  # px that a corner may lie outside of the image
LONGEST = 1_000_000  # px around an outline: those of nuclei have hundreds


def as_numbers(values: Sequence[Any]) -> np.ndarray | None:
    """Numbers of a JSON as (n,) float64; None if one is text, a truth value, infinite or NaN."""
    if not {type(value) for value in values} <= {int, float}:
        return None
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:  # whole numbers may have any length
        return None
    return numbers if np.isfinite(numbers).all() else None


def is_off_image(corners: np.ndarray, height: int, width: int) -> bool:
    """Whether no part of an outline can lie inside.

    Args:
        corners: (n, 2) x, y in px from the corner of the image, n ≥ 1.
        height, width: of the image in px.
    """
    return bool((corners.max(axis=0) <= 0).any() or (corners.min(axis=0) >= (width, height)).any())


def check_outline(corners: np.ndarray, height: int, width: int) -> None:
    """Refuse an outline that would take more time or memory than any nucleus.

    Args:
        corners: (n, 2) finite x, y in px.
        height, width: of the image in px.

    Raises:
        UserError: a corner lies far outside, or the outline is very long. The message starts in the
            middle of a sentence: the caller says which outline it is.
    """
    too_far = (corners < -REACH) | (corners > (width + REACH, height + REACH))
    if too_far.any():
        x, y = corners[too_far.any(axis=1)][0]
        raise UserError(
            f"has a corner at ({x:g}, {y:g}), far outside its image of {width}×{height} px: "
            "export outlines in px of the image"
        )
    length = np.abs(corners - np.roll(corners, -1, axis=0)).sum()
    if length > LONGEST:
        raise UserError(
            f"has an outline of {length:.0f} px length, which is no nucleus: take it out"
        )
