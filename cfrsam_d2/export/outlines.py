"""The outline of a mask along the edges of its pixels: it encloses the mask's pixels exactly.

Coordinates: pixel edges; the first pixel of an image covers 0..1 in x and y.
"""

import cv2
import numpy as np

from ..structures.masks import BoxMask

Ring = list[tuple[int, int]]  # closed: the last x, y is the first

# Steps along a pixel's sides, the pixel on the side of the next step: above it to the right, right
# of it downwards, below it to the left, left of it upwards.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_Edge = tuple[int, int, int]  # from x, y, one of _STEPS


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
    count, parts, stats, _ = cv2.connectedComponentsWithStats(
        mask.pixels.astype(np.uint8), connectivity=4
    )
    largest_first = sorted(range(1, count), key=lambda part: -stats[part, cv2.CC_STAT_AREA])
    return [_trace_part(BoxMask(mask.left, mask.top, parts == part)) for part in largest_first]


def signed_area(ring: Ring) -> float:
    """Area in px²; positive if the ring runs from the x axis towards the y axis."""
    x, y = np.array(ring, dtype=np.float64).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def _trace_part(part: BoxMask) -> list[Ring]:
    """The rings of a 4-connected part, the outer one first."""
    edges = _edges(part)
    left = dict(edges)  # unlike a set, always in the same order
    rings = []
    while left:
        rings.append(_trace_ring(next(iter(left)), edges, left))
    return sorted(rings, key=signed_area, reverse=True)


def _trace_ring(first: _Edge, edges: dict[_Edge, None], left: dict[_Edge, None]) -> Ring:
    """Follow the edges from `first` until it comes again; take them out of `left`."""
    ring: Ring = []
    edge = first
    while edge in left:
        del left[edge]
        x, y, step = edge
        x, y = x + _STEPS[step][0], y + _STEPS[step][1]
        # Where two pixels of the part touch at a corner, turn away from the pixel: the ring stays
        # with the background, and does not meet itself there.
        turn = next(turn for turn in (3, 0, 1) if (x, y, (step + turn) % 4) in edges)
        if turn:
            ring.append((x, y))
        edge = x, y, (step + turn) % 4
    return [*ring, ring[0]]


def _edges(part: BoxMask) -> dict[_Edge, None]:
    """All sides of pixels between the part and its outside."""
    inside = np.pad(part.pixels, 1)
    edges: dict[_Edge, None] = {}
    # Of each side of a pixel: where its neighbour there is, and where the edge along it starts.
    sides = (((-1, 0), (0, 0)), ((0, 1), (1, 0)), ((1, 0), (1, 1)), ((0, -1), (0, 1)))
    for step, (neighbour, (dx, dy)) in enumerate(sides):
        outside = ~np.roll(inside, (-neighbour[0], -neighbour[1]), axis=(0, 1))
        rows, columns = np.nonzero(inside & outside)
        xs, ys = columns + part.left - 1 + dx, rows + part.top - 1 + dy
        edges |= dict.fromkeys((x, y, step) for x, y in zip(xs.tolist(), ys.tolist(), strict=True))
    return edges
