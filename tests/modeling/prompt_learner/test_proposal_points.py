"""Anchors, samples of maps, selection of points, suppression by radius: with known answers."""

import numpy as np
import pytest
import torch

from cfrsam_d2.modeling.postprocessing import suppress_within_radius
from cfrsam_d2.modeling.prompt_learner.points import (
    anchor_grid,
    foreground_points,
    sample_at_points,
)


def test_anchors_are_cell_centres_of_a_whole_image():
    grid = anchor_grid(16, 24, 8)
    assert grid.shape == (2, 3, 2)
    assert grid.flatten(0, 1).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_anchors_of_a_cut_image_start_at_half_the_rest():
    grid = anchor_grid(17, 13, 8)
    assert grid.shape == (3, 2, 2)
    assert grid[0, :, 0].tolist() == [2.5, 10.5]
    assert grid[:, 0, 1].tolist() == [0.5, 8.5, 16.5]


def test_sampling_hits_corners_and_is_zero_outside():
    feature = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # a map of 8×8 px at stride 4
    points = torch.tensor([[[[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [4.0, 4.0], [20.0, 4.0]]]])
    assert sample_at_points(feature, points, 4).flatten().tolist() == [1, 2, 4, 2.5, 0]


def test_sampling_moves_gradients_into_points():
    feature = torch.rand(1, 2, 4, 4)
    points = torch.full((1, 1, 1, 2), 7.0, requires_grad=True)
    sample_at_points(feature, points, 4).sum().backward()
    assert (points.grad != 0).all()


def select(
    points, probabilities, mask_logits=None, size=(20, 30), radius=3.0, on_mask=False, cells=None
):
    found = foreground_points(
        torch.tensor(points),
        torch.tensor(probabilities).log(),
        torch.zeros(size) if mask_logits is None else mask_logits,
        torch.zeros(len(points), 2) if cells is None else torch.tensor(cells),
        size,
        keep_on_mask_only=on_mask,
    )
    return found[suppress_within_radius(found.proposal_points, found.proposal_scores, radius)]


def test_anchors_in_the_padding_see_no_nuclei():
    points, probabilities = [[3.0, 3.0], [29.0, 3.0], [29.0, 19.0]], [[0.9, 0.1]] * 3
    found = select(points, probabilities, cells=[[0.0, 0.0], [24.0, 0.0], [32.0, 16.0]])
    assert found.proposal_anchors.tolist() == [0, 1]


def test_a_kept_point_removes_others_but_a_removed_one_does_not():
    # On a line, 3 px apart: 0.9 removes its neighbour 0.8, so 0.7 stays and removes 0.6.
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [6.0, 0.0], [9.0, 0.0]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert suppress_within_radius(points, scores, 3.0).tolist() == [0, 2]
    assert suppress_within_radius(points, scores, 2.9).tolist() == [0, 1, 2, 3]
    assert suppress_within_radius(points, scores.flip(0), 3.0).tolist() == [3, 1]
    assert suppress_within_radius(points, scores, 100.0).tolist() == [0]


def test_suppression_agrees_with_the_definition_on_many_points():
    generator = torch.Generator().manual_seed(0)
    points = 200 * torch.rand(2000, 2, generator=generator)
    scores = torch.rand(2000, generator=generator)
    xy, kept = points.numpy(), []
    for i in scores.argsort(descending=True).tolist():
        if all(np.linalg.norm(xy[i] - xy[j]) > 5 for j in kept):
            kept.append(i)
    assert suppress_within_radius(points, scores, 5.0).tolist() == kept


def test_selection_drops_background_and_orders_by_score():
    points = [[5.0, 5.0], [15.0, 5.0], [25.0, 5.0]]
    result = select(points, [[0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    assert result.image_size == (20, 30)
    assert result.proposal_points.tolist() == [[25, 5], [5, 5]]
    assert result.proposal_classes.tolist() == [1, 0]
    assert result.proposal_scores.tolist() == pytest.approx([0.8, 0.5])


def test_selection_moves_points_into_the_image_before_suppression():
    points = [[-4.0, 25.0], [40.0, -1.0], [-9.0, 99.0]]
    result = select(points, [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert result.proposal_points.tolist() == [[0, 19], [29, 0]]


def test_selection_of_nothing_has_all_fields():
    result = select([[5.0, 5.0]], [[0.2, 0.8]])
    assert len(result) == 0
    assert result.proposal_points.shape == (0, 2)
    assert result.proposal_classes.dtype == torch.int64
    assert result.proposal_scores.dtype == torch.float32
