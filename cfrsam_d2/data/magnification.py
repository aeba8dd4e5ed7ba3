"""Images and masks at the magnification that a model works at.

Letters: H×W px as given, h×w px as wanted.
"""

from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError

DEFAULT_MAGNIFICATION = 40


def check_magnification(source: str, value: Any) -> None:
    """
    Args:
        source: what the error calls it.
        value: of the objective.

    Raises:
        UserError: it is no number, or below 1: a pixel size, perhaps.
    """
    if not isinstance(value, int | float) or not 1 <= value < float("inf"):
        raise UserError(
            f"{source} is {value!r}: give the objective's, such as 40 or 20; it is about 10 over "
            "the size of a pixel in µm"
        )


def rescaled_size(size: tuple[int, int], magnification: float, wanted: float) -> tuple[int, int]:
    """What an image's size becomes at another magnification.

    Args:
        size: H and W.
        magnification: of the image.
        wanted: cfg.INPUT.MAGNIFICATION; 0 leaves images as they are.

    Returns:
        h and w, each at least 1.

    Raises:
        UserError: `wanted` is neither 0 nor a magnification.
    """
    if wanted == 0:
        return size
    check_magnification("wanted", wanted)
    height, width = (max(round(side * wanted / magnification), 1) for side in size)
    return height, width


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample an (H, W, 3) uint8 image to `size` (h, w); one of that size comes back itself."""
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample an (H, W) bool mask to `size` (h, w): it gets pixels of which it has more than half.

    One of that size comes back itself.
    """
    if mask.shape == size:
        return mask
    # Linear weights over all that a pixel covers: a nearest neighbour would shift masks when a
    # pixel's centre lies between two.
    covered = Image.fromarray(mask * np.uint8(255)).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(covered) > 128
