"""The outline of a mask along the edges of its pixels: it encloses the mask's pixels exactly.

Coordinates: pixel edges; the first pixel of an image covers 0..1 in x and y.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from ..structures.masks import BoxMask

Ring = list[tuple[int, int]]  # closed: the last x, y is the first


def mask_polygons(mask: BoxMask) -> list[list[Ring]]:
    """Trace the parts of a mask; pixels that touch at a corner alone are of different parts.

    Every ring is simple, as geometry libraries want it: it touches neither itself nor another ring
    but in single points.

    Args:
        mask: in its box.

    Returns:
        One polygon per part, largest first: its outer ring, then its holes. As RFC 7946 (3.1.6) has
        it, outer rings have positive area in x and y, holes negative. Only corners are vertices.
    """
    padded = np.zeros((mask.pixels.shape[0] + 2, mask.pixels.shape[1] + 2), dtype=np.uint8)
    padded[1:-1, 1:-1] = mask.pixels
    count, parts, stats, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
    polygons: list[list[Ring]] = [[] for _ in range(count)]  # by part; the background has none
    for part, ring in _trace_rings(parts, mask.left, mask.top):
        polygons[part].append(ring)
    largest_first = sorted(range(1, count), key=lambda part: -stats[part, cv2.CC_STAT_AREA])
    return [_outer_first(polygons[part]) for part in largest_first]


def signed_area(ring: Ring) -> float:
    """Area in px²; positive if the ring runs from the x axis towards the y axis."""
    x, y = np.array(ring, dtype=np.float64).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def _outer_first(rings: list[Ring]) -> list[Ring]:
    return sorted(rings, key=signed_area, reverse=True) if len(rings) > 1 else rings


def _trace_rings(parts: np.ndarray, left: int, top: int) -> Iterator[tuple[int, Ring]]:
    """Walk from corner to corner, along a row and along a column in turn, inside to the right.

    Args:
        parts: the part of each pixel, 0 outside, with a frame of one pixel of outside.
        left, top: x, y of the first pixel within the frame.

    Yields:
        Each ring with its part.
    """
    corners = _corners(parts)
    below = _neighbours(parts)[3].ravel()[corners].tolist()  # the part right below a corner
    across = _next_in_column(corners, parts)
    rows, columns = np.divmod(corners, parts.shape[1] - 1)
    points = list(zip((columns + left).tolist(), (rows + top).tolist(), strict=True))
    walked = bytearray(len(points))
    for start in range(0, len(points), 2):
        if below[start] and not walked[start]:  # the upper side of a part: the walk goes right
            ring, corner = [], start
            while not walked[corner]:
                walked[corner] = True
                ring += points[corner ^ 1], points[across[corner ^ 1]]
                corner = across[corner ^ 1]
            yield below[start], [*ring, ring[0]]


def _corners(parts: np.ndarray) -> np.ndarray:
    """Where rings turn, row after row, as indices of pixels' upper left corners; even in each row.

    Two corners of a row, an even one and the next, are the ends of an edge. Where two pixels touch
    at a corner alone, it is there twice: an edge to the left ends there, and one to the right.
    """
    up_left, up_right, down_left, down_right = _neighbours(parts > 0)
    odd = up_left ^ up_right ^ down_left ^ down_right
    touching = (up_left ^ up_right) & (up_left ^ down_left) & ~odd
    corners = np.flatnonzero(odd | touching)
    return corners.repeat(1 + touching.ravel()[corners])


def _next_in_column(corners: np.ndarray, parts: np.ndarray) -> list[int]:
    """Of each corner the one at the other end of its edge up or down, by their places in `corners`.

    Where two pixels of one part touch at a corner, the ring stays with the background and does not
    meet itself there; where two parts do, it stays with its part.
    """
    up_left, up_right, down_left, down_right = (
        each.ravel()[corners] for each in _neighbours(parts)
    )
    second = np.zeros(len(corners), dtype=bool)
    second[1:] = corners[1:] == corners[:-1]
    twice = second.copy()
    twice[:-1] |= second[1:]
    one_part = np.where(up_left > 0, up_left == down_right, up_right == down_left)
    to_left_is_up = (up_left > 0) ^ one_part  # the edge to the left goes on upwards
    is_lower = twice & (second == to_left_is_up)
    rows, columns = np.divmod(corners, parts.shape[1] - 1)
    order = np.lexsort((is_lower, rows, columns))
    across = np.empty_like(order)
    across[order[::2]], across[order[1::2]] = order[1::2], order[::2]
    return across.tolist()


def _neighbours(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Around each corner of pixels: those up left, up right, down left, down right."""
    return pixels[:-1, :-1], pixels[:-1, 1:], pixels[1:, :-1], pixels[1:, 1:]
