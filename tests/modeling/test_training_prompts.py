"""The prompts that stage 2 is trained with."""

import torch
from detectron2.structures import BitMasks, Boxes, Instances
from tiny_segmenter import squares

from cfrsam_d2.modeling.training_prompts import (
    centroid_prompts,
    draw_prompts,
    gt_box_prompts,
    learner_prompts,
    random_prompts,
)

SIZE = (40, 60)


def proposals(*points: tuple[float, float]) -> Instances:
    return Instances(SIZE, proposal_points=torch.tensor(points).reshape(-1, 2))


def test_learner_points_stand_for_the_nucleus_under_them():
    """Of several on a nucleus the first; those on none are dropped."""
    gt = squares(SIZE, [(2, 3), (20, 10), (50, 30)])
    given = [(21.0, 12.0), (3.0, 4.0), (15.0, 15.0), (22.0, 13.0), (6.0, 7.0)]
    for order, first in [(given, [(3, 4), (21, 12)]), (given[::-1], [(6, 7), (22, 13)])]:
        points, nuclei = learner_prompts(gt, proposals(*order))
        assert nuclei.tolist() == [0, 1]
        assert [tuple(point) for point in points.tolist()] == first


def test_many_points_on_one_nucleus_give_the_first():
    gt = squares(SIZE, [(0, 0), (10, 10)], side=20)
    crowd = [(12.0 + 0.01 * i, 12.0) for i in range(1000)]
    points, nuclei = learner_prompts(gt, proposals((29.0, 29.0), *crowd))
    # (12, 12) lies on both; the nucleus that is first in the ground truth has it.
    assert nuclei.tolist() == [0, 1]
    assert points.tolist() == [[12.0, 12.0], [29.0, 29.0]]


def test_a_points_pixel_is_the_nearest_and_x_is_the_column():
    gt = squares(SIZE, [(50, 30)], side=1)
    for point, count in [
        ((50.4, 29.6), 1),
        ((49.6, 30.4), 1),
        ((50.6, 30.0), 0),
        ((50.0, 29.4), 0),
        ((30.0, 39.0), 0),
    ]:
        assert len(learner_prompts(gt, proposals(point))[0]) == count


def test_points_beyond_the_last_pixel_count_for_it():
    gt = squares(SIZE, [(59, 39)], side=1)
    assert learner_prompts(gt, proposals((59.6, 39.7)))[1].tolist() == [0]


def test_no_match_gives_no_prompt():
    for corners, given in [
        ([], [(5.0, 5.0)]),
        ([(2, 3)], []),
        ([], []),
        ([(2, 3)], [(30.0, 30.0)]),
    ]:
        points, nuclei = learner_prompts(squares(SIZE, corners), proposals(*given))
        assert points.shape == (0, 2)
        assert nuclei.shape == (0,)
        assert nuclei.dtype == torch.int64
        assert all(len(each) == 0 for each in draw_prompts(points, nuclei, 25))


def test_ground_truth_points_without_nuclei():
    for source in (centroid_prompts, random_prompts):
        points, nuclei = source(squares(SIZE, []), proposals())
        assert points.shape == (0, 2)
        assert nuclei.tolist() == []


def test_centroids_are_the_ground_truths_points():
    gt = squares(SIZE, [(2, 3), (20, 10)])
    points, nuclei = centroid_prompts(gt, proposals((30.0, 30.0)))
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
        points, nuclei = random_prompts(gt, proposals())
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


def box_proposals(*boxes: tuple[float, ...]) -> Instances:
    """Whose points are elsewhere: the centers of the boxes count."""
    boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
    return Instances(SIZE, proposal_points=torch.zeros(len(boxes), 2), proposal_boxes=boxes)


def test_learner_boxes_stand_for_the_nucleus_under_their_centers():
    gt = squares(SIZE, [(2, 3), (20, 10), (50, 30)])
    given = [
        (0.0, 0.0, 60.0, 40.0),  # holds all, and is centered on none
        (18.0, 8.0, 30.0, 20.0),
        (0.0, 0.0, 7.0, 9.0),
        (19.0, 9.0, 29.0, 19.0),
    ]
    prompts, nuclei = learner_prompts(gt, box_proposals(*given))
    assert prompts.tolist() == [[0, 0, 6, 8], [18, 8, 29, 19]]
    assert nuclei.tolist() == [0, 1]


def test_boxes_without_nuclei_or_proposals():
    for source, corners, count in [
        (learner_prompts, [], 0),
        (learner_prompts, [(2, 3)], 0),
        (gt_box_prompts, [], 0),
        (gt_box_prompts, [(2, 3)], 1),
    ]:
        prompts, nuclei = source(squares(SIZE, corners), box_proposals())
        assert prompts.shape == (count, 4)
        assert nuclei.shape == (count,)
        assert nuclei.dtype == torch.int64


def test_boxes_of_the_ground_truth_are_tight():
    gt = squares(SIZE, [(2, 3), (20, 10)])
    prompts, nuclei = gt_box_prompts(gt, box_proposals())
    assert prompts.tolist() == [[2, 3, 9, 10], [20, 10, 27, 17]]
    assert nuclei.tolist() == [0, 1]
