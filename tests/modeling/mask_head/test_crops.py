"""Refining in crops: sizes and places, the same numbers as at full frame, enlarged at need."""

import copy

import pytest
import torch
from torch import Tensor, nn

from cfrsam_d2.modeling.mask_head.bgmr import BGMR
from cfrsam_d2.modeling.mask_head.crops import (
    OUTSIDE_LOGIT,
    CropSizes,
    boxes_around_points,
    crop,
    paste,
    refine_in_crops,
)

FRAME = (96, 128)


def boxes(*rows: tuple[int, int, int, int]) -> Tensor:
    return torch.tensor(rows).reshape(-1, 4)


def test_sizes_end_at_the_frame():
    for sides, frame_size, sizes in [
        ([], (96, 64), [(96, 64)]),
        ([32, 48], (96, 64), [(32, 32), (48, 48), (96, 64)]),
        ([32, 80], (96, 64), [(32, 32), (80, 64), (96, 64)]),
        ([64], (64, 64), [(64, 64)]),
        ([32, 128, 256], (64, 64), [(32, 32), (64, 64)]),
    ]:
        assert CropSizes(sides, frame_size, halo=4).sizes == sizes


def test_training_never_takes_the_frame_where_there_are_sizes():
    for sides, sizes in [([], [(96, 64)]), ([32, 48], [(32, 32), (48, 48)])]:
        assert CropSizes(sides, (96, 64), halo=4, up_to_frame=False).sizes == sizes
    sizes = CropSizes([32, 48], (96, 64), halo=4, up_to_frame=False)
    given = boxes((0, 0, 24, 24), (0, 0, 40, 40), (0, 0, 41, 41), (0, 0, 64, 96))
    assert sizes.smallest_fitting(given).tolist() == [0, 1, 1, 1]


def test_a_nucleus_takes_the_first_size_that_holds_it_with_its_halo():
    sizes = CropSizes([32, 64], (128, 96), halo=6)
    assert sizes.smallest_fitting(
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
    sizes = CropSizes([64], (64, 256), halo=24)
    given = boxes((100, 0, 116, 64), (100, 0, 117, 64))
    assert sizes.smallest_fitting(given).tolist() == [0, 1]


def test_crops_are_centred_and_moved_into_the_frame():
    sizes = CropSizes([32], (96, 64), halo=4)
    given = boxes(
        (24, 40, 32, 48),  # centre (28, 44)
        (25, 41, 34, 50),  # centre (29.5, 45.5): down to multiples of 4
        (0, 0, 8, 8),
        (56, 88, 64, 96),
        (0, 88, 8, 96),
    )
    expected = [[12, 28], [12, 28], [0, 0], [32, 64], [0, 64]]
    assert sizes.corners(given, (32, 32)).tolist() == expected
    whole = boxes((0, 0, 64, 96), (9, 9, 12, 12))
    assert sizes.corners(whole, (96, 64)).tolist() == [[0, 0]] * 2


def test_every_crop_lies_in_the_frame_and_holds_its_box_with_its_halo():
    """Corners on multiples of 4 may cost 3 px of the halo; frame edges end it."""
    frame_size, halo = (100, 140), 6
    sizes = CropSizes([32, 48, 64], frame_size, halo)
    first = torch.rand(500, 2) * torch.tensor([130.0, 90.0])
    end = first + 1 + torch.rand(500, 2) * 60
    drawn = torch.cat([first, end.minimum(torch.tensor([140.0, 100.0]))], dim=1).long()
    drawn[:, 2:] = drawn[:, 2:].maximum(drawn[:, :2] + 1)
    smallest = sizes.smallest_fitting(drawn)
    assert smallest.unique().tolist() == [0, 1, 2, 3]
    for index, (height, width) in enumerate(sizes.sizes):
        own = drawn[smallest == index]
        corners = sizes.corners(own, (height, width))
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
    assert boxes_around_points(masks, points).tolist() == [
        [2, 2, 7, 5],
        [3, -4, 16, 5],
        [5, 7, 6, 8],  # no pixel: the point alone
        [11, -9, 12, 10],
        [-11, -9, 12, 10],
    ]


INDEX = torch.tensor([1, 0, 1])
CORNERS = torch.tensor([[4, 0], [0, 3], [2, 1]])  # the first and the last overlap


def test_crops_come_from_their_own_map_and_place():
    maps = torch.arange(2 * 1 * 8 * 10).view(2, 1, 8, 10)
    crops = crop(maps, INDEX, CORNERS, (5, 6))
    assert crops.shape == (3, 1, 5, 6)
    assert torch.equal(crops[0], maps[1, :, 0:5, 4:10])
    assert torch.equal(crops[1], maps[0, :, 3:8, 0:6])
    assert torch.equal(crops[2], maps[1, :, 1:6, 2:8])


def test_frames_hold_their_crop_and_nothing_else():
    crops = torch.randn(3, 5, 6)
    frames = paste(crops, CORNERS, (8, 10), -20.0)
    assert frames.shape == (3, 8, 10)
    for frame, (x, y), each in zip(frames, CORNERS.tolist(), crops, strict=True):
        assert torch.equal(frame[y : y + 5, x : x + 6], each)
        assert (frame == -20).sum() == 8 * 10 - 5 * 6


def test_gradients_of_crops_and_frames_are_those_of_slices():
    """Those of crops that overlap add up."""
    maps = torch.randn(2, 3, 8, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps: crop(maps, INDEX, CORNERS, (5, 6)), (maps,))
    crops = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda crops: paste(crops, CORNERS, (8, 10), -20.0), (crops,))


