"""Windows over images: where they lie, which prompts they hold, which masks they cut off."""

from itertools import pairwise

import pytest
import torch

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.sliding_window import (
    Frame,
    SlidingWindow,
    Window,
    best_per_prompt,
    in_core,
    prompts_in_window,
    with_negatives,
)
from cfrsam_d2.structures.prompts import centers

BOXES = torch.tensor([[2.0, 3.0, 5.0, 9.0], [50.0, 10.0, 70.5, 30.0]])


def test_an_image_that_fits_is_one_window():
    for height, width in [(256, 256), (1, 1), (50, 256), (255, 30)]:
        windows = SlidingWindow(256, 64).windows(3, height, width)
        assert windows == [Window(3, 0, 0, width, height)]


def test_windows_row_by_row_the_last_moved_back():
    windows = SlidingWindow(256, 64).windows(0, 600, 257)
    assert windows == [Window(0, x, y, x + 256, y + 256) for y in (0, 192, 344) for x in (0, 1)]


def test_no_window_more_than_needed():
    assert SlidingWindow(256, 64).windows(0, 256, 448) == [
        Window(0, 0, 0, 256, 256),
        Window(0, 192, 0, 448, 256),
    ]


def test_windows_cover_the_image_and_share_the_overlap():
    for height in (100, 101, 137, 250):
        windows = SlidingWindow(100, 30).windows(0, height, 90)
        assert (windows[0].y0, windows[-1].y1) == (0, height)
        for window, following in pairwise(windows):
            assert window.y1 - following.y0 >= 30
            assert following.y0 > window.y0
        for window in windows:
            assert (window.x0, window.x1, window.y1 - window.y0) == (0, 90, 100)


def test_each_prompt_lies_in_the_core_of_one_window():
    """Which reaches at least half of the overlap around it; the last one overlaps by more."""
    sliding_window = SlidingWindow(100, 30)
    for height, width in [(100, 90), (101, 170), (171, 250), (240, 239), (350, 40)]:
        owners = torch.zeros(height, width, dtype=torch.int64)
        for window in sliding_window.windows(4, height, width):
            image, x0, y0, x1, y1 = sliding_window.core(window, (height, width))
            owners[y0:y1, x0:x1] += 1
            assert image == 4
            assert x0 == window.x0 == 0 or x0 - window.x0 >= 15
            assert y0 == window.y0 == 0 or y0 - window.y0 >= 15
            assert x1 == window.x1 == width or window.x1 - x1 >= 15
            assert y1 == window.y1 == height or window.y1 - y1 >= 15
        assert (owners == 1).all()


def test_with_repeated_prompts_a_window_is_its_core():
    repeating = SlidingWindow(100, 30, repeat_prompts=True)
    for window in repeating.windows(0, 240, 170):
        assert repeating.core(window, (240, 170)) == window


def test_a_window_is_one_frame_unless_it_is_larger():
    for window in (Window(2, 0, 0, 256, 256), Window(0, 192, 5, 448, 105), Window(0, 0, 0, 3, 1)):
        assert SlidingWindow(256, 64).frames(window) == [Frame(window, window)]
        assert SlidingWindow(1024, 64).frames(window) == [Frame(window, window)]


def test_each_prompt_lies_in_one_core_and_deep_in_its_frame():
    """Windows at an image's edge need not be whole cells."""
    sliding_window = SlidingWindow(1024, 64)
    for width, height in [(1024, 1024), (1000, 300), (257, 256), (513, 40)]:
        window = Window(0, 70, 30, 70 + width, 30 + height)
        frames = sliding_window.frames(window)
        owners = torch.zeros(height, width, dtype=torch.int64)
        for area, core in frames:
            owners[core.y0 - 30 : core.y1 - 30, core.x0 - 70 : core.x1 - 70] += 1
            assert (area.x0 - window.x0) % 16 == 0 == (area.y0 - window.y0) % 16
            for (first, end), of_core, of_window in [
                ((area.x0, area.x1), (core.x0, core.x1), (window.x0, window.x1)),
                ((area.y0, area.y1), (core.y0, core.y1), (window.y0, window.y1)),
            ]:
                assert end - first == 256 or end == of_window[1]
                assert first == of_window[0] or of_core[0] - first >= 64
                assert end == of_window[1] or end - of_core[1] >= 64
        assert (owners == 1).all()
        borders = [[core.x0, core.y0] for _, core in frames]
        prompts = torch.tensor([*borders, *([x + 0.5, y - 0.001] for x, y in borders if y > 30)])
        assert (torch.stack([in_core(prompts, core) for _, core in frames]).sum(dim=0) == 1).all()


