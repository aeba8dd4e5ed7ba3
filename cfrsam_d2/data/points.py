"""The point that stands for a nucleus: keypoint in training, and what detection is scored on."""

import math

import cv2
import numpy as np

from ..structures.masks import BoxMask


def mask_point(mask: BoxMask) -> tuple[float, float]:
    """Return the centroid of a mask, or its deepest interior point if the centroid lies outside.

    Args:
        mask: with at least one pixel.

    Returns:
        (x, y) of the image in pixel-index units: the centre of column 3, row 5 is (3.0, 5.0).
        Rounded to the nearest pixel, it is always a pixel of the mask, whichever way halves are
        rounded.

    Raises:
        ValueError: the mask has no pixel.
    """
    rows, columns = np.nonzero(mask.pixels)
    if rows.size == 0:
        raise ValueError("a mask without pixels has no point")
    rows, columns = rows + mask.top, columns + mask.left
    x, y = float(columns.mean()), float(rows.mean())
    near = mask.pixels[np.ix_(_nearest(y, mask.top), _nearest(x, mask.left))]
    return (x, y) if near.all() else _deepest_point(mask)


def piece_at(mask: BoxMask, point: np.ndarray) -> BoxMask:
    """Return the 8-connected piece of a mask that a point lies on.

    Args:
        mask: with at least one pixel.
        point: (x, y) of the image in pixel-index units, or NaN.

    Returns:
        The piece in its smallest box; the whole mask if the point lies on none.
    """
    pixels, (x0, y0, x1, y1) = mask.pixels, mask.box
    x, y = np.rint(point)
    if x0 <= x < x1 and y0 <= y < y1 and pixels[int(y) - y0, int(x) - x0]:
        labels = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=8)[1]
        pixels = labels == labels[int(y) - y0, int(x) - x0]
    return BoxMask.of_frame(pixels, x0, y0)


def _nearest(coordinate: float, start: int) -> list[int]:
    """The nearest pixel, or both where they are as near, counted from `start`.

    float32 may blur what is as near by a little.
    """
    first, last = math.ceil(coordinate - 0.501), math.floor(coordinate + 0.501)
    return [place - start for place in range(first, last + 1)]


def _deepest_point(mask: BoxMask) -> tuple[float, float]:
    """The pixel farthest from the outside; the image border counts as outside."""
    padded = np.pad(mask.pixels.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x + mask.left - 1), float(y + mask.top - 1)
