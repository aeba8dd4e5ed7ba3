"""Images and masks at the magnification that a model works at.

Letters: H×W px as given, h×w px as wanted.
"""

import math
import reprlib
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError
from ..structures.masks import BoxMask

DEFAULT_MAGNIFICATION = 40
_ONE = 2**22  # the weight of a whole pixel


def check_magnification(source: str, value: Any) -> None:
    """
    Args:
        source: what the error calls it.
        value: of the objective.

    Raises:
        UserError: it is no number, or below 1: a pixel size, perhaps.
    """
    if not isinstance(value, int | float) or not 1 <= value <= 1000:
        raise UserError(
            f"{source} is {reprlib.repr(value)}: give the objective's, such as 40 or 20; it is "
            "about 10 over the size of a pixel in µm"
        )


def rescaled_size(size: tuple[int, int], magnification: float, wanted: float) -> tuple[int, int]:
    """The size of an image at another magnification.

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
    height, width = size
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def resize_mask(mask: BoxMask, size: tuple[int, int], new_size: tuple[int, int]) -> BoxMask:
    """Resample a mask with its image: it gets pixels of which it has more than half.

    Args:
        mask: inside the image.
        size: H and W of the image.
        new_size: h and w.

    Returns:
        The mask in the new image; itself if the sizes are equal.
    """
    if size == new_size or mask.pixels.size == 0:
        return mask
    # Linear weights over all that a pixel covers: a nearest neighbour would shift masks when a
    # pixel's centre lies between two.
    x0, y0, x1, y1 = mask.box
    left, columns = _weights(x0, x1, size[1], new_size[1])
    top, rows = _weights(y0, y1, size[0], new_size[0])
    covered = _rounded(rows @ _rounded(255 * mask.pixels.astype(np.float64) @ columns.T))
    return BoxMask.of_frame(covered > 128, left, top)


def resize_points(
    points: np.ndarray, size: tuple[int, int], new_size: tuple[int, int]
) -> np.ndarray:
    """Move points with their image.

    Args:
        points: (P, 2) x, y in pixel-index units.
        size: H and W of the image.
        new_size: h and w.

    Returns:
        (P, 2) in px of the new image.
    """
    scale = np.array(new_size[::-1]) / np.array(size[::-1])
    return (points + 0.5) * scale - 0.5


def _weights(start: int, end: int, old: int, new: int) -> tuple[int, np.ndarray]:
    """Weigh the px from `start` to `end` of an axis of `old` px in each of `new` px.

    The numbers are those of PIL's bilinear filter, so that a mask in its box becomes what PIL makes
    of the whole image.

    Returns:
        The first new px in which they can count, and from there on the weights of these px in each
        new one, (n, end − start) whole numbers in float64, whose products BLAS adds exactly.
    """
    scale = old / new
    support = max(scale, 1.0)  # px on either side of a new pixel's centre
    first = max(math.floor((start - support) / scale), 0)
    last = min(math.ceil((end + support) / scale), new)
    centers = (np.arange(first, last) + 0.5) * scale
    low, high = max(start - math.ceil(2 * support), 0), min(end + math.ceil(2 * support), old)
    distances = np.abs(np.arange(low, high) + 0.5 - centers[:, None])
    weights = (1 - distances / support).clip(min=0)
    weights /= weights.sum(axis=1, keepdims=True)
    return first, np.floor(weights[:, start - low : end - low] * _ONE + 0.5)


def _rounded(sums: np.ndarray) -> np.ndarray:
    """Weighted sums as the nearest whole numbers, halves up."""
    return np.floor(sums / _ONE + 0.5)