def test_frames_that_do_not_begin_with_a_cell_are_refused():
    for frame in (0, -32, 100, 16):
        with pytest.raises(UserError, match=rf"FRAME is {frame}: give a positive multiple of 32"):
            SlidingWindow(1024, 64, frame=frame)


def test_larger_windows_are_fewer_at_once():
    sizes = {256: 8, 100: 8, 300: 5, 512: 2, 1024: 1, 4096: 1}
    assert {size: SlidingWindow(size, 64, batch=8).at_once for size in sizes} == sizes


def test_windows_that_do_not_move_on_are_refused():
    for overlap in (128, 200, -1):
        with pytest.raises(UserError, match=rf"^overlap is {overlap} with windows of 128 px: give"):
            SlidingWindow(128, overlap)


def test_batches_are_of_one_size():
    """Of five windows of 64×64 px and two of 40×64, at most two together."""
    batches = list(SlidingWindow(64, 0, batch=2).batches([(128, 64), (40, 128), (64, 192)]))
    sizes = [[(each.y1 - each.y0, each.x1 - each.x0) for each in batch] for batch in batches]
    assert sizes == [2 * [(64, 64)], 2 * [(64, 64)], [(64, 64)], 2 * [(40, 64)]]
    assert [each.image for batch in batches for each in batch] == [0, 0, 2, 2, 2, 1, 1]


def test_windows_without_prompts_are_left_out():
    prompts = [torch.tensor([[70.0, 3.0]]), torch.zeros(0, 2), torch.tensor([[1.0, 1.0]])]
    (batch,) = SlidingWindow(64, 0).batches([(64, 128)] * 3, prompts)
    assert batch == [Window(0, 64, 0, 128, 64), Window(2, 0, 0, 64, 64)]
    assert list(SlidingWindow(64, 0).batches([(64, 64)], [torch.zeros(0, 4)])) == []
    # Of windows from 0 and from 32, it lies farther from the edge in the second.
    in_overlap = [torch.tensor([[50.0, 9.0]])]
    (batch,) = SlidingWindow(64, 32).batches([(64, 96)], in_overlap)
    assert batch == [Window(0, 32, 0, 96, 64)]
    (batch,) = SlidingWindow(64, 32, repeat_prompts=True).batches([(64, 96)], in_overlap)
    assert len(batch) == 2
    assert list(SlidingWindow(64, 0).batches([])) == []


def test_masks_near_inner_edges_are_cut_off():
    window = Window(0, 100, 100, 200, 200)
    boxes = torch.tensor(
        [
            [108, 108, 193, 193],  # more than 7 px from the first edges, 7 from the last
            [107, 120, 150, 150],
            [120, 107, 150, 150],
            [120, 120, 194, 150],
            [120, 120, 150, 194],
        ]
    )
    seven = SlidingWindow(100, 0, edge_tolerance=7)
    assert seven.keeps(boxes, window, (300, 300)).tolist() == [True, False, False, False, False]
    assert SlidingWindow(100, 0, edge_tolerance=6).keeps(boxes, window, (300, 300)).all()
    assert seven.keeps(boxes[:0], window, (300, 300)).shape == (0,)


