import numpy as np

from cfrsam_d2.data.converters.polygons import polygons_mask
from cfrsam_d2.export.outlines import mask_polygons
from cfrsam_d2.structures.masks import BoxMask

SQUARE = np.array([(1, 2), (4, 2), (4, 4), (1, 4)], dtype=np.float64)


def filled(polygons, height, width):
    return polygons_mask(polygons, height, width).frame(height, width)


def test_pixels_whose_centres_lie_inside():
    expected = np.zeros((6, 7), dtype=bool)
    expected[2:4, 1:4] = True
    for ring in (SQUARE, SQUARE[::-1], np.concatenate([SQUARE, SQUARE[:1]])):
        np.testing.assert_array_equal(filled([[ring]], 6, 7), expected)
    for shift in (-0.49, 0.49):  # no centre is passed
        np.testing.assert_array_equal(filled([[SQUARE + shift]], 6, 7), expected)
    shifted = np.roll(expected, (1, 1), axis=(0, 1))
    np.testing.assert_array_equal(filled([[SQUARE + 0.51]], 6, 7), shifted)


def test_slanted_edges():
    triangle = np.array([(0, 0), (8, 0), (0, 8)])
    rows, columns = np.mgrid[:8, :9] + 0.5
    np.testing.assert_array_equal(filled([[triangle]], 8, 9), rows + columns < 8)


def test_what_leaves_the_image_is_cut():
    whole = filled([[SQUARE + 10]], 30, 30)
    for dx, dy in ((-9, 0), (0, -11), (18, 17), (-1e9, 0), (0, 1e9)):
        moved = filled([[SQUARE + 10 + (dx, dy)]], 30, 30)
        y, x = np.nonzero(whole)
        y, x = y + dy, x + dx
        inside = (y >= 0) & (y < 30) & (x >= 0) & (x < 30)
        expected = np.zeros((30, 30), dtype=bool)
        expected[y[inside].astype(int), x[inside].astype(int)] = True
        np.testing.assert_array_equal(moved, expected)


def test_it_undoes_the_tracing_of_masks():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((12, 17)) < 0.6  # many parts, holes and parts in holes
        boxed = BoxMask(0, 0, mask)
        polygons = [[np.array(ring) for ring in polygon] for polygon in mask_polygons(boxed)]
        parts = [filled([polygon], *mask.shape) for polygon in polygons]
        np.testing.assert_array_equal(np.sum(parts, axis=0), mask)
        np.testing.assert_array_equal(filled(polygons, *mask.shape), mask)


def test_several_polygons_are_joined_where_they_overlap():
    expected = np.zeros((9, 9), dtype=bool)
    expected[2:4, 1:4] = expected[3:5, 2:5] = expected[7:9, 6:9] = True
    polygons = [[SQUARE], [SQUARE + 1], [SQUARE + 5], [SQUARE + 50]]
    np.testing.assert_array_equal(filled(polygons, 9, 9), expected)
    assert polygons_mask(polygons, 9, 9).box == (1, 2, 9, 9)


def test_degenerate_rings_have_no_pixel():
    for ring in (SQUARE[:2], SQUARE[:1], np.array([(1, 1), (5, 5), (1, 1)])):
        assert polygons_mask([[ring]], 6, 7).area == 0
    assert polygons_mask([], 6, 7).area == 0
