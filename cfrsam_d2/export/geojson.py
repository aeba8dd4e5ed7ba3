"""Nuclei as GeoJSON (RFC 7946) that QuPath imports as detections with classes and colours."""

from collections.abc import Sequence
from typing import Any

from ..structures.masks import BoxMask
from .outlines import mask_polygons
from .prediction import Prediction


def feature_collection(prediction: Prediction) -> dict[str, Any]:
    """One feature per nucleus, in px of the image from its upper left corner, y downwards.

    The members of `properties` are QuPath's (since 0.4): `objectType`, `classification` with
    `name` and `color`, and `measurements` by name.

    Args:
        prediction: of one image.

    Returns:
        A FeatureCollection. A nucleus is a Polygon that covers its pixels exactly, a MultiPolygon
        if it has several parts, or a Point if no masks are predicted.
    """
    instances = prediction.instances
    nuclei = zip(
        instances.pred_classes.tolist(),
        instances.scores.tolist(),
        instances.pred_points.tolist(),
        instances.pred_masks if prediction.has_masks else [None] * len(instances),
        strict=True,
    )
    features = [_feature(prediction, label, *each) for label, each in enumerate(nuclei, start=1)]
    return {"type": "FeatureCollection", "features": features}


def _feature(
    prediction: Prediction,
    label: int,
    category: int,
    score: float,
    point: tuple[float, float],
    mask: BoxMask | None,
) -> dict[str, Any]:
    measurements = {"label": label, "score": score}
    if mask is not None:
        measurements["area px^2"] = mask.area
    return nucleus_feature(
        _point(*point) if mask is None else area_geometry(mask_polygons(mask)),
        prediction.classes[category],
        prediction.colors[category],
        measurements,
    )


def nucleus_feature(
    geometry: dict[str, Any],
    class_name: str,
    color: Sequence[int],
    measurements: dict[str, float],
) -> dict[str, Any]:
    """A nucleus as a Feature that QuPath imports.

    Args:
        geometry: in GeoJSON's form.
        class_name: what QuPath shall call its class.
        color: RGB.
        measurements: by name.
    """
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {
            "objectType": "detection",
            "classification": {"name": class_name, "color": list(color)},
            "measurements": measurements,
        },
    }


def area_geometry(polygons: Sequence[Sequence]) -> dict[str, Any]:
    """Polygons, each a list of rings, as one geometry: a Polygon if there is but one."""
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _point(x: float, y: float) -> dict[str, Any]:
    # Pixel-index units have their zero at the centre of the first pixel.
    return {"type": "Point", "coordinates": [x + 0.5, y + 0.5]}
