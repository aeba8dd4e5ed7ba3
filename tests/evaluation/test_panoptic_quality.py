"""Panoptic quality of shapes with known IoU."""

import math

import numpy as np
import pytest
from known_shapes import disc, rectangles

from cfrsam_d2.evaluation.overlap import measure_overlap
from cfrsam_d2.evaluation.panoptic_quality import PanopticQuality, panoptic_quality, pool


def pq_of(gt: np.ndarray, pred: np.ndarray) -> PanopticQuality:
    return panoptic_quality(measure_overlap(gt, pred))


def test_perfect_prediction_scores_one():
    label_map = rectangles((0, 0, 4, 4), (10, 10, 14, 20))
    counts = pq_of(label_map, label_map)
    assert counts == (2, 0, 0, 2.0)
    assert counts.dq == 1
    assert counts.sq == counts.pq == 2 / (2 + 1e-6)


def test_iou_of_exactly_one_half_is_no_match():
    # 4×6 and 4×6 px, of which 4×4 are shared: 16 / 32; then one column more: 20 / 28.
    gt = rectangles((0, 0, 4, 6))
    assert pq_of(gt, rectangles((0, 2, 4, 8))) == (0, 1, 1, 0.0)
    assert pq_of(gt, rectangles((0, 1, 4, 7))) == (1, 0, 0, 20 / 28)


def test_one_match_one_miss_one_false_positive():
    gt = rectangles((0, 0, 4, 10), (10, 0, 14, 10))
    pred = rectangles((0, 0, 4, 8), (15, 15, 19, 20))
    counts = pq_of(gt, pred)
    assert counts == (1, 1, 1, 0.8)
    assert counts.dq == 0.5
    assert counts.pq == pytest.approx(0.5 * 0.8, abs=1e-6)


def test_discs_of_known_iou():
    inner, outer = disc(20, 20, 9, (41, 41)), disc(20, 20, 12, (41, 41))
    counts = pq_of(outer.astype(int), inner.astype(int))
    assert counts.iou_sum == inner.sum() / outer.sum()
    assert counts.iou_sum == pytest.approx((9 / 12) ** 2, abs=0.01)


def test_split_nucleus_has_no_match():
    gt = rectangles((0, 0, 4, 10))
    pred = rectangles((0, 0, 4, 5), (0, 5, 4, 10))
    assert pq_of(gt, pred) == (0, 2, 1, 0.0)
    assert pq_of(gt, pred).pq == 0


def test_empty_sides():
    empty, one = np.zeros((20, 30), dtype=int), rectangles((0, 0, 4, 4))
    assert math.isnan(pq_of(empty, empty).pq)
    assert not pq_of(empty, empty).has_ground_truth
    assert pq_of(empty, one) == (0, 1, 0, 0.0)
    assert not pq_of(empty, one).has_ground_truth
    assert pq_of(one, empty) == (0, 0, 1, 0.0)
    assert pq_of(one, empty).pq == 0
    assert pq_of(one, empty).has_ground_truth


def test_counts_pool_over_images():
    pooled = pool([PanopticQuality(1, 2, 0, 0.75), PanopticQuality(3, 0, 1, 2.0)])
    assert pooled == (4, 2, 1, 2.75)
    assert pooled.pq == pytest.approx(4 / 5.5 * 2.75 / 4, abs=1e-6)
