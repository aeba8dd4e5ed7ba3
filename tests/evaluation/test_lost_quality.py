"""What PQ loses to each kind of error: by hand, and in sum."""

import numpy as np
import pytest
from known_shapes import pixels, rectangles

from cfrsam_d2.evaluation.image_scores import SegmentationScores, score_segmentation
from cfrsam_d2.evaluation.lost_quality import KINDS
from cfrsam_d2.evaluation.nucleus_maps import ground_truth_maps, predicted_maps

SIZE = (40, 60)


def scored(
    gt: np.ndarray, gt_classes: list[int], pred: np.ndarray, pred_classes: list[int]
) -> SegmentationScores:
    """Of label maps, of two classes."""
    masks, scores = pixels(pred), np.linspace(1, 0.5, len(pred_classes))
    return score_segmentation(
        ground_truth_maps(pixels(gt), gt_classes, gt.shape, 2),
        predicted_maps(masks, np.array(pred_classes, dtype=int), scores, gt.shape, 2),
    )


def named(parts: np.ndarray) -> dict[str, float]:
    return {kind: part for kind, part in zip(KINDS, parts.tolist(), strict=True) if part}


def test_each_kind_by_hand() -> None:
    gt = rectangles(
        (0, 0, 5, 10),  # found
        (0, 20, 5, 30),  # missed
        *((10, 0, 15, 10), (10, 10, 15, 20)),  # merged into one
        (10, 30, 15, 40),  # split in two
        (20, 0, 25, 10),  # found by its half
        (20, 20, 25, 30),  # found as another class
        (30, 0, 35, 10),  # found with an IoU of 0.8
        size=SIZE,
    )
    pred = rectangles(
        (0, 0, 5, 10),
        (10, 0, 15, 20),
        *((10, 30, 15, 35), (10, 35, 15, 40)),
        (20, 0, 25, 5),
        (20, 20, 25, 30),
        (30, 0, 35, 8),
        (30, 40, 35, 50),  # nothing there
        size=SIZE,
    )
    scores = scored(gt, [0] * 8, pred, [0, 0, 0, 0, 0, 1, 0, 0])
    # Three pairs, five of each side without one.
    assert named(scores.lost) == pytest.approx(
        {
            "missed": 0.5 / 8,
            "false positive": 0.5 / 8,
            "merged": 1.5 / 8,
            "split": 1.5 / 8,
            "poor outline": (1 + 0.2) / 8,
        }
    )
    # Of the first class two pairs, six and five without one: 7.5 in all.
    assert named(scores.lost_by_class[0]) == pytest.approx(
        {
            "missed": 0.5 / 7.5,
            "false positive": 0.5 / 7.5,
            "merged": 1.5 / 7.5,
            "split": 1.5 / 7.5,
            "wrong class": 0.5 / 7.5,
            "poor outline": (1 + 0.2) / 7.5,
        }
    )
    assert np.isnan(scores.lost_by_class[1]).all()  # the ground truth has none of it


def test_the_parts_add_up_to_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        maps, classes = [], []
        for count in rng.integers(0, 12, 2):
            corners = rng.integers(0, (30, 45), (count, 2))
            ends = corners + rng.integers(4, 12, (count, 2))
            label_map = rectangles(*np.hstack([corners, ends]).tolist(), size=SIZE)
            maps.append(label_map)
            lowest = -1 if len(maps) == 1 else 0  # the ground truth has some of unknown class
            classes.append(rng.integers(lowest, 2, len(np.unique(label_map)) - 1).tolist())
        scores = scored(maps[0], classes[0], maps[1], classes[1])
        np.testing.assert_allclose(scores.lost.sum(), 1 - scores.bpq, atol=2e-6)
        missing = 1 - np.array(scores.class_pqs)
        np.testing.assert_allclose(scores.lost_by_class.sum(axis=1), missing, atol=2e-6)


def test_nothing_there_and_nothing_found() -> None:
    nothing, one = rectangles(size=SIZE), rectangles((0, 0, 5, 10), size=SIZE)
    assert np.isnan(scored(nothing, [], one, [0]).lost).all()
    assert np.isnan(scored(nothing, [], nothing, []).lost).all()
    assert named(scored(one, [0], nothing, []).lost) == {"missed": 1}
    assert not named(scored(one, [0], one, [0]).lost)
