"""Points and boxes as prompts: middles, boxes of Detectron2, windows."""

import torch
from cfrsam_d2.modeling.prompt_geometry import centers, corners, move_to_window, prompts_of_boxes

from cfrsam_d2.modeling.tiling import Window

POINTS = torch.tensor([[3.25, 4.0], [60.5, 20.0]])
BOXES = torch.tensor([[2.0, 3.0, 5.0, 9.0], [50.0, 10.0, 70.5, 30.0]])


def test_corners_and_centers():
    assert corners(POINTS).tolist() == [[[3.25, 4]], [[60.5, 20]]]
    assert corners(BOXES).tolist() == [[[2, 3], [5, 9]], [[50, 10], [70.5, 30]]]
    assert torch.equal(centers(POINTS), POINTS)
    assert centers(BOXES).tolist() == [[3.5, 6], [60.25, 20]]


def test_a_box_is_its_first_and_its_last_pixel():
    mask = torch.zeros(10, 20, dtype=torch.bool)
    mask[3:8, 5:12] = True
    boxes = torch.tensor([[5.0, 3.0, 12.0, 8.0]])  # of the mask, ends excluded
    rows, columns = mask.nonzero().unbind(dim=1)
    expected = [columns.min(), rows.min(), columns.max(), rows.max()]
    assert prompts_of_boxes(boxes).tolist() == [expected]


def test_points_move_with_their_window():
    window = Window(50, 10, 80, 40)
    assert move_to_window(POINTS[1:], window).tolist() == [[10.5, 10]]


def test_boxes_are_cut_to_their_window():
    window = Window(55, 8, 66, 22)  # 11×14 px
    assert move_to_window(BOXES[1:], window).tolist() == [[0, 2, 10, 13]]
    assert move_to_window(BOXES[1:], Window(0, 0, 100, 100)).tolist() == BOXES[1:].tolist()


def test_no_prompts():
    for width in (2, 4):
        none = torch.zeros(0, width)
        assert centers(none).shape == (0, 2)
        assert move_to_window(none, Window(0, 0, 4, 4)).shape == (0, width)
