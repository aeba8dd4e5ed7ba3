"""Nuclei from GeoJSON as QuPath exports it, and as `tools/predict.py` writes it.

Coordinates are px from the corner of the image: its first pixel covers 0..1 in x and y.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import UserError
from ....structures.masks import BoxMask
from ..polygons import Polygon, polygons_mask
from .classes import ClassNames


def geojson_nuclei(
    path: Path, size: tuple[int, int], classes: ClassNames, changes: Counter[str]
) -> Iterator[tuple[BoxMask, int]]:
    """Yield the nuclei of a GeoJSON file; of QuPath's cells, their nuclei.

    Args:
        path: a FeatureCollection, or a list of features, of Polygons and MultiPolygons.
        size: height and width of the image in px.
        classes: to which their classes belong.
        changes: what is left out or cut, with counts; filled while the nuclei are yielded.

    Returns:
        Pairs of a mask with at least one pixel, and a class index.

    Raises:
        UserError: the file is damaged or no GeoJSON, or a nucleus has no class.
    """
    seen: set[str] = set()
    for number, feature in enumerate(_read_features(path), start=1):
        nucleus = f"{path}: object {number}"
        geometry = feature.get("nucleusGeometry") or feature.get("geometry") or {}
        polygons, outline = _polygons(geometry, nucleus), json.dumps(geometry)
        if polygons and outline in seen:
            changes["outlines left out: they repeat another"] += 1
            continue
        seen.add(outline)
        mask = _mask(polygons, size, changes)
        if mask is not None:
            yield mask, classes.index(_class_name(feature), nucleus)


def _read_features(path: Path) -> list[dict[str, Any]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or no GeoJSON ({error}): export it again") from None
    features = data.get("features") if isinstance(data, dict) else data
    if not isinstance(features, list) or not all(isinstance(each, dict) for each in features):
        raise UserError(f"{path} has no list of `features`: export it as a FeatureCollection")
    return features


def _polygons(geometry: Any, nucleus: str) -> list[Polygon]:
    """The polygons of a geometry; none of points and lines."""
    try:
        kind, coordinates = geometry.get("type"), geometry.get("coordinates")
        if kind not in ("Polygon", "MultiPolygon"):
            return []
        polygons: list[Polygon] = [
            [np.array(ring, dtype=np.float64)[:, :2] for ring in polygon]
            for polygon in (coordinates if kind == "MultiPolygon" else [coordinates])
        ]
        corners = [ring.sum() for polygon in polygons for ring in polygon]
    except (AttributeError, TypeError, ValueError, IndexError):
        polygons, corners = [], [np.nan]
    if not np.isfinite(corners).all():
        raise UserError(f"{nucleus} has an outline that is not made of x, y: export it again")
    return polygons


def _mask(polygons: list[Polygon], size: tuple[int, int], changes: Counter[str]) -> BoxMask | None:
    """The mask of all polygons, or None and a reason why there is none."""
    if not polygons:
        changes["objects left out: points or lines"] += 1
        return None
    polygons = [polygon for polygon in polygons if len({*map(tuple, polygon[0].tolist())}) > 2]
    if not polygons:
        changes["outlines left out: fewer than three points"] += 1
        return None
    corners = np.concatenate([polygon[0] for polygon in polygons])
    low, high, end = corners.min(axis=0), corners.max(axis=0), np.array(size[::-1])
    if (high <= 0).any() or (low >= end).any():
        changes["outlines left out: off the image"] += 1
        return None
    mask = polygons_mask(polygons, *size)
    if mask.area == 0:
        changes["outlines left out: they enclose no pixel"] += 1
        return None
    if (low < 0).any() or (high > end).any():
        changes["outlines cut at the edge of the image"] += 1
    return mask


def _class_name(feature: dict[str, Any]) -> str | None:
    """The class as QuPath shows it: one that is derived from another as "Tumor: Positive"."""
    classification = (feature.get("properties") or {}).get("classification")
    if isinstance(classification, dict):
        names = classification.get("names", ())
        classification = classification.get("name") or ": ".join(names)
    return classification or None
