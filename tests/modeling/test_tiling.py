"""The geometry of windows over an image."""

from itertools import pairwise

import pytest
import torch

from cfrsam_d2.modeling.tiling import Window, cut_by_edge, cut_windows, points_inside


@pytest.mark.parametrize("size", [(256, 256), (1, 1), (50, 256), (255, 30)])
def test_an_image_that_fits_is_one_window(size: tuple[int, int]):
    assert cut_windows(*size, size=256, overlap=64) == [Window(0, 0, size[1], size[0])]


def test_windows_row_by_row_the_last_moved_back():
    windows = cut_windows(600, 257, size=256, overlap=64)
    assert windows == [Window(x, y, x + 256, y + 256) for y in (0, 192, 344) for x in (0, 1)]


def test_no_window_more_than_needed():
    assert cut_windows(256, 448, size=256, overlap=64) == [
        Window(0, 0, 256, 256),
        Window(192, 0, 448, 256),
    ]


@pytest.mark.parametrize("height", [100, 101, 137, 250])
def test_windows_cover_the_image_and_share_the_overlap(height: int):
    windows = cut_windows(height, 90, size=100, overlap=30)
    assert windows[0].y0 == 0
    assert windows[-1].y1 == height
    for window, following in pairwise(windows):
        assert window.y1 - following.y0 >= 30
        assert following.y0 > window.y0
    for window in windows:
        assert (window.x0, window.x1) == (0, 90)
        assert window.y1 - window.y0 == 100


def test_points_in_a_window():
    window = Window(10, 20, 30, 60)
    points = torch.tensor(
        [[10.0, 20.0], [29.0, 59.0], [9.9, 40.0], [29.1, 40.0], [20.0, 19.0], [20.0, 60.0]]
    )
    assert points_inside(points, window).tolist() == [0, 1]
    assert points_inside(points[:0], window).tolist() == []


def test_boxes_near_inner_edges_are_cut():
    window = Window(100, 100, 200, 200)
    boxes = torch.tensor(
        [
            [107, 107, 193, 193],  # 7 px from each edge
            [106, 120, 150, 150],
            [120, 106, 150, 150],
            [120, 120, 194, 150],
            [120, 120, 150, 194],
        ]
    )
    assert cut_by_edge(boxes, window, 300, 300, 7).tolist() == [False, True, True, True, True]
    assert not cut_by_edge(boxes, window, 300, 300, 6).any()
    assert cut_by_edge(boxes[:0], window, 300, 300, 7).shape == (0,)


def test_the_images_own_edges_cut_nothing():
    whole = torch.tensor([[0, 0, 100, 80]])
    assert not cut_by_edge(whole, Window(0, 0, 100, 80), 80, 100, 7).any()
    corners = torch.tensor([[0, 0, 5, 5], [95, 75, 100, 80]])
    window = Window(40, 30, 100, 80)
    assert cut_by_edge(corners[1:], window, 80, 100, 7).tolist() == [False]
    assert cut_by_edge(corners[1:], window, 81, 100, 7).tolist() == [True]
    assert cut_by_edge(corners[1:], window, 80, 101, 7).tolist() == [True]
