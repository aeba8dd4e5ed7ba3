"""Which parts of one outline are one nucleus, and which are nuclei of their own."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..polygons import Polygon


def nuclei_of_parts(polygons: Sequence[Polygon]) -> list[list[Polygon]]:
    """Take the parts of an outline apart if some of them lie far from the others.

    CellViT writes all nuclei of a class as one MultiPolygon. A nucleus in pieces has them near each
    other: no gap between their boxes is wider than half of the larger one. If one is, the outline
    is a collection, and only parts that share a corner belong together.

    Args:
        polygons: one or more, each with a corner.

    Returns:
        The polygons of each nucleus, in the order of their first ones.
    """
    rings = [polygon[0] for polygon in polygons]
    if len(rings) == 1 or _are_near(rings):
        return [list(polygons)]
    nuclei: dict[int, list[Polygon]] = {}
    for label, polygon in zip(_groups_by_corner(rings), polygons, strict=True):
        nuclei.setdefault(label, []).append(polygon)
    return list(nuclei.values())


def _are_near(rings: Sequence[np.ndarray]) -> bool:
    """Whether steps across narrow gaps lead from each part to all others."""
    low = np.array([ring.min(axis=0) for ring in rings])
    high = np.array([ring.max(axis=0) for ring in rings])
    reach = (high - low).max(axis=1) / 2
    reached, waiting = np.zeros(len(rings), dtype=bool), [0]
    reached[0] = True
    while waiting:
        part = waiting.pop()
        gaps = np.maximum(low - high[part], low[part] - high).max(axis=1)
        near = ~reached & (gaps <= np.maximum(reach, reach[part]))
        reached |= near
        waiting += np.flatnonzero(near).tolist()
    return bool(reached.all())


def _groups_by_corner(rings: Sequence[np.ndarray]) -> list[int]:
    """A number for each ring; those that share a corner, or others do for them, have the same."""
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    _, corner = np.unique(np.concatenate(rings), axis=0, return_inverse=True)
    size = len(rings) + int(corner.max()) + 1
    links = owner, len(rings) + corner.ravel()
    graph = coo_array((np.ones(owner.size, dtype=bool), links), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return labels[: len(rings)].tolist()
