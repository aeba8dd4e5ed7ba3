"""The prompts that stage 2 is trained with."""

import pytest
import torch
from detectron2.structures import BitMasks, Instances
from tiny_segmenter import squares

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.training_prompts import (
    POINT_AND_BOX_SOURCES,
    centroid_prompts,
    draw_prompts,
    gt_box_prompts,
    learner_prompts,
    random_prompts,
)

SIZE = (40, 60)
NOWHERE = (torch.nan, torch.nan)


def test_the_learners_prompts_are_those_of_the_nuclei_that_have_one():
    gt = squares(SIZE, [(2, 3), (20, 10), (50, 30)])
    for prompts in (
        [(5.0, 4.0), NOWHERE, (51.0, 33.0)],
        [(0.0, 0.0, 6.0, 8.0), NOWHERE * 2, (48.0, 29.0, 58.0, 39.0)],
        [(5.0, 4.0, 0.0, 0.0, 6.0, 8.0), NOWHERE * 3, (51.0, 33.0, 48.0, 29.0, 58.0, 39.0)],
    ):
        gt.proposal_prompts = torch.tensor(prompts)
        found, nuclei = learner_prompts(gt)
        assert nuclei.tolist() == [0, 2]
        assert [tuple(each) for each in found.tolist()] == [prompts[0], prompts[2]]


def test_training_images_without_the_learners_prompts_are_refused():
    masks = BitMasks(torch.ones(1, *SIZE, dtype=torch.bool))
    gt = Instances(SIZE, gt_points=torch.zeros(1, 2), gt_masks=masks)
    with pytest.raises(UserError, match="come without the prompt learner's prompts"):
        learner_prompts(gt)


def test_no_nuclei_or_none_with_a_prompt_give_no_prompt():
    nothing = squares(SIZE, [(2, 3)])
    nothing.proposal_prompts = torch.tensor([NOWHERE])
    for gt in (squares(SIZE, []), nothing):
        points, nuclei = learner_prompts(gt)
        assert points.shape == (0, 2)
        assert nuclei.shape == (0,)
        assert nuclei.dtype == torch.int64
        assert all(len(each) == 0 for each in draw_prompts(points, nuclei, 25))


def test_ground_truth_points_without_nuclei():
    for source in (centroid_prompts, random_prompts):
        points, nuclei = source(squares(SIZE, []))
        assert points.shape == (0, 2)
        assert nuclei.tolist() == []


def test_centroids_are_the_ground_truths_points():
    gt = squares(SIZE, [(2, 3), (20, 10)])
    points, nuclei = centroid_prompts(gt)
    assert points.tolist() == [[5.5, 6.5], [23.5, 13.5]]
    assert nuclei.tolist() == [0, 1]


def test_random_points_are_pixels_of_their_nucleus():
    """All of them in the long run; the ground truth stays as it is."""
    torch.manual_seed(0)
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 5, 40:43] = True
    masks[1, 30:32, 7] = True
    before = torch.tensor([[41.0, 5.0], [7.0, 30.5]])
    gt = Instances(SIZE, gt_points=before.clone(), gt_masks=BitMasks(masks))
    seen = [set(), set()]
    for _ in range(60):
        points, nuclei = random_prompts(gt)
        assert nuclei.tolist() == [0, 1]
        for pixels, point in zip(seen, points.tolist(), strict=True):
            pixels.add(tuple(point))
    assert seen == [{(40.0, 5.0), (41.0, 5.0), (42.0, 5.0)}, {(7.0, 30.0), (7.0, 31.0)}]
    assert torch.equal(gt.gt_points, before)


def test_at_most_so_many_nuclei_are_drawn_without_repetition():
    torch.manual_seed(0)
    nuclei = torch.arange(100, 140)
    points = torch.stack([nuclei, -nuclei], dim=1).float()
    drawn_sets = set()
    for _ in range(20):
        drawn_points, drawn = draw_prompts(points, nuclei, 25)
        assert len(drawn.unique()) == 25
        assert torch.equal(drawn_points, torch.stack([drawn, -drawn], dim=1).float())
        drawn_sets.add(frozenset(drawn.tolist()))
    assert len(drawn_sets) > 1
    assert sorted(draw_prompts(points[:3], nuclei[:3], 25)[1].tolist()) == [100, 101, 102]


def test_boxes_of_the_ground_truth_are_tight():
    gt = squares(SIZE, [(2, 3), (20, 10)])
    prompts, nuclei = gt_box_prompts(gt)
    assert prompts.tolist() == [[2, 3, 9, 10], [20, 10, 27, 17]]
    assert nuclei.tolist() == [0, 1]


def test_points_of_the_ground_truth_come_with_the_boxes_of_their_nuclei():
    """Of the nuclei that have a point."""
    gt = squares(SIZE, [(2, 3), (40, 5), (20, 10)])
    gt.gt_points[1] = torch.nan
    prompts, nuclei = POINT_AND_BOX_SOURCES["centroid"](gt)
    assert prompts.tolist() == [[5.5, 6.5, 2, 3, 9, 10], [23.5, 13.5, 20, 10, 27, 17]]
    assert nuclei.tolist() == [0, 2]
    prompts, nuclei = POINT_AND_BOX_SOURCES["random"](gt)
    assert prompts[:, 2:].tolist() == [[2, 3, 9, 10], [40, 5, 47, 12], [20, 10, 27, 17]]
    columns, rows = prompts[:, :2].long().unbind(dim=1)
    assert gt.gt_masks.tensor[nuclei, rows, columns].all()
    assert POINT_AND_BOX_SOURCES["learner"] is learner_prompts
    for source in POINT_AND_BOX_SOURCES.values():
        nothing = squares(SIZE, [])
        nothing.proposal_prompts = torch.zeros(0, 6)
        prompts, nuclei = source(nothing)
        assert prompts.shape == (0, 6)
        assert nuclei.tolist() == []
