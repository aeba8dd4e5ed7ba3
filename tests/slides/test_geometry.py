"""Outlines of nuclei in px of level 0, and the way back."""

import numpy as np
import pytest

pytest.importorskip("shapely", reason="shapely is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import shapely
from slide_nuclei import ellipse, l_with_a_hole

from cfrsam_d2.slides.geometry import mask_within, outlines, polygon_lists
from cfrsam_d2.structures.masks import BoxMask

NOISE = [
    BoxMask.of_frame(np.random.default_rng(seed).random((9, 12)) < 0.6, 5, 7) for seed in range(40)
]
MASKS = [ellipse(90, 80, (14, 9), 30), l_with_a_hole(3, 4), *NOISE]


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.987])
def test_masks_return_from_their_outlines(scale: float) -> None:
    geometries = outlines(MASKS, scale)
    assert shapely.is_valid(geometries).all()
    assert {each.geom_type for each in geometries} == {"Polygon", "MultiPolygon"}
    for mask, geometry in zip(MASKS, geometries, strict=True):
        assert geometry.area == pytest.approx(mask.area * scale**2)
        np.testing.assert_allclose(geometry.bounds, np.array(mask.box) * scale)
        again = mask_within(geometry, scale)
        assert again.box == mask.box
        np.testing.assert_array_equal(again.pixels, mask.pixels)


def test_lists_are_of_whole_numbers_where_coordinates_are() -> None:
    square = [[[[1, 1], [1, 2], [0, 2], [0, 1], [1, 1]]]]
    mask = BoxMask(0, 1, np.ones((1, 1), dtype=bool))
    assert polygon_lists(outlines([mask], 1.0)) == [square]
    assert str(polygon_lists(outlines([mask], 1.0))) == str([square])
    (halves,) = polygon_lists(outlines([mask], 0.5))
    assert halves == [[[[0.5, 0.5], [0.5, 1], [0, 1], [0, 0.5], [0.5, 0.5]]]]
    assert [len(polygons) for polygons in polygon_lists(outlines(NOISE[:2], 1.0))] == [
        shapely.get_num_geometries(each) for each in outlines(NOISE[:2], 1.0)
    ]
    assert polygon_lists(outlines([], 1.0)) == []