class Passing(nn.Module):
    """In place of BGMR: passes maps on as logits, and remembers the sizes of its crops.

    Refined logits are detail's first channel; boundary logits tell U and G, at full size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.crops = []

    def forward(self, detail: Tensor, mask_features: Tensor, deep_features: Tensor):
        self.crops.append((len(detail), *detail.shape[-2:]))
        features = mask_features[:, 0] + deep_features[:, 0]
        return detail[:, 0], features.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


def random_maps(images: int, nuclei: int) -> dict[str, Tensor]:
    height, width = FRAME
    return {
        "detail": torch.randn(images, 32, height, width),
        "deep_features": torch.randn(images, 32, height // 4, width // 4),
        "mask_features": torch.randn(nuclei, 32, height // 4, width // 4),
    }


@pytest.fixture(scope="module")
def bgmr() -> BGMR:
    """With statistics and offsets as after some training: taps move by about half a pixel."""
    torch.manual_seed(0)
    bgmr = BGMR()
    for layer in bgmr.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 1.5)
    for deform in (bgmr.bgff.deform, bgmr.refinement.deform):
        nn.init.normal_(deform.offset.weight, std=0.02)
    return bgmr.eval()


@torch.no_grad()
def test_a_crop_equals_the_full_frame_within_its_halo(bgmr: BGMR):
    """The published halo of 24 px covers what reaches a pixel, at frame edges, too."""
    bgmr = copy.deepcopy(bgmr).double()
    given = {name: each.double() for name, each in random_maps(1, 1).items()}
    for box in [
        (56, 40, 72, 56),
        (0, 0, 16, 16),
        (112, 80, 128, 96),
        (50, 0, 66, 16),
        (0, 78, 13, 96),
    ]:
        crops, full = (
            refine_in_crops(
                bgmr,
                prompt_image=torch.tensor([0]),
                boxes=boxes(box),
                sizes=CropSizes(sides, FRAME, halo=24),
                one_size=True,
                **given,
            )
            for sides in ([68], [])
        )
        x0, y0, x1, y1 = box
        for in_crop, in_frame in zip(crops, full, strict=True):
            assert in_crop.shape == (1, *FRAME)
            assert (in_crop == OUTSIDE_LOGIT).any()
            torch.testing.assert_close(
                in_crop[:, y0:y1, x0:x1], in_frame[:, y0:y1, x0:x1], atol=1e-12, rtol=1e-12
            )


@torch.no_grad()
def test_without_crops_it_is_bgmr_itself(bgmr: BGMR):
    given = random_maps(2, 3)
    image = torch.tensor([0, 1, 1])
    expected = bgmr(given["detail"][image], given["mask_features"], given["deep_features"][image])
    actual = refine_in_crops(
        bgmr,
        prompt_image=image,
        boxes=boxes(*[(0, 0, 4, 4)] * 3),
        sizes=CropSizes([], FRAME, halo=24),
        one_size=False,
        **given,
    )
    for ours, theirs in zip(actual, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_each_nucleus_is_cut_from_its_own_maps_and_laid_back():
    """Nuclei of two images in mixed order, each in its own size and all in one."""
    given = random_maps(2, 4)
    given["detail"].abs_().neg_()  # masks without a pixel, which reach no edge
    image = torch.tensor([1, 0, 1, 0])
    own_sizes = [(52, 32, 32), (80, 48, 48), (0, 0, 48), (16, 16, 32)]  # x0, y0, side
    one_size = [(44, 24, 48), (80, 48, 48), (0, 0, 48), (8, 8, 48)]
    for of_sizes, crops, calls in [
        (False, own_sizes, [(2, 32, 32), (2, 48, 48)]),
        (True, one_size, [(4, 48, 48)]),
    ]:
        passing = Passing()
        refined, boundary = refine_in_crops(
            passing,
            prompt_image=image,
            boxes=boxes((60, 40, 76, 56), (100, 70, 128, 96), (0, 0, 40, 40), (30, 30, 38, 38)),
            sizes=CropSizes([32, 48], FRAME, halo=4),
            one_size=of_sizes,
            **given,
        )
        assert passing.crops == calls
        for nucleus, (x, y, side) in enumerate(crops):
            rows, columns = slice(y, y + side), slice(x, x + side)
            detail = given["detail"][image[nucleus], 0]
            features = given["mask_features"][nucleus, 0]
            features = features + given["deep_features"][image[nucleus], 0]
            features = features.repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)
            for actual, expected in ((refined, detail), (boundary, features)):
                laid = torch.full(FRAME, OUTSIDE_LOGIT)
                laid[rows, columns] = expected[rows, columns]
                assert torch.equal(actual[nucleus], laid)


def refine_masks(
    masks: list[Tensor], around: list[tuple[int, int, int, int]], *, one_size: bool = False
) -> tuple[Tensor, list[tuple[int, int, int]]]:
    """Refine nuclei whose refined masks would be `masks`, in crops of 32 and 64 px.

    Returns:
        The refined masks, and how many crops of what size were refined, one after the other.
    """
    given = random_maps(len(masks), len(masks))
    given["detail"][:, 0] = torch.stack(masks).float() - 0.5
    passing = Passing()
    refined, _ = refine_in_crops(
        passing,
        prompt_image=torch.arange(len(masks)),
        boxes=boxes(*around),
        sizes=CropSizes([32, 64], FRAME, halo=4),
        one_size=one_size,
        **given,
    )
    return refined > 0, passing.crops


def rectangle(x0: int, y0: int, x1: int, y1: int) -> Tensor:
    mask = torch.zeros(FRAME, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_a_mask_that_reaches_the_edge_gets_a_larger_crop():
    box = (56, 44, 64, 52)
    twice = [(1, 32, 32), (1, 64, 64)]
    for mask, crops in [
        (rectangle(50, 40, 70, 56), twice[:1]),
        (rectangle(30, 40, 70, 56), twice),  # to the left
        (rectangle(50, 40, 85, 56), twice),  # to the right
        (rectangle(50, 20, 70, 56), twice),  # up
        (rectangle(50, 40, 70, 76), twice),  # down
        (rectangle(4, 40, 124, 56), [*twice, (1, *FRAME)]),
        (rectangle(0, 0, 128, 96), [*twice, (1, *FRAME)]),
    ]:
        refined, seen = refine_masks([mask], [box])
        assert seen == crops
        assert torch.equal(refined[0], mask)
        cut, seen = refine_masks([mask], [box], one_size=True)
        assert seen == crops[:1]
        assert torch.equal(cut[0], mask & rectangle(44, 32, 76, 64))


def test_right_and_bottom_are_measured_by_width_and_height():
    """A crop that ends beyond column 96 of 128 columns and 96 rows."""
    mask = rectangle(80, 60, 115, 70)
    refined, seen = refine_masks([mask], [(84, 60, 92, 68)])
    assert seen == [(1, 32, 32), (1, 64, 64)]
    assert torch.equal(refined[0], mask)


def test_the_frames_own_edges_do_not_enlarge():
    for mask, box in [
        (rectangle(0, 0, 20, 20), (0, 0, 8, 8)),
        (rectangle(108, 76, 128, 96), (120, 88, 128, 96)),
    ]:
        refined, seen = refine_masks([mask], [box])
        assert seen == [(1, 32, 32)]
        assert torch.equal(refined[0], mask)


def test_only_the_cut_nuclei_are_refined_again():
    masks = [rectangle(50, 40, 70, 56), rectangle(30, 40, 70, 56), rectangle(40, 20, 90, 70)]
    refined, seen = refine_masks(masks, [(56, 44, 64, 52), (56, 44, 64, 52), (40, 20, 90, 70)])
    assert seen == [(2, 32, 32), (2, 64, 64)]
    assert torch.equal(refined, torch.stack(masks))


def test_gradients_reach_all_maps_through_the_crops():
    bgmr = BGMR()
    given = {name: each.requires_grad_() for name, each in random_maps(1, 2).items()}
    refined, boundary = refine_in_crops(
        bgmr,
        prompt_image=torch.tensor([0, 0]),
        boxes=boxes((10, 10, 20, 20), (60, 60, 90, 90)),
        sizes=CropSizes([32, 48], FRAME, halo=4),
        one_size=True,
        **given,
    )
    (refined.sigmoid().sum() + boundary.sigmoid().sum()).backward()
    assert all(each.grad.any() for each in given.values())
    assert all(
        each.grad is not None for name, each in bgmr.named_parameters() if "mcbe" not in name
    )


def test_statistics_are_of_all_crops_of_a_step_at_once():
    """Nuclei of three sizes: batch norm's averages move once, as by one call over all crops."""
    bgmr, given = BGMR(), random_maps(2, 3)
    of_one_call = copy.deepcopy(bgmr)
    image = torch.tensor([0, 1, 1])
    around = boxes((10, 10, 20, 20), (60, 60, 90, 90), (50, 40, 94, 84))
    sizes = CropSizes([32, 48, 64], FRAME, halo=4)
    assert sizes.smallest_fitting(around).tolist() == [0, 1, 2]
    refine_in_crops(bgmr, prompt_image=image, boxes=around, sizes=sizes, one_size=True, **given)
    first = [(0, 0), (40, 32), (40, 28)]  # x0, y0
    crops = [
        (
            given["detail"][i, :, y : y + 64, x : x + 64],
            given["mask_features"][nucleus, :, y // 4 : y // 4 + 16, x // 4 : x // 4 + 16],
            given["deep_features"][i, :, y // 4 : y // 4 + 16, x // 4 : x // 4 + 16],
        )
        for nucleus, (i, (x, y)) in enumerate(zip(image.tolist(), first, strict=True))
    ]
    of_one_call(*(torch.stack(each) for each in zip(*crops, strict=True)))
    expected = dict(of_one_call.named_buffers())
    for name, buffer in bgmr.named_buffers():
        assert torch.equal(buffer, expected[name]), name
        if name.endswith("num_batches_tracked") and "mcbe" not in name:
            assert buffer == 1, name
