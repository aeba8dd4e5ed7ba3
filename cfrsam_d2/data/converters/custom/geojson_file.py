"""The features of a GeoJSON file, in each form that QuPath and other programs write."""

import reprlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import UserError
from ....structures.outline import as_numbers
from ...json_file import json_from_bytes
from ..polygons import Polygon

# QuPath's kinds of objects, which it writes as "objectType": "tmaCore", "object_type": "tma_core"
# or "id": "TMACoreObject", depending on its version.
KINDS = ("annotation", "detection", "cell", "tile", "tmacore", "root")


def read_features(path: Path) -> list[dict[str, Any]]:
    """Read a FeatureCollection, a list of features, one feature, or one of these on each line.

    Returns:
        The features; a geometry that stands for itself as one of them.

    Raises:
        UserError: the file is damaged or no GeoJSON.
    """
    try:
        values = _values(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or no GeoJSON ({error}): export it again") from None
    features = []
    for value in values:
        for item in value if isinstance(value, list) else [value]:
            collected = item.get("features") if isinstance(item, dict) else None
            features += collected if isinstance(collected, list) else [_feature(item)]
    if not all(isinstance(each, dict) for each in features):
        raise UserError(f"{path} has no list of `features`: export it as a FeatureCollection")
    return features


def object_kind(feature: dict[str, Any], where: str) -> str:
    """One of `KINDS`, or "" if the feature does not say it."""
    properties = _properties(feature, where)
    for value in (
        *(
            table.get(key)
            for table in (properties, feature)
            for key in ("objectType", "object_type")
        ),
        feature.get("id"),
    ):
        if isinstance(value, str):
            kind = value.lower().replace("_", "").removeprefix("path").removesuffix("object")
            if kind in KINDS:
                return kind
    return ""


def class_name(feature: dict[str, Any], where: str) -> str | None:
    """The class as QuPath shows it: one that is derived from another as "Tumor: Positive".

    Raises:
        UserError: what stands there is no text.
    """
    value = _properties(feature, where).get("classification")
    if isinstance(value, str) and value.startswith("{"):  # tables of columns keep it as text
        with suppress(ValueError):
            value = json_from_bytes(value.encode(errors="replace"))
    if isinstance(value, dict):
        value = value.get("name") or value.get("names")
    names = value if isinstance(value, list) else [value]
    texts = [name for name in names if isinstance(name, str)]
    if value and len(texts) < len(names):
        raise UserError(f"{where} is of class {reprlib.repr(value)}: let its name be text")
    return ": ".join(texts) or None


def polygons_of(feature: dict[str, Any], where: str) -> list[Polygon]:
    """The polygons of a feature, of a cell those of its nucleus; none of points and lines.

    Returns:
        Each an outer ring and holes, (n, 2) x, y in px; the outer ring may have no corner.

    Raises:
        UserError: an outline is not made of x, y.
    """
    geometries: list[Any] = [feature.get("nucleusGeometry") or feature.get("geometry")]
    polygons: list[Polygon] = []
    try:
        for geometry in geometries:  # which grow meanwhile
            geometry = geometry or {}
            kind, coordinates = geometry.get("type"), geometry.get("coordinates")
            if kind == "GeometryCollection":
                geometries += geometry["geometries"]
            elif kind == "Polygon":
                polygons.append(_polygon(coordinates))
            elif kind == "MultiPolygon":
                polygons += map(_polygon, coordinates or [])
    except (AttributeError, TypeError, KeyError):
        raise UserError(
            f"{where} has an outline that is not made of x, y: export it again"
        ) from None
    return polygons


def _values(data: bytes) -> list[Any]:
    try:
        return [json_from_bytes(data)]
    except ValueError:
        lines = [line.strip(b"\x1e \r\t") for line in data.split(b"\n")]
        values = _lines(lines)
        if len(values) < 2:
            raise
        return values


def _lines(lines: list[bytes]) -> list[Any]:
    """The values of a newline-delimited JSON, as RFC 8142 has it, too; none if it is damaged."""
    try:
        return [json_from_bytes(line) for line in lines if line]
    except ValueError:
        return []


def _feature(item: Any) -> Any:
    """A feature, also of a geometry; None of anything else."""
    if not isinstance(item, dict):
        return None
    if item.get("type") == "Feature" or "geometry" in item or "nucleusGeometry" in item:
        return item
    return {"geometry": item} if {"coordinates", "geometries"} & item.keys() else None


def _properties(feature: dict[str, Any], where: str) -> dict[str, Any]:
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        shown = reprlib.repr(properties)
        raise UserError(
            f"{where} has the properties {shown}, no names with values: export it again"
        )
    return properties


def _polygon(rings: Any) -> Polygon:
    if not isinstance(rings, list) or not rings:
        raise TypeError
    outlines = [_ring(ring) for ring in rings]
    return [outlines[0], *(hole for hole in outlines[1:] if len(hole) > 2)]


def _ring(corners: Any) -> np.ndarray:
    if not isinstance(corners, list):
        raise TypeError
    if not all(isinstance(corner, list) and len(corner) > 1 for corner in corners):
        raise TypeError
    numbers = as_numbers([value for corner in corners for value in corner[:2]])
    if numbers is None:
        raise TypeError
    return numbers.reshape(-1, 2)
