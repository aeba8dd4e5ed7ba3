"""Nuclei as GeoJSON (RFC 7946) that QuPath imports as detections with classes and colours."""

from typing import Any

from .nuclei import PredictedNucleus, Prediction
from .outlines import mask_polygons


def feature_collection(prediction: Prediction) -> dict[str, Any]:
    """One feature a nucleus, in px of the image from its upper left corner, y downwards.

    The members of `properties` are QuPath's (since 0.4): `objectType`, `classification` with
    `name` and `color`, and `measurements` by name.

    Args:
        prediction: of one image.

    Returns:
        A FeatureCollection. A nucleus is a Polygon that covers its pixels exactly, a MultiPolygon
        if it has several parts, or a Point if no masks are predicted.
    """
    return {
        "type": "FeatureCollection",
        "features": [_feature(nucleus, prediction) for nucleus in prediction.nuclei],
    }


def _feature(nucleus: PredictedNucleus, prediction: Prediction) -> dict[str, Any]:
    measurements = {"label": nucleus.label, "score": nucleus.score}
    if nucleus.mask is not None:
        measurements["area px^2"] = int(nucleus.mask.sum())
    return {
        "type": "Feature",
        "geometry": _geometry(nucleus),
        "properties": {
            "objectType": "detection",
            "classification": {
                "name": prediction.classes[nucleus.category],
                "color": list(prediction.colors[nucleus.category]),
            },
            "measurements": measurements,
        },
    }


def _geometry(nucleus: PredictedNucleus) -> dict[str, Any]:
    if nucleus.mask is None:
        # Pixel-index units have their zero at the centre of the first pixel.
        return {"type": "Point", "coordinates": [value + 0.5 for value in nucleus.centroid]}
    polygons = [
        [[[x + nucleus.left, y + nucleus.top] for x, y in ring] for ring in polygon]
        for polygon in mask_polygons(nucleus.mask)
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}