def test_the_images_own_edges_cut_nothing_off():
    seven = SlidingWindow(100, 0, edge_tolerance=7)
    whole = torch.tensor([[0, 0, 100, 80]])
    assert seven.keeps(whole, Window(0, 0, 0, 100, 80), (80, 100)).all()
    corner, window = torch.tensor([[95, 75, 100, 80]]), Window(0, 40, 30, 100, 80)
    assert seven.keeps(corner, window, (80, 100)).tolist() == [True]
    assert seven.keeps(corner, window, (81, 100)).tolist() == [False]
    assert seven.keeps(corner, window, (80, 101)).tolist() == [False]


def test_points_in_a_window_move_with_it():
    window = Window(0, 10, 20, 30, 60)
    points = torch.tensor(
        [
            [10.0, 20.0],
            [9.9, 40.0],
            [29.1, 40.0],
            [20.0, 19.0],
            [20.0, 60.0],
            [29.0, 59.5],
            [29, 59],
        ]
    )
    indices, prompts = prompts_in_window(points, window)
    assert indices.tolist() == [0, 6]
    assert prompts.tolist() == [[0, 0], [19, 39]]


def test_boxes_are_cut_to_their_window():
    indices, prompts = prompts_in_window(BOXES, Window(0, 55, 8, 66, 22))  # 11×14 px
    assert indices.tolist() == [1]
    assert prompts.tolist() == [[0, 2, 10, 13]]
    indices, prompts = prompts_in_window(BOXES, Window(0, 0, 0, 100, 100))
    assert indices.tolist() == [0, 1]
    assert torch.equal(prompts, BOXES)


def test_points_with_their_boxes_are_where_the_points_are():
    """All three corners are cut to the window, also where the box's middle lies outside of it."""
    points = torch.tensor([[5.0, 7.0], [54.5, 20.0], [56.0, 12.0]])
    boxes = torch.cat([BOXES, BOXES[1:]])  # of middles (3.5, 6), (60.25, 20) twice
    prompts = torch.cat([points, boxes], dim=1)
    indices, cut = prompts_in_window(prompts, Window(0, 55, 8, 60, 18))
    assert indices.tolist() == [2]
    assert cut.tolist() == [[1, 4, 0, 2, 4, 9]]
    indices, cut = prompts_in_window(prompts, Window(0, 0, 0, 100, 100))
    assert indices.tolist() == [0, 1, 2]
    assert torch.equal(cut, prompts)


def test_no_prompts():
    for size in (2, 4, 6):
        none = torch.zeros(0, size)
        indices, prompts = prompts_in_window(none, Window(0, 0, 0, 4, 4))
        assert (indices.shape, prompts.shape) == ((0,), (0, size))


def test_negatives_are_the_nearest_others_the_nearest_first():
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    two = with_negatives(points, 2)
    assert torch.equal(two[:, 0], points)
    assert two[:, 1:].tolist() == [
        [[0, 2], [3, 0]],
        [[0, 0], [0, 2]],
        [[0, 0], [3, 0]],
        [[3, 0], [0, 2]],
    ]
    assert torch.equal(centers(two), points)


def test_points_with_too_few_others_have_no_number_in_their_place():
    for count, others in [(0, 0), (1, 0), (2, 1), (3, 2)]:
        given = with_negatives(torch.rand(count, 2), 2)
        assert given.shape == (count, 3, 2)
        none = [False] * (1 + others) + [True] * (2 - others)
        assert given.isnan().any(dim=2).tolist() == [none] * count


def test_two_points_in_one_place_are_each_others_negatives():
    given = with_negatives(torch.tensor([[4.0, 4.0], [4.0, 4.0], [8.0, 4.0]]), 1)
    assert given.tolist() == [[[4, 4], [4, 4]], [[4, 4], [4, 4]], [[8, 4], [4, 4]]]


def test_the_best_of_each_prompt_highest_first():
    """Of two that are alike the first."""
    scores, prompts = torch.tensor([0.2, 0.9, 0.9, 0.5, 0.1]), torch.tensor([7, 3, 3, 7, 5])
    assert best_per_prompt(scores, prompts).tolist() == [1, 3, 4]
    assert best_per_prompt(scores[:0], prompts[:0]).tolist() == []
