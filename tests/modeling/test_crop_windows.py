"""Windows around nuclei: which size, where, and what is cut from the maps."""

import pytest
import torch
from cfrsam_d2.modeling.boxes import mask_boxes
from cfrsam_d2.modeling.mask_head.windows import CropLadder, nucleus_boxes


def boxes(*rows: tuple[int, int, int, int]) -> torch.Tensor:
    return torch.tensor(rows).reshape(-1, 4)


@pytest.mark.parametrize(
    ("crop_sizes", "frame_size", "sizes"),
    [
        ([], (96, 64), [(96, 64)]),
        ([32, 48], (96, 64), [(32, 32), (48, 48), (96, 64)]),
        ([32, 80], (96, 64), [(32, 32), (80, 64), (96, 64)]),
        ([64], (64, 64), [(64, 64)]),
        ([32, 128, 256], (64, 64), [(32, 32), (64, 64)]),
    ],
)
def test_sizes_end_at_the_frame(
    crop_sizes: list[int], frame_size: tuple[int, int], sizes: list[tuple[int, int]]
):
    assert CropLadder(crop_sizes, frame_size, halo=4).sizes == sizes


def test_a_nucleus_takes_the_first_size_that_holds_it_with_its_halo():
    ladder = CropLadder([32, 64], (128, 96), halo=6)
    assert ladder.rungs(
        boxes(
            (10, 10, 30, 30),  # 20 + 2·6 px: just fits
            (10, 10, 31, 30),  # one too wide
            (10, 10, 30, 31),  # one too high
            (10, 10, 62, 62),
            (10, 10, 62, 63),
            (0, 0, 96, 128),  # as large as the frame, which needs no halo
        )
    ).tolist() == [0, 1, 1, 1, 2, 2]


def test_a_side_as_long_as_the_frames_needs_no_halo():
    ladder = CropLadder([64], (64, 256), halo=24)
    assert ladder.rungs(boxes((100, 0, 116, 64), (100, 0, 117, 64))).tolist() == [0, 1]


def test_windows_are_centred_and_moved_into_the_frame():
    ladder = CropLadder([32], (96, 64), halo=4)
    corners = ladder.windows(
        boxes(
            (24, 40, 32, 48),  # centre (28, 44)
            (25, 41, 34, 50),  # centre (29.5, 45.5): down to multiples of 4
            (0, 0, 8, 8),
            (56, 88, 64, 96),
            (0, 88, 8, 96),
        ),
        rung=0,
    )
    assert corners.tolist() == [[12, 28], [12, 28], [0, 0], [32, 64], [0, 64]]
    assert ladder.windows(boxes((0, 0, 64, 96), (9, 9, 12, 12)), rung=1).tolist() == [[0, 0]] * 2


def test_every_window_lies_in_the_frame_and_holds_its_box_with_its_halo():
    """Corners on multiples of 4 may cost 3 px of the halo; frame edges end it."""
    torch.manual_seed(0)
    frame_size, halo = (100, 140), 6
    ladder = CropLadder([32, 48, 64], frame_size, halo)
    first = torch.rand(500, 2) * torch.tensor([130.0, 90.0])
    end = first + 1 + torch.rand(500, 2) * 60
    drawn = torch.cat([first, end.minimum(torch.tensor([140.0, 100.0]))], dim=1).long()
    drawn[:, 2:] = drawn[:, 2:].maximum(drawn[:, :2] + 1)
    rungs = ladder.rungs(drawn)
    assert rungs.unique().tolist() == [0, 1, 2, 3]
    for rung, (height, width) in enumerate(ladder.sizes):
        own = drawn[rungs == rung]
        corners = ladder.windows(own, rung)
        ends = corners + torch.tensor([width, height])
        frame = torch.tensor(frame_size[::-1])
        assert (corners % 4 == 0).all()
        assert (corners >= 0).all()
        assert (ends <= frame).all()
        assert (corners <= (own[:, :2] - halo).clamp(min=0)).all()
        assert (ends >= (own[:, 2:] + halo - 3).minimum(frame)).all()


def test_a_point_lies_in_the_middle_of_the_box_around_its_mask():
    masks = torch.zeros(5, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:7] = True  # the point inside
    masks[1, 2:5, 3:7] = True  # the point outside
    masks[3, 9, 11] = True  # the point off the frame
    masks[4] = True
    points = torch.tensor([[4.0, 3.0], [8.6, 0.4], [5.4, 6.6], [12.7, -2.0], [0.0, 0.0]])
    assert nucleus_boxes(masks, points).tolist() == [
        [2, 2, 7, 5],
        [3, -4, 16, 5],
        [5, 7, 6, 8],  # no pixel: the point alone
        [11, -9, 12, 10],
        [-11, -9, 12, 10],
    ]


def test_boxes_of_masks():
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    masks[0, 1, 2] = masks[0, 4, 7] = True
    masks[1, 5, 0] = True
    assert mask_boxes(masks).tolist() == [[2, 1, 8, 5], [0, 5, 1, 6], [0, 0, 8, 6]]
    assert mask_boxes(masks[:0]).shape == (0, 4)
