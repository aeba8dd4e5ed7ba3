"""What the columns of prompts mean: points, boxes, and points with their boxes."""

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from cfrsam_d2.structures.prompts import (
    beside,
    box_prompts,
    centers,
    prompts_of,
    split_prompts,
    upright,
)

POINTS = torch.tensor([[3.25, 4.0], [60.5, 20.0]])
BOXES = torch.tensor([[2.0, 3.0, 5.0, 9.0], [50.0, 10.0, 70.5, 30.0]])
BOTH = torch.tensor([[3.25, 4, 2, 3, 5, 9], [60.5, 20, 50, 10, 70.5, 30]])


def test_boxes_prompt_if_there_are_any_and_points_beside_them_if_wanted():
    proposals = Instances((40, 80), proposal_points=POINTS)
    assert torch.equal(prompts_of(proposals), POINTS)
    proposals.proposal_boxes = Boxes(BOXES + torch.tensor([0, 0, 1, 1]))  # ends excluded
    assert torch.equal(prompts_of(proposals), BOXES)
    assert torch.equal(prompts_of(proposals, box_beside_point=True), BOTH)
    assert torch.equal(beside(POINTS, BOXES), BOTH)


def test_a_box_is_its_first_and_its_last_pixel():
    mask = torch.zeros(10, 20, dtype=torch.bool)
    mask[3:8, 5:12] = True
    boxes = torch.tensor([[5.0, 3.0, 12.0, 8.0]])  # of the mask, ends excluded
    rows, columns = mask.nonzero().unbind(dim=1)
    expected = [columns.min(), rows.min(), columns.max(), rows.max()]
    assert box_prompts(boxes).tolist() == [expected]


def test_prompts_are_split_into_points_and_boxes():
    negatives = torch.stack([POINTS, POINTS.flip(0)], dim=1)

    def parts(prompts: Tensor) -> list[list | None]:
        return [None if each is None else each.tolist() for each in split_prompts(prompts)]

    points = POINTS[:, None].tolist()
    assert parts(POINTS) == [points, None]
    assert parts(negatives) == [negatives.tolist(), None]
    assert parts(BOXES) == [None, BOXES.tolist()]
    assert parts(BOTH) == [points, BOXES.tolist()]


def test_points_are_their_own_centers_with_and_without_boxes():
    assert torch.equal(centers(POINTS), POINTS)
    assert centers(BOXES).tolist() == [[3.5, 6], [60.25, 20]]
    assert torch.equal(centers(BOTH), POINTS)
    for width in (2, 4, 6):
        assert centers(torch.zeros(0, width)).shape == (0, 2)


def test_the_first_corner_of_a_box_is_its_upper_left_one():
    """Points stay as they are, also those that are lost; a box that has lost a corner is lost."""
    lost = torch.nan
    turned = [(9, 2, 4, 8), (4, 8, 9, 2), (9, 8, 4, 2), (4, 2, lost, lost)]
    boxes = torch.tensor(turned, dtype=torch.float32)
    points = torch.tensor([[9.0, 2], [lost, lost], [3, 5], [4, 2]])
    ordered = torch.tensor([[4.0, 2, 9, 8]] * 3 + [[lost] * 4])
    for prompts, expected in [
        (points, points),
        (points[:, None], points[:, None]),
        (boxes, ordered),
        (beside(points, boxes), beside(points, ordered)),
        (torch.zeros(0, 6), torch.zeros(0, 6)),
    ]:
        torch.testing.assert_close(upright(prompts), expected, rtol=0, atol=0, equal_nan=True)
