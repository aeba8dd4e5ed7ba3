"""Polygons as masks, the inverse of `cfrsam_d2.export.outlines`."""

from collections.abc import Sequence

import numpy as np

from ...structures.masks import BoxMask

Polygon = Sequence[np.ndarray]  # the outer ring and the holes, (n, 2) each


def polygons_mask(polygons: Sequence[Polygon], height: int, width: int) -> BoxMask:
    """Find the pixels whose centres lie inside one of some polygons.

    Args:
        polygons: each an outer ring and holes, as x and y of their corners in px from the corner
            of the image, so that the first pixel covers 0..1. They may leave the image.
        height, width: of the image in px.

    Returns:
        One mask, perhaps of several pieces; of 0×0 px if no centre lies inside.
    """
    parts = [_polygon_mask(polygon, height, width) for polygon in polygons]
    parts = [part for part in parts if part.pixels.size]
    if not parts:
        return BoxMask(0, 0, np.zeros((0, 0), dtype=bool))
    x0, y0 = np.min([part.box[:2] for part in parts], axis=0).tolist()
    x1, y1 = np.max([part.box[2:] for part in parts], axis=0).tolist()
    frame = np.zeros((y1 - y0, x1 - x0), dtype=bool)
    for part in parts:
        frame[part._replace(left=part.left - x0, top=part.top - y0).in_image] |= part.pixels
    return BoxMask(x0, y0, frame)


def _polygon_mask(polygon: Polygon, height: int, width: int) -> BoxMask:
    # Along a row of centres, every edge that is crossed leads from outside to inside or back.
    rows, columns = _crossings(polygon, height, width)
    if rows.size == 0:
        return BoxMask(0, 0, np.zeros((0, 0), dtype=bool))
    top, left = int(rows.min()), int(columns.min())
    shape = int(rows.max()) - top + 1, int(columns.max()) - left + 1
    places = np.ravel_multi_index((rows - top, columns - left), shape)
    crossed = np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape) % 2 == 1
    return BoxMask.of_frame(np.logical_xor.accumulate(crossed, axis=1), left, top)


def _crossings(polygon: Polygon, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of centres inside the image, and the first column right of each edge that is there."""
    start = np.concatenate(polygon)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in polygon])
    low, high = np.sort([start[:, 1], end[:, 1]], axis=0)
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(int)
    num_rows = np.clip(np.ceil(high - 0.5), 0, height).astype(int) - first
    edge = np.repeat(np.arange(len(start)), num_rows)
    place = np.arange(edge.size) - (num_rows.cumsum() - num_rows)[edge]
    rows = first[edge] + place
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    return rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)
