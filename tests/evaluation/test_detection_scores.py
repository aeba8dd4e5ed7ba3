"""Centroid pairs and the scores made of them, worked out by hand."""

import math

import numpy as np
import pytest

from cfrsam_d2.evaluation.detection import (
    class_counts,
    class_scores,
    count_pairs,
    detection_scores,
    greedy_pairs,
    mean_class_f1,
    radius_at,
)


def confusion(
    gt: list[tuple[float, float, int]], pred: list[tuple[float, float, int]], radius: float = 12
) -> list[list[int]]:
    """Pair (x, y, class) triples of two classes."""
    gt_array, pred_array = (np.array(side, dtype=float).reshape(-1, 3) for side in (gt, pred))
    pairs = count_pairs(
        gt_array[:, :2],
        gt_array[:, 2].astype(int),
        pred_array[:, :2],
        pred_array[:, 2].astype(int),
        num_classes=2,
        radius=radius,
    )
    return pairs.confusion.tolist()


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
    assert (radius_at(40, 3), radius_at(20, 3)) == (3, 1.5)


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


def num_greedy_pairs(gt: list[float], pred: list[float], scores: list[float], radius: float) -> int:
    """Pairs of points on a line."""
    on_line = (np.array([(x, 0) for x in side], dtype=float).reshape(-1, 2) for side in (gt, pred))
    return int(greedy_pairs(*on_line, np.array(scores), radius).sum())


def test_greedy_pairs_are_not_the_best_ones():
    # The surer prediction takes the nearest nucleus, 2, and the other one has none left.
    assert num_greedy_pairs([0, 2], [1.2, 4], [0.9, 0.5], radius=2) == 1
    # The less sure one first: 4 takes 2, and 1.2 takes 0.
    assert num_greedy_pairs([0, 2], [1.2, 4], [0.5, 0.9], radius=2) == 2


def test_greedy_pairs_within_the_radius():
    assert num_greedy_pairs([0], [3], [1], radius=3) == 1
    assert num_greedy_pairs([0], [3.01], [1], radius=3) == 0
    assert num_greedy_pairs([0], [1, 1, 1], [1, 1, 1], radius=3) == 1
    # The first takes the nearest of those that are left.
    assert num_greedy_pairs([0, 1], [0, 0.1], [0.9, 0.8], radius=3) == 2
    for gt, pred in (([], []), ([], [1]), ([1], [])):
        assert num_greedy_pairs(gt, pred, [1] * len(pred), radius=3) == 0


def test_classes_are_paired_by_themselves():
    gt_points = np.array([(0, 0), (10, 0), (20, 0)], dtype=float)
    pred_points = np.array([(0, 1), (10, 1), (20, 1), (0, 2)], dtype=float)
    gt_classes, pred_classes = np.array([0, 0, 1]), np.array([0, 1, 1, 0])
    counts = class_counts(
        gt_points, gt_classes, pred_points, pred_classes, np.ones(4), num_classes=3, radius=3
    )
    assert counts.tolist() == [[1, 2, 2], [1, 2, 1], [0, 0, 0]]
    # 2 / 4 and 2 / 3; nothing is of the third class.
    assert mean_class_f1(counts) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_class_without_ground_truth_has_no_f1():
    assert mean_class_f1(np.array([[2, 2, 2], [0, 5, 0], [0, 0, 0]])) == 1
    assert mean_class_f1(np.array([[2, 2, 2], [0, 0, 5]])) == 0.5
    assert math.isnan(mean_class_f1(np.array([[0, 3, 0], [0, 0, 0]])))


def test_class_f1_of_images_without_nuclei():
    none, one = np.zeros((0, 2)), np.zeros((1, 2))
    no_class, a_class = np.zeros(0, dtype=int), np.zeros(1, dtype=int)
    sides = {"none": (none, no_class), "one": (one, a_class)}
    for gt, pred, expected in (("none", "none", [0, 0, 0]), ("none", "one", [0, 1, 0]),
                               ("one", "none", [0, 0, 1]), ("one", "one", [1, 1, 1])):  # fmt: skip
        scores = np.ones(len(sides[pred][0]))
        counts = class_counts(*sides[gt], *sides[pred], scores, num_classes=1, radius=3)
        assert counts.tolist() == [expected]
