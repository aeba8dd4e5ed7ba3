"""AJI and AJI+ worked out by hand."""

import math

import numpy as np
import pytest
from known_shapes import rectangles

from cfrsam_d2.evaluation.jaccard import aji, aji_plus
from cfrsam_d2.evaluation.overlap import measure_overlap


def both(gt: np.ndarray, pred: np.ndarray) -> tuple[float, float]:
    overlap = measure_overlap(gt, pred)
    return aji(overlap), aji_plus(overlap)


def test_perfect_prediction_scores_one():
    label_map = rectangles((0, 0, 4, 4), (10, 10, 14, 20))
    assert both(label_map, label_map) == (1, 1)


def test_unpaired_areas_add_to_the_union():
    gt = rectangles((0, 0, 4, 10), (10, 0, 12, 5))  # 40 and 10 px
    pred = rectangles((0, 5, 4, 15), (15, 20, 18, 25))  # 40 px, half of it shared, and 15 px
    assert both(gt, pred) == (20 / (60 + 10 + 15), 20 / (60 + 10 + 15))


def test_a_prediction_is_reused_by_aji_and_not_by_aji_plus():
    gt = rectangles((0, 0, 4, 5), (0, 5, 4, 15))  # 20 and 40 px, merged by the prediction
    pred = rectangles((0, 0, 4, 15))
    assert both(gt, pred) == ((20 + 40) / (60 + 60), 40 / (60 + 20))


def test_one_to_one_pairs_maximise_the_total_iou():
    # Both gt nuclei overlap the first prediction most; only the second has another partner.
    gt = rectangles((0, 0, 1, 10), (0, 10, 1, 20))
    pred = rectangles((0, 4, 1, 16), (0, 16, 1, 20))
    # IoU: [6/16, 0], [6/16, 4/10]
    assert both(gt, pred) == (
        pytest.approx((6 + 4) / (16 + 10)),
        pytest.approx((6 + 4) / (16 + 10)),
    )
    pred = rectangles((0, 4, 1, 18), (0, 18, 1, 20))
    # IoU: [6/18, 0], [8/16, 2/10]: AJI takes the first twice, AJI+ .333 + .2 over .5.
    assert both(gt, pred) == (
        pytest.approx((6 + 8) / (18 + 16 + 2)),
        pytest.approx((6 + 2) / (18 + 10)),
    )


def test_of_equal_ious_the_larger_overlap_is_taken_whatever_the_ids():
    gt = rectangles((0, 0, 2, 6))
    small, large = (0, 0, 1, 2), (1, 2, 2, 18)
    overlap = measure_overlap(gt, rectangles(small, large))
    np.testing.assert_array_equal(overlap.intersections, [[2, 4]])
    np.testing.assert_array_equal(overlap.unions, [[12, 24]])
    for boxes in ((small, large), (large, small)):
        assert both(gt, rectangles(*boxes)) == (4 / (24 + 2), 4 / (24 + 2))


def test_empty_sides():
    empty, one = np.zeros((20, 30), dtype=int), rectangles((0, 0, 4, 4))
    assert both(one, empty) == (0, 0)
    assert all(math.isnan(value) for value in both(empty, one))
    assert all(math.isnan(value) for value in both(empty, empty))


def test_nothing_touches():
    assert both(rectangles((0, 0, 4, 4)), rectangles((10, 10, 14, 14))) == (0, 0)
