"""Matching and losses of the prompt learner against answers worked out by hand."""

import math

import pytest
import torch

from cfrsam_d2.modeling.prompt_learner import losses
from cfrsam_d2.modeling.prompt_learner.matcher import match_points
from cfrsam_d2.structures.coco import UNKNOWN_CLASS


def match(points, logits, gt_points, gt_classes, distance_weight=0.1):
    pred_index, gt_index = match_points(
        torch.tensor(points),
        torch.tensor(logits),
        torch.tensor(gt_points).reshape(-1, 2),
        torch.tensor(gt_classes, dtype=torch.int64),
        distance_weight=distance_weight,
    )
    return pred_index.tolist(), gt_index.tolist()


POINTS = [[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]


def test_matching_is_optimal_not_greedy():
    # Nucleus 0 is nearest to anchor 1, but the sum is least if it leaves that to nucleus 1.
    logits = [[0.0, 0.0, 0.0]] * 3
    assert match(POINTS, logits, [[9.0, 0.0], [10.0, 0.0]], [0, 1]) == ([0, 1], [0, 1])


def test_matching_weighs_probability_against_distance():
    logits = [[-9.0, 9.0, -9.0], [9.0, -9.0, -9.0], [-9.0, -9.0, 9.0]]
    # Anchor 1 is sure of class 0: that is worth 1/0.1 = 10 px.
    assert match(POINTS, logits, [[0.1, 0.0]], [0]) == ([1], [0])
    assert match(POINTS, logits, [[0.1, 0.0]], [0], distance_weight=1.0) == ([0], [0])


def test_matching_without_nuclei_and_with_more_nuclei_than_anchors():
    logits = [[0.0, 0.0]] * 3
    assert match(POINTS, logits, [], []) == ([], [])
    pred_index, gt_index = match(
        POINTS, logits, [[float(x), 0.0] for x in range(0, 25, 5)], [0] * 5
    )
    assert pred_index == [0, 1, 2]
    assert gt_index == [0, 2, 4]


def test_matching_survives_predictions_that_are_not_finite():
    logits = [[math.nan, math.nan], [0.0, 0.0], [math.inf, 0.0]]
    pred_index, gt_index = match(POINTS, logits, [[10.0, 0.0]], [0])
    assert (pred_index, gt_index) == ([1], [0])


def test_classification_loss_is_a_weighted_mean():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]])
    loss = losses.classification_loss(logits, torch.tensor([[0, 1]]), background_weight=0.25)
    expected = (math.log(1 + math.exp(-2)) + 0.25 * math.log(2)) / 1.25
    assert loss.item() == pytest.approx(expected)


def test_classes_weigh_in_the_mean_and_unknown_ones_weigh_1():
    """Two classes and background at odds of 1, 2 and 1: 1/4, 1/2 and 1/4."""
    logits = torch.tensor([1.0, 2.0, 1.0]).log().expand(1, 4, 3)
    loss = losses.classification_loss(
        logits,
        torch.tensor([[0, 1, 2, UNKNOWN_CLASS]]),
        background_weight=0.5,
        class_weights=[3.0, 2.0],
    )
    sums = 3 * math.log(4) + 2 * math.log(2) + 0.5 * math.log(4) + math.log(4 / 3)
    assert loss.item() == pytest.approx(sums / 6.5)


def test_regression_loss_sums_both_coordinates_over_nuclei():
    pred, gt = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[3.0, 4.0], [1.0, 2.0]])
    assert losses.regression_loss(pred, gt, 2.0).item() == pytest.approx((25 + 1) / 2)
    assert losses.regression_loss(pred[:0], gt[:0], 1.0).item() == 0


def test_mask_loss_is_focal_without_alpha():
    logits = torch.tensor([[[0.0, math.log(3)]]])
    loss = losses.mask_loss(logits, torch.tensor([[[1.0, 0.0]]]))
    expected = (0.5**2 * -math.log(0.5) + 0.75**2 * -math.log(0.25)) / 2
    assert loss.item() == pytest.approx(expected)


def test_nuclei_are_averaged_over_ranks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(losses.comm, "get_world_size", lambda: 2)
    for count, elsewhere, average in [(7, 3, 5.0), (1, 0, 1.0), (0, 0, 1.0)]:
        monkeypatch.setattr(
            torch.distributed,
            "all_reduce",
            lambda total, elsewhere=elsewhere: total.add_(elsewhere),
            raising=False,
        )
        assert losses.average_over_ranks(count, torch.device("cpu")) == average


def test_nuclei_of_one_rank_are_at_least_one():
    assert losses.average_over_ranks(0, torch.device("cpu")) == 1.0
    assert losses.average_over_ranks(9, torch.device("cpu")) == 9.0
