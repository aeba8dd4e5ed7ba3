"""The point that stands for a nucleus: prompt in training, and what detection is scored on."""

import math

import cv2
import numpy as np


def mask_point(mask: np.ndarray) -> tuple[float, float]:
    """Return the centroid of a mask, or its deepest interior point if the centroid lies outside.

    Args:
        mask: (H, W) array; pixels other than 0 belong to the nucleus, at least one must.

    Returns:
        (x, y) in pixel-index units: the centre of column 3, row 5 is (3.0, 5.0). Rounded to the
        nearest pixel, it is always a pixel of the mask, whichever way halves are rounded.

    Raises:
        ValueError: the mask has no pixel.
    """
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        raise ValueError("a mask without pixels has no point")
    x, y = float(columns.mean()), float(rows.mean())
    if all(mask[row, column] for row in _nearest(y) for column in _nearest(x)):
        return x, y
    return _deepest_point(mask, rows, columns)


def _nearest(coordinate: float) -> range:
    """The nearest pixel, or both where they are as near; float32 may blur that by a little."""
    return range(math.ceil(coordinate - 0.501), math.floor(coordinate + 0.501) + 1)


def _deepest_point(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[float, float]:
    """The pixel farthest from the outside; the image border counts as outside."""
    top, left = rows.min(), columns.min()
    crop = mask[top : rows.max() + 1, left : columns.max() + 1]
    padded = np.pad((crop != 0).astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x + left - 1), float(y + top - 1)
