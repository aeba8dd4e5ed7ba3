"""Outlines along pixel centres as masks: what lies on them counts."""

import numpy as np

from ...structures.masks import BoxMask
from .polygons import polygons_mask


def outline_mask(outline: np.ndarray, height: int, width: int) -> BoxMask:
    """Fill an outline: a pixel belongs to it if its centre lies inside or on it.

    Args:
        outline: (V, 2) x, y in px, V ≥ 1; the centre of column 3, row 5 is (3, 5). It may leave the
            image.
        height: H in px.
        width: W in px.

    Returns:
        The mask; without a pixel if the outline encloses no centre or is off the image.
    """
    corners = outline.astype(np.float32)
    inside = polygons_mask([[corners.astype(np.float64) + 0.5]], height, width)
    return _joined(inside, *_centres_on(corners, height, width))


def _centres_on(corners: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the centres that lie on the outline.

    Args:
        corners: (V, 2) float32; differences are rounded as in cv2.pointPolygonTest.
    """
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    # Along its longer axis, an edge has one centre at most for each whole number.
    steep = np.abs(y1 - y0) >= np.abs(x1 - x0)
    u0, u1, v0, v1 = (np.where(steep, *pair) for pair in ((y0, x0), (y1, x1), (x0, y0), (x1, y1)))
    end = np.where(steep, height, width) - 1
    first = np.ceil(np.minimum(u0, u1)).clip(min=0).astype(int)
    counts = (np.floor(np.maximum(u0, u1)).clip(max=end).astype(int) - first + 1).clip(min=0)
    edge = np.repeat(np.arange(len(corners)), counts)
    u = first[edge] + np.arange(edge.size) - (counts.cumsum() - counts)[edge]
    along, across = (u1 - u0)[edge].astype(np.float64), (v1 - v0)[edge].astype(np.float64)
    done = (u.astype(np.float32) - u0[edge]).astype(np.float64)
    v = np.rint(v0[edge] + done * across / np.where(along, along, 1)).astype(int)
    is_on = done * across == (v.astype(np.float32) - v0[edge]) * along
    is_on &= (v >= 0) & (v < np.where(steep, width, height)[edge])
    swapped = np.where(steep[edge], (v, u), (u, v))[:, is_on]
    return swapped[0], swapped[1]


def _joined(mask: BoxMask, columns: np.ndarray, rows: np.ndarray) -> BoxMask:
    """A mask and further pixels."""
    if columns.size == 0:
        return mask
    x0, y0, x1, y1 = mask.box
    if mask.area == 0:
        x0, y0, x1, y1 = columns[0], rows[0], columns[0], rows[0]
    left, top = min(x0, columns.min()), min(y0, rows.min())
    right, bottom = max(x1, columns.max() + 1), max(y1, rows.max() + 1)
    frame = np.zeros((bottom - top, right - left), dtype=bool)
    frame[rows - top, columns - left] = True
    frame[y0 - top : y1 - top, x0 - left : x1 - left] |= mask.pixels
    return BoxMask(int(left), int(top), frame)
