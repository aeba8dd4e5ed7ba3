"""The joint histogram counts what counting by hand counts."""

import numpy as np
import pytest
from known_shapes import rectangles

from cfrsam_d2.errors import UserError
from cfrsam_d2.evaluation.overlap import measure_overlap


def test_intersections_areas_and_unions_of_rectangles():
    gt = rectangles((0, 0, 4, 4), (10, 10, 14, 20))
    pred = rectangles((2, 0, 6, 4), (10, 10, 14, 15), (10, 15, 14, 22))
    overlap = measure_overlap(gt, pred)
    assert overlap.intersections.tolist() == [[8, 0, 0], [0, 20, 20]]
    assert overlap.gt_areas.tolist() == [16, 40]
    assert overlap.pred_areas.tolist() == [16, 20, 28]
    assert overlap.unions.tolist() == [[24, 36, 44], [56, 40, 48]]


@pytest.mark.parametrize("ids", [(3, 7), (9, 4), (2047, 2048), (5, 2_000_000_000)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32])
def test_ids_need_not_be_contiguous(ids: tuple[int, int], dtype: type):
    plain = rectangles((0, 0, 4, 4), (10, 10, 14, 20))
    renamed = np.array([0, *ids], dtype=dtype)[plain]
    overlap = measure_overlap(renamed, plain)
    expected = np.diag([16, 40]) if ids[0] < ids[1] else np.array([[0, 40], [16, 0]])
    np.testing.assert_array_equal(overlap.intersections, expected)
    assert overlap.gt_areas.tolist() == expected.sum(axis=1).tolist()
    overlap = measure_overlap(plain, renamed)
    np.testing.assert_array_equal(overlap.intersections, expected.T)


@pytest.mark.parametrize("large", [1, 10**6])
def test_no_pixel_need_be_background(large: int):
    gt = np.full((4, 6), large)
    pred = np.full((4, 6), large)
    pred[:, 3:] = 3 * large
    overlap = measure_overlap(gt, pred)
    assert overlap.gt_areas.tolist() == [24]
    assert overlap.pred_areas.tolist() == [12, 12]
    assert overlap.intersections.tolist() == [[12, 12]]


def test_empty_maps_have_no_nuclei():
    empty, full = np.zeros((5, 5), dtype=int), np.ones((5, 5), dtype=int)
    assert measure_overlap(empty, empty).intersections.shape == (0, 0)
    assert measure_overlap(full, empty).intersections.shape == (1, 0)
    assert measure_overlap(empty, full).intersections.shape == (0, 1)
    assert measure_overlap(empty, full).pred_areas.tolist() == [25]


def test_random_maps_agree_with_counting():
    rng = np.random.default_rng(1)
    gt, pred = rng.integers(0, 6, (2, 23, 31)) * rng.integers(1, 5000)
    overlap = measure_overlap(gt, pred)
    gt_ids, pred_ids = ([i for i in np.unique(m) if i] for m in (gt, pred))
    for row, i in enumerate(gt_ids):
        for column, j in enumerate(pred_ids):
            assert overlap.intersections[row, column] == ((gt == i) & (pred == j)).sum()
            assert overlap.unions[row, column] == ((gt == i) | (pred == j)).sum()


def test_maps_of_different_size_are_refused():
    with pytest.raises(UserError, match=r"\(4, 4\) and \(4, 5\) px .* resize the prediction"):
        measure_overlap(np.zeros((4, 4), dtype=int), np.zeros((4, 5), dtype=int))
