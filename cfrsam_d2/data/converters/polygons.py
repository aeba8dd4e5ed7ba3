"""Polygons as masks, the inverse of `cfrsam_d2.export.outlines`."""

from collections.abc import Sequence

import numpy as np


def polygon_mask(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Find the pixels whose centres lie inside a polygon.

    Args:
        rings: the outer ring and the holes, each (n, 2): x and y of its corners in px from the
            corner of the image, so that the first pixel covers 0..1. They may leave the image.
        height, width: of the image.

    Returns:
        (height, width) bool.
    """
    # Along a row of centres, every edge that is crossed leads from outside to inside or back.
    crossed = np.zeros((height, width + 1), dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            first, end = np.clip(np.ceil(np.sort([y0, y1]) - 0.5), 0, height).astype(int)
            rows = np.arange(first, end)
            if rows.size:
                x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
                crossed[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(crossed, axis=1)[:, :-1]
