"""Scores where some nuclei are of unknown class, by hand: docs/evaluation.md defines them."""

import math

import numpy as np
import pytest

from cfrsam_d2.evaluation.image_scores import (
    ImageScores,
    score_classes,
    score_detection,
    score_segmentation,
)
from cfrsam_d2.evaluation.nucleus_maps import ground_truth_maps, predicted_maps
from cfrsam_d2.evaluation.tables import image_table, summarize
from cfrsam_d2.structures.coco import UNKNOWN_CLASS

SIZE = (10, 80)
CLASSES = ("round", "long")
# Of class 0, and two of unknown class; each of 10 columns.
GT = [(0, 10, 0), (20, 30, UNKNOWN_CLASS), (40, 50, UNKNOWN_CLASS)]
# On the first, on one of unknown class, and on nothing.
PRED = [(0, 10, 0), (20, 30, 0), (60, 70, 1)]


def columns(first: int, end: int) -> np.ndarray:
    frame = np.zeros(SIZE, dtype=bool)
    frame[:, first:end] = True
    return np.flatnonzero(frame)


def record(gt: list[tuple[int, int, int]], pred: list[tuple[int, int, int]]) -> ImageScores:
    """Later predictions have higher scores."""
    truth = ground_truth_maps(
        [columns(*each[:2]) for each in gt], [each[2] for each in gt], SIZE, num_classes=2
    )
    found = predicted_maps(
        [columns(*each[:2]) for each in pred],
        np.array([each[2] for each in pred]),
        np.linspace(0.5, 0.9, len(pred)),
        SIZE,
        num_classes=2,
    )
    pairs = score_detection(truth, found, 2, 40)
    return ImageScores(
        image_id=1,
        file_name="1.png",
        tissue="Colon",
        confusion=pairs.confusion,
        segmentation=score_segmentation(truth, found),
        class_counts=score_classes(truth, found, 2, 3),
        unknown=pairs.unknown,
    )


def test_detection_and_bpq_count_them_and_classes_do_not():
    image = record(GT, PRED)
    np.testing.assert_array_equal(image.confusion, [[1, 0, 0], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(image.unknown, [1, 0, 1])
    scores = summarize([image], CLASSES)
    # Two pairs, one false positive, one missed.
    assert scores["detection"] == pytest.approx(
        {"P": 2 / 3, "R": 2 / 3, "F1": 2 / 3, "mean_class_F1": 1}
    )
    assert scores["segmentation"]["bPQ"] == pytest.approx(2 / 3, abs=1e-5)
    assert scores["segmentation"]["AJI"] == pytest.approx(200 / 400)
    # The second prediction counts neither for nor against its class.
    for name in ("mPQ", "mPQ_one_map"):
        assert scores["segmentation"][name] == pytest.approx(1, abs=1e-5)
    assert scores["segmentation"]["mPQ_plus"] == pytest.approx(1 / 2, abs=1e-5)  # long has 0
    of_classes = {key: scores["classification"][f"{key}_round"] for key in ("P", "R", "F1")}
    assert of_classes == {"P": 1, "R": 1, "F1": 1}
    assert scores["classification"]["F1_long"] == 0
    (row,) = image_table([image], CLASSES)
    assert (row["n_gt"], row["n_pred"]) == (3, 3)


def test_without_them_the_same_predictions_count_against_their_class():
    scores = summarize([record(GT[:1], PRED)], CLASSES)
    assert scores["segmentation"]["mPQ"] == pytest.approx(1 / 1.5, abs=1e-5)
    assert scores["detection"]["mean_class_F1"] == pytest.approx(2 / 3)
    assert scores["classification"]["P_round"] == pytest.approx(1 / 2)


def test_each_mpq_pairs_them_in_its_own_maps():
    # A better-scored nucleus of the other class covers 6 of 10 columns of the second prediction: in
    # one map, what is left has IoU 0.4 with the nucleus of unknown class, and is a false positive.
    segmentation = record(GT, [*PRED[:2], (14, 26, 1)]).segmentation
    assert segmentation.class_pqs[0] == pytest.approx(1, abs=1e-5)
    assert segmentation.class_pqs_one_map[0] == pytest.approx(1 / 1.5, abs=1e-5)


def test_a_known_nucleus_goes_first():
    # Greedy pairs within 3 px: two predictions and one nucleus of each kind at one place.
    image = record([(0, 10, 0), (1, 11, UNKNOWN_CLASS)], [(0, 10, 0), (1, 11, 0), (2, 12, 0)])
    np.testing.assert_array_equal(image.class_counts, [[1, 2, 1], [0, 0, 0]])


def test_images_of_unknown_nuclei_alone_have_no_scores_of_classes():
    scores = summarize([record(GT[1:], PRED)], CLASSES)
    assert math.isnan(scores["segmentation"]["mPQ"])
    assert math.isnan(scores["detection"]["mean_class_F1"])
    # One pair, two false positives, one missed.
    assert scores["detection"]["F1"] == pytest.approx(2 / 5)
    assert scores["segmentation"]["bPQ"] == pytest.approx(1 / 2.5, abs=1e-5)
