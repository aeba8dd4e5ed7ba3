"""Nuclei of unknown class in loss and matching, against answers worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from cfrsam_d2.modeling.prompt_learner.losses import classification_loss
from cfrsam_d2.modeling.prompt_learner.matcher import match_points
from cfrsam_d2.structures.coco import UNKNOWN_CLASS


def test_loss_and_gradient_by_hand():
    # Two classes and background, probabilities 1/6, 2/6, 3/6 and 1/4, 1/4, 2/4.
    odds = torch.tensor([[[1.0, 2.0, 3.0], [1.0, 1.0, 2.0]]])
    logits = odds.log().requires_grad_()
    classes = torch.tensor([[UNKNOWN_CLASS, 2]])
    loss = classification_loss(logits, classes, background_weight=0.5)
    loss.backward()
    # Each is one half: nucleus, of weight 1, and background, of weight 0.5; their mean.
    assert loss.item() == pytest.approx(math.log(2))
    # Of the first, p of a class grows by the share of it in the nuclei: p − p / P(nucleus).
    of_unknown = [(1 / 6 - 1 / 3) / 1.5, (2 / 6 - 2 / 3) / 1.5, (3 / 6) / 1.5]
    of_background = [0.5 * each / 1.5 for each in (1 / 4, 1 / 4, 2 / 4 - 1)]
    torch.testing.assert_close(logits.grad, torch.tensor([[of_unknown, of_background]]))


def test_without_unknown_nuclei_nothing_changes_to_the_bit():
    logits = (5 * torch.randn(3, 40, 6)).requires_grad_()
    classes = torch.randint(6, (3, 40))
    loss = classification_loss(logits, classes, background_weight=0.4)
    (gradient,) = torch.autograd.grad(loss, logits)
    weight = torch.tensor([1.0] * 5 + [0.4])
    expected = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight=weight)
    assert torch.equal(loss, expected)
    assert torch.equal(gradient, torch.autograd.grad(expected, logits)[0])


def test_one_class_is_never_unknown():
    logits = torch.randn(1, 8, 2)
    classes = torch.tensor([[0, 1] * 4])
    unknown = classes.where(classes == 1, UNKNOWN_CLASS)
    known, loss = (
        classification_loss(logits, each, background_weight=0.4) for each in (classes, unknown)
    )
    torch.testing.assert_close(loss, known)


def test_matching_takes_the_sum_of_the_classes():
    # P(nucleus) is 0.5 and 0.8, P(first class) is 0.5 and 0.4: known and unknown differ.
    logits = torch.tensor([[0.5, 1e-9, 0.5], [0.4, 0.4, 0.2]]).log()
    points, nucleus = torch.zeros(2, 2), torch.zeros(1, 2)
    for class_id, anchor in ((0, 0), (UNKNOWN_CLASS, 1)):
        matched = match_points(points, logits, nucleus, torch.tensor([class_id]), distance_weight=1)
        assert [each.tolist() for each in matched] == [[anchor], [0]]
    # 0.3 of probability is worth 0.3 / distance_weight px, and no more.
    for distance, anchor in ((0.29, 1), (0.31, 0)):
        points[1, 0] = distance
        matched = match_points(
            points, logits, nucleus, torch.tensor([UNKNOWN_CLASS]), distance_weight=1
        )
        assert matched[0].tolist() == [anchor]
