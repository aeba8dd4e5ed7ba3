"""Refining in crops: the same numbers as at full frame, laid back in place, enlarged at need."""

import pytest
import torch
from cfrsam_d2.modeling.mask_head.crop_refinement import OUTSIDE_LOGIT, refine
from cfrsam_d2.modeling.mask_head.windows import CropLadder
from torch import nn

from cfrsam_d2.modeling.mask_head.bgmr import BGMR

FRAME = (96, 128)
DETAIL_CHANNELS = 75  # of what BGMR takes of an image


class Passing(nn.Module):
    """In place of BGMR: passes maps on as logits, and remembers the sizes of its crops.

    Refined logits are detail's first channel; boundary logits tell U and G, at full size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.crops = []

    def forward(self, detail, mask_features, deep_features):
        self.crops.append((len(detail), *detail.shape[-2:]))
        features = mask_features[:, 0] + deep_features[:, 0]
        return detail[:, 0], features.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


def maps(images: int, nuclei: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    height, width = FRAME
    return {
        "detail": torch.randn(images, DETAIL_CHANNELS, height, width),
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


@pytest.mark.parametrize(
    "box",
    [(56, 40, 72, 56), (0, 0, 16, 16), (112, 80, 128, 96), (50, 0, 66, 16), (0, 78, 13, 96)],
    ids=["inside", "top left", "bottom right", "top", "bottom left"],
)
def test_a_crop_equals_the_full_frame_within_its_halo(bgmr: BGMR, box: tuple[int, ...]):
    """The published halo of 24 px covers what reaches a pixel, at frame edges, too."""
    x0, y0, x1, y1 = box
    boxes, image = torch.tensor([box]), torch.zeros(1, dtype=torch.long)
    given = maps(1, 1)
    with torch.no_grad():
        crops, full = (
            refine(
                bgmr,
                prompt_image=image,
                boxes=boxes,
                ladder=CropLadder(sizes, FRAME, halo=24),
                enlarge=False,
                **given,
            )
            for sizes in ([68], [])
        )
    for in_crop, in_frame in zip(crops, full, strict=True):
        assert in_crop.shape == (1, *FRAME)
        assert (in_crop == OUTSIDE_LOGIT).any()
        torch.testing.assert_close(
            in_crop[:, y0:y1, x0:x1], in_frame[:, y0:y1, x0:x1], atol=1e-6, rtol=1e-5
        )


def test_without_crops_it_is_bgmr_itself(bgmr: BGMR):
    given = maps(2, 3)
    image = torch.tensor([0, 1, 1])
    with torch.no_grad():
        expected = bgmr(
            given["detail"][image], given["mask_features"], given["deep_features"][image]
        )
        actual = refine(
            bgmr,
            prompt_image=image,
            boxes=torch.tensor([[0, 0, 4, 4]] * 3),
            ladder=CropLadder([], FRAME, halo=24),
            enlarge=True,
            **given,
        )
    assert torch.equal(actual[0], expected[0])
    assert torch.equal(actual[1], expected[1])


def test_each_nucleus_is_cut_from_its_own_maps_and_laid_back():
    """Nuclei of two images and two sizes, in mixed order."""
    given = maps(2, 4)
    image = torch.tensor([1, 0, 1, 0])
    boxes = torch.tensor([[60, 40, 76, 56], [100, 70, 128, 96], [0, 0, 40, 40], [30, 30, 38, 38]])
    ladder = CropLadder([32, 48], FRAME, halo=4)
    bgmr = Passing()
    refined, boundary = refine(
        bgmr, prompt_image=image, boxes=boxes, ladder=ladder, enlarge=False, **given
    )
    assert bgmr.crops == [(2, 32, 32), (2, 48, 48)]
    windows = [(52, 32, 32), (80, 48, 48), (0, 0, 48), (16, 16, 32)]  # x0, y0, side
    for nucleus, (x, y, side) in enumerate(windows):
        rows, columns = slice(y, y + side), slice(x, x + side)
        detail = given["detail"][image[nucleus], 0]
        features = given["mask_features"][nucleus, 0] + given["deep_features"][image[nucleus], 0]
        features = features.repeat_interleave(4, dim=0).repeat_interleave(4, dim=1)
        for actual, expected in ((refined, detail), (boundary, features)):
            laid = torch.full(FRAME, OUTSIDE_LOGIT)
            laid[rows, columns] = expected[rows, columns]
            assert torch.equal(actual[nucleus], laid)


def refine_masks(*masks: torch.Tensor, boxes: list[list[int]], enlarge: bool):
    """Refine nuclei whose refined masks would be `masks`, in crops of 32 and 64 px."""
    given = maps(len(masks), len(masks))
    given["detail"][:, 0] = torch.stack(masks).float() - 0.5
    bgmr = Passing()
    refined, _ = refine(
        bgmr,
        prompt_image=torch.arange(len(masks)),
        boxes=torch.tensor(boxes),
        ladder=CropLadder([32, 64], FRAME, halo=4),
        enlarge=enlarge,
        **given,
    )
    return refined > 0, bgmr.crops


def rectangle(x0: int, y0: int, x1: int, y1: int) -> torch.Tensor:
    mask = torch.zeros(FRAME, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "crops"),
    [
        (rectangle(50, 40, 70, 56), [(1, 32, 32)]),
        (rectangle(30, 40, 70, 56), [(1, 32, 32), (1, 64, 64)]),  # to the left
        (rectangle(50, 40, 85, 56), [(1, 32, 32), (1, 64, 64)]),  # to the right
        (rectangle(50, 20, 70, 56), [(1, 32, 32), (1, 64, 64)]),  # up
        (rectangle(50, 40, 70, 76), [(1, 32, 32), (1, 64, 64)]),  # down
        (rectangle(4, 40, 124, 56), [(1, 32, 32), (1, 64, 64), (1, *FRAME)]),
        (rectangle(0, 0, 128, 96), [(1, 32, 32), (1, 64, 64), (1, *FRAME)]),
    ],
)
def test_a_mask_that_reaches_the_edge_gets_a_larger_crop(
    mask: torch.Tensor, crops: list[tuple[int, int, int]]
):
    box = [[56, 44, 64, 52]]
    refined, seen = refine_masks(mask, boxes=box, enlarge=True)
    assert seen == crops
    assert torch.equal(refined[0], mask)
    cut, seen = refine_masks(mask, boxes=box, enlarge=False)
    assert seen == crops[:1]
    assert torch.equal(cut[0], mask & rectangle(44, 32, 76, 64))


def test_right_and_bottom_are_measured_by_width_and_height():
    """A crop that ends beyond column 96 of 128 columns and 96 rows."""
    mask = rectangle(80, 60, 115, 70)
    refined, seen = refine_masks(mask, boxes=[[84, 60, 92, 68]], enlarge=True)
    assert seen == [(1, 32, 32), (1, 64, 64)]
    assert torch.equal(refined[0], mask)


def test_the_frames_own_edges_do_not_enlarge():
    for mask, box in (
        (rectangle(0, 0, 20, 20), [0, 0, 8, 8]),
        (rectangle(108, 76, 128, 96), [120, 88, 128, 96]),
    ):
        refined, seen = refine_masks(mask, boxes=[box], enlarge=True)
        assert seen == [(1, 32, 32)]
        assert torch.equal(refined[0], mask)


def test_only_the_cut_nuclei_are_refined_again():
    masks = [rectangle(50, 40, 70, 56), rectangle(30, 40, 70, 56), rectangle(40, 20, 90, 70)]
    boxes = [[56, 44, 64, 52], [56, 44, 64, 52], [40, 20, 90, 70]]
    refined, seen = refine_masks(*masks, boxes=boxes, enlarge=True)
    assert seen == [(2, 32, 32), (2, 64, 64)]
    assert torch.equal(refined, torch.stack(masks))


def test_gradients_reach_all_maps_through_the_crops():
    bgmr = BGMR()
    given = {name: each.requires_grad_() for name, each in maps(1, 2).items()}
    refined, boundary = refine(
        bgmr,
        prompt_image=torch.tensor([0, 0]),
        boxes=torch.tensor([[10, 10, 20, 20], [60, 60, 90, 90]]),
        ladder=CropLadder([32, 48], FRAME, halo=4),
        enlarge=False,
        **given,
    )
    (refined.sigmoid().sum() + boundary.sigmoid().sum()).backward()
    assert all(each.grad.any() for each in given.values())
    assert all(
        each.grad is not None for name, each in bgmr.named_parameters() if "mcbe" not in name
    )
