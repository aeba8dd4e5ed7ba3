"""Nuclei as geometries in px of level 0: from masks, as nested lists, and back to masks."""

from collections.abc import Iterable
from itertools import chain, pairwise

import numpy as np
import shapely
from shapely import GeometryType

from ..export.outlines import mask_polygons
from ..structures.masks import BoxMask


def outlines(masks: Iterable[BoxMask], scale: float) -> np.ndarray:
    """Outlines along the edges of pixels.

    Args:
        masks: in px of the slide at the model's resolution, none of them empty.
        scale: px of level 0 per px of the masks.

    Returns:
        A Polygon or, of several parts, a MultiPolygon each, (N,) in px of level 0.
    """
    nuclei = [mask_polygons(mask) for mask in masks]
    polygons = [polygon for nucleus in nuclei for polygon in nucleus]
    rings = [ring for polygon in polygons for ring in polygon]
    points = np.array(list(chain.from_iterable(rings)), dtype=np.float64).reshape(-1, 2)
    parts = shapely.from_ragged_array(
        GeometryType.POLYGON, points * scale, (_offsets(rings), _offsets(polygons))
    )
    return _joined(parts, np.array([len(nucleus) for nucleus in nuclei], dtype=np.int64))


def polygon_lists(geometries: np.ndarray) -> list[list]:
    """Each geometry's polygons, each polygon's rings, each ring's x, y, rounded to hundredths."""
    if len(geometries) == 0:
        return []
    parts, owner = shapely.get_parts(geometries, return_index=True)
    _, points, offsets = shapely.to_ragged_array(parts)
    points = points.round(2)
    whole = points.astype(np.int64)
    nested = (whole if (whole == points).all() else points).tolist()
    for each in offsets:
        nested = [nested[start:end] for start, end in pairwise(each.tolist())]
    nuclei: list[list] = [[] for _ in geometries]
    for nucleus, polygon in zip(owner.tolist(), nested, strict=True):
        nuclei[nucleus].append(polygon)
    return nuclei


def mask_within(geometry: shapely.Geometry, scale: float) -> BoxMask:
    """The mask that an outline of `outlines` is of.

    Args:
        geometry: in px of level 0.
        scale: px of level 0 per px of the mask.
    """
    rings = shapely.get_rings(shapely.get_parts(geometry))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    x, y = np.rint(points / scale).astype(np.int64).T
    left, top = x.min(), y.min()
    sides = np.zeros((y.max() - top, x.max() - left + 1), dtype=bool)
    upright = np.flatnonzero((np.diff(x) == 0) & (np.diff(ring) == 0))
    ends = np.sort(np.stack([y[upright], y[upright + 1]]) - top, axis=0)
    for column, start, end in zip((x[upright] - left).tolist(), *ends.tolist(), strict=True):
        sides[start:end, column] ^= True
    return BoxMask(int(left), int(top), np.logical_xor.accumulate(sides, axis=1)[:, :-1])


def _offsets(lists: list) -> np.ndarray:
    """Where each of several lists begins when they stand one behind the other, and the end."""
    return np.cumsum([0, *map(len, lists)])


def _joined(polygons: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """So many of the polygons each as one geometry."""
    owner = np.arange(len(counts)).repeat(counts)
    geometries = np.empty(len(counts), dtype=object)
    geometries[owner] = polygons
    several = counts[owner] > 1
    if several.any():
        numbers, owner = np.unique(owner[several], return_inverse=True)
        geometries[numbers] = shapely.multipolygons(polygons[several], indices=owner)
    return geometries
