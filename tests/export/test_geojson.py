"""GeoJSON as RFC 7946 has it, and polygons that cover exactly the pixels of their masks."""

import json
from typing import Any

import geojson
import numpy as np
import pytest
import shapely
from export_shapes import CLASSES, COLORS, SHAPES, SIZE, disc, prediction
from shapely.geometry import shape

from cfrsam_d2.export.geojson import feature_collection
from cfrsam_d2.export.outlines import mask_polygons, signed_area
from cfrsam_d2.structures.masks import BoxMask


def rasterized(geometry: dict[str, Any]) -> np.ndarray:
    """The pixels whose centres a geometry encloses, found by another library."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return shapely.contains_xy(shape(geometry), x, y)


def rings(geometry: dict[str, Any]) -> list[tuple[int, list]]:
    """Pairs of the ring's position in its polygon and the ring."""
    parts = geometry["coordinates"]
    polygons = [parts] if geometry["type"] == "Polygon" else parts
    return [pair for polygon in polygons for pair in enumerate(polygon)]


def only_geometry(mask: np.ndarray) -> dict[str, Any]:
    (feature,) = feature_collection(prediction([mask]))["features"]
    return feature["geometry"]


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES)
def test_polygons_are_valid_and_cover_exactly_their_masks(mask: np.ndarray) -> None:
    geometry = only_geometry(mask)
    assert shape(geometry).is_valid, shapely.is_valid_reason(shape(geometry))
    assert shape(geometry).area == mask.sum()
    np.testing.assert_array_equal(rasterized(geometry), mask)


@pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES)
def test_rings_follow_rfc_7946(mask: np.ndarray) -> None:
    for position, ring in rings(only_geometry(mask)):
        assert len(ring) >= 4
        assert ring[0] == ring[-1]
        assert shapely.LinearRing(ring).is_ccw == (position == 0)  # 3.1.6, the right-hand rule
        steps = np.diff(np.array(ring), axis=0)
        assert (np.count_nonzero(steps, axis=1) == 1).all()
        assert (np.count_nonzero(steps[1:] + steps[:-1], axis=1) == 2).all()  # corners alone


@pytest.mark.parametrize(
    ("name", "kind", "num_rings"),
    [
        ("disc", "Polygon", [1]),
        ("ring", "Polygon", [2]),
        ("island in a ring", "MultiPolygon", [2, 1]),
        ("two diagonal pixels", "MultiPolygon", [1, 1]),
        ("two diagonal holes", "Polygon", [3]),
        ("a hole at a corner of the outside", "Polygon", [2]),
        ("a chain of corners", "MultiPolygon", [1] * 8),
    ],
)
def test_parts_and_holes(name: str, kind: str, num_rings: list[int]) -> None:
    geometry = only_geometry(SHAPES[name])
    assert geometry["type"] == kind
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    assert [len(polygon) for polygon in polygons] == num_rings


def test_one_pixel_is_its_square() -> None:
    (polygon,) = mask_polygons(BoxMask(3, 7, np.ones((1, 1), dtype=bool)))
    assert polygon == [[(4, 7), (4, 8), (3, 8), (3, 7), (4, 7)]]
    assert signed_area(polygon[0]) == 1
    assert mask_polygons(BoxMask(3, 7, np.zeros((3, 3), dtype=bool))) == []


def test_a_library_reads_the_collection() -> None:
    collection = geojson.loads(json.dumps(feature_collection(prediction(list(SHAPES.values())))))
    assert isinstance(collection, geojson.FeatureCollection)
    assert collection.is_valid, collection.errors()
    assert len(collection.features) == len(SHAPES)
    assert "crs" not in collection  # removed by RFC 7946


def test_properties_are_those_of_qupath() -> None:
    masks = [disc(10, 10, 5), disc(30, 20, 5)]
    low, high = feature_collection(prediction(masks, [0.25, 0.75]))["features"][::-1]
    assert high["properties"] == {
        "objectType": "detection",
        "classification": {"name": CLASSES[1], "color": list(COLORS[1])},
        "measurements": {"label": 1, "score": 0.75, "area px^2": int(masks[1].sum())},
    }
    assert low["properties"]["classification"]["name"] == CLASSES[0]


def test_points_are_at_pixel_centres() -> None:
    collection = feature_collection(prediction([disc(10, 10, 5)], with_masks=False))
    (feature,) = collection["features"]
    assert feature["geometry"] == {"type": "Point", "coordinates": [3.75, 8.0]}
    assert feature["properties"]["measurements"].keys() == {"label", "score"}
    assert geojson.loads(json.dumps(collection)).is_valid


def test_no_nuclei() -> None:
    collection = feature_collection(prediction([]))
    assert collection == {"type": "FeatureCollection", "features": []}
