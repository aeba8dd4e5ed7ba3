"""Nuclei from GeoJSON as QuPath exports it, and as `tools/predict.py` writes it.

Coordinates are px from the corner of the image: its first pixel covers 0..1 in x and y.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ....errors import UserError
from ....structures.masks import BoxMask
from ....structures.outline import check_outline, is_off_image
from ..polygons import Polygon, polygons_mask
from .classes import ClassNames
from .geojson_file import class_name, object_kind, polygons_of, read_features
from .parts import nuclei_of_parts
from .regions import Outline, are_regions

# What is never a nucleus; and what is none where it is drawn around nuclei.
_NO_NUCLEI = {"tile": "tiles", "tmacore": "TMA cores", "root": "root objects"}
_REGIONS = {"annotation": "annotations", "": "objects without a class"}


def geojson_nuclei(
    path: Path, size: tuple[int, int], classes: ClassNames, changes: Counter[str]
) -> Iterator[tuple[BoxMask, int]]:
    """Yield the nuclei of a GeoJSON file; of QuPath's cells, their nuclei.

    Args:
        path: see `read_features`. Parts of one MultiPolygon that lie far apart are nuclei of their
            own; QuPath's tiles and TMA cores, and annotations around nuclei, are none.
        size: height and width of the image in px.
        classes: to which their classes belong.
        changes: what is left out or cut, with counts; filled while the nuclei are yielded.

    Returns:
        Pairs of a mask with at least one pixel, and a class index.

    Raises:
        UserError: the file is damaged or no GeoJSON, an outline reaches far beyond the image, or a
            nucleus has no class.
    """
    outlines = list(_outlines(path, size, changes))
    for outline, is_region in zip(outlines, are_regions(outlines, size), strict=True):
        if is_region:
            changes[f"{_REGIONS[outline.kind]} left out: drawn around nuclei"] += 1
            continue
        mask = _mask(outline, size, changes)
        if mask is not None:
            yield mask, classes.index(outline.class_name, outline.where)


def _outlines(path: Path, size: tuple[int, int], changes: Counter[str]) -> Iterator[Outline]:
    """What may be nuclei, in part inside of the image."""
    seen: set[tuple[bytes, ...]] = set()
    for number, feature in enumerate(read_features(path), start=1):
        where = f"{path}: object {number}"
        kind, name = object_kind(feature, where), class_name(feature, where)
        if kind in _NO_NUCLEI:
            changes[f"{_NO_NUCLEI[kind]} left out"] += 1
            continue
        polygons = polygons_of(feature, where)
        shape = tuple(ring.tobytes() for polygon in polygons for ring in polygon)
        if polygons and shape in seen:
            changes["outlines left out: they repeat another"] += 1
            continue
        seen.add(shape)
        whole = Outline(where, kind, name, _with_area(polygons, changes))
        if whole.polygons and _is_inside(whole, size, changes):
            for outline in _apart(whole, changes):
                if _is_inside(outline, size, changes):
                    yield outline


def _with_area(polygons: list[Polygon], changes: Counter[str]) -> list[Polygon]:
    """Those of three corners or more."""
    if not polygons:
        changes["objects left out: points or lines"] += 1
        return []
    polygons = [polygon for polygon in polygons if len({*map(tuple, polygon[0].tolist())}) > 2]
    if not polygons:
        changes["outlines left out: fewer than three points"] += 1
    return polygons


def _apart(outline: Outline, changes: Counter[str]) -> list[Outline]:
    """The nuclei of one feature."""
    nuclei = nuclei_of_parts(outline.polygons)
    if len(nuclei) > 1:
        changes["nuclei found as parts of one feature, far apart"] += len(nuclei)
    return [outline._replace(polygons=polygons) for polygons in nuclei]


def _is_inside(outline: Outline, size: tuple[int, int], changes: Counter[str]) -> bool:
    if is_off_image(outline.corners, *size):
        changes["outlines left out: off the image"] += 1
        return False
    try:
        for ring in itertools.chain(*outline.polygons):
            check_outline(ring, *size)
    except UserError as error:
        raise UserError(f"{outline.where} {error}") from None
    return True


def _mask(outline: Outline, size: tuple[int, int], changes: Counter[str]) -> BoxMask | None:
    """The mask of all polygons, or None and a reason why there is none."""
    mask = polygons_mask(outline.polygons, *size)
    if mask.area == 0:
        changes["outlines left out: they enclose no pixel"] += 1
        return None
    if (outline.corners < 0).any() or (outline.corners > size[::-1]).any():
        changes["outlines cut at the edge of the image"] += 1
    return mask
