"""Centroid pairs and the scores made of them, worked out by hand."""

import math

import numpy as np
import pytest

from cfrsam_d2.evaluation.detection import (
    class_scores,
    confusion_of_pairs,
    detection_scores,
    radius_at,
)


def confusion(
    gt: list[tuple[float, float, int]], pred: list[tuple[float, float, int]], radius: float = 12
) -> list[list[int]]:
    """Pair (x, y, class) triples of two classes."""
    gt_array, pred_array = (np.array(side, dtype=float).reshape(-1, 3) for side in (gt, pred))
    return confusion_of_pairs(
        gt_array[:, :2],
        gt_array[:, 2].astype(int),
        pred_array[:, :2],
        pred_array[:, 2].astype(int),
        num_classes=2,
        radius=radius,
    ).tolist()


def test_pairs_misses_and_false_positives_by_class():
    gt = [(10, 10, 0), (50, 50, 0), (90, 90, 1), (10, 90, 1)]
    pred = [(12, 10, 0), (50, 53, 1), (91, 90, 1), (200, 200, 0)]
    assert confusion(gt, pred) == [[1, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_a_pair_at_the_radius_counts_and_one_beyond_does_not():
    assert confusion([(0, 0, 0)], [(12, 0, 0)]) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert confusion([(0, 0, 0)], [(12.01, 0, 0)]) == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_pairs_are_one_to_one_by_least_total_distance():
    # The nearest pair (10 to 9) would leave 0 alone with 19: the total decides.
    gt, pred = [(0, 0, 0), (10, 0, 1)], [(9, 0, 0), (19, 0, 1)]
    assert confusion(gt, pred) == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    # Two predictions on one nucleus: one of them is false.
    assert confusion([(0, 0, 0)], [(1, 0, 0), (0, 2, 0)]) == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_empty_sides_count_no_phantom():
    assert confusion([], []) == [[0] * 3] * 3
    assert confusion([], [(0, 0, 1)]) == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert confusion([(0, 0, 1)], []) == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_radius_follows_the_magnification():
    assert (radius_at(40), radius_at(20)) == (12, 6)


def test_detection_ignores_classes():
    scores = detection_scores(np.array([[5, 2, 1], [0, 3, 2], [4, 0, 0]]))  # TP 10, FP 4, FN 3
    assert scores == (10 / 14, 10 / 13, 20 / 27)


def test_class_scores_count_confused_pairs_twice():
    # Class 0: TP 5, FP_c 1, FN_c 2, FP_d 4, FN_d 3.
    scores = class_scores(np.array([[5, 2, 3], [1, 7, 6], [4, 8, 0]]), 0)
    assert scores.precision == 5 / (5 + 2 * 1 + 4)
    assert scores.recall == 5 / (5 + 2 * 2 + 3)
    assert scores.f1 == 10 / (10 + 2 * 1 + 2 * 2 + 4 + 3)


def test_undefined_scores_are_nan():
    nothing = np.zeros((3, 3), dtype=int)
    assert all(math.isnan(value) for value in detection_scores(nothing))
    assert all(math.isnan(value) for value in class_scores(nothing, 1))
    only_missed = np.array([[0, 0, 4], [0, 0, 0], [0, 0, 0]])
    scores = detection_scores(only_missed)
    assert math.isnan(scores.precision)
    assert (scores.recall, scores.f1) == (0, 0)


@pytest.mark.parametrize("class_id", [0, 1])
def test_perfect_classification_scores_one(class_id: int):
    assert class_scores(np.diag([4, 2, 0]), class_id) == (1, 1, 1)
