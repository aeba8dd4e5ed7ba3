"""What can take BGMR's place: known answers, crops, and what the mask head makes of each."""

import pytest
import torch
import torch.nn.functional as F
from label_oracle import frames
from tiny_segmenter import encode, nuclei_of, random_image, squares, tiny_cfrsam, tiny_head
from torch import Tensor, nn

from cfrsam_d2.modeling.mask_head.bgmr import BGMR
from cfrsam_d2.modeling.mask_head.crops import OUTSIDE_LOGIT, CropSizes, refine_in_crops
from cfrsam_d2.modeling.mask_head.refiners import MLP, REFINERS, BGMRWithoutBGFF, BGMRWithoutMCBE

FRAME = (64, 96)
REFINING = {name: build for name, build in REFINERS.items() if build}


def random_maps(refiner: nn.Module, images: int = 2, nuclei: int = 3) -> dict[str, Tensor]:
    height, width = FRAME
    return {
        "detail": refiner.detail(torch.randn(images, 3, height, width)),
        "mask_features": torch.randn(nuclei, 32, height // 4, width // 4),
        "deep_features": torch.randn(images, 32, height // 4, width // 4),
    }


@torch.no_grad()
def test_all_give_logits_at_full_size_and_in_crops():
    """In a crop the same numbers as at full frame, as far from its edge as its halo."""
    for build in REFINING.values():
        refiner = build().eval()
        options = {
            "prompt_image": torch.tensor([1, 0, 1]),
            "boxes": torch.tensor([[30, 26, 38, 34], [40, 20, 48, 28], [0, 0, 10, 8]]),
            "one_size": True,
            **random_maps(refiner),
        }
        full, crops = (
            refine_in_crops(refiner, sizes=CropSizes(sides, FRAME, halo=24), **options)
            for sides in ([], [60])
        )
        assert len(full) == len(crops) == len(refiner.outputs)
        for in_frame, in_crop in zip(full, crops, strict=True):
            assert in_frame.shape == in_crop.shape == (3, *FRAME)
            assert (in_crop[0] == OUTSIDE_LOGIT).any()
            torch.testing.assert_close(in_crop[0, 26:34, 30:38], in_frame[0, 26:34, 30:38])
            torch.testing.assert_close(in_crop[2, :8, :10], in_frame[2, :8, :10])


def test_every_parameter_gets_a_gradient():
    """But a bias before batch norm, which shifts nothing: its gradient is rounding."""
    for build in REFINING.values():
        refiner = build()
        outputs = refiner(**random_maps(refiner, nuclei=2))
        sum(logits.square().sum() for logits in outputs).backward()
        for name, parameter in refiner.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any() or name == "refinement.expand.bias", name


@torch.no_grad()
def test_mlp_equals_its_formula():
    mlp = MLP()
    given = random_maps(mlp, images=3)
    assert given["detail"].shape == (3, 0, *FRAME)
    x = torch.cat([given["mask_features"], given["deep_features"]], dim=1).permute(0, 2, 3, 1)
    first, _, second, _, last = mlp.layers
    for layer in (first, second):
        x = F.linear(x, layer.weight[:, :, 0, 0], layer.bias).relu()
    quarter = F.linear(x, last.weight[:, :, 0, 0], last.bias).permute(0, 3, 1, 2)
    expected = F.interpolate(quarter, FRAME, mode="bilinear", align_corners=False)[:, 0]
    (refined,) = mlp(**given)
    torch.testing.assert_close(refined, expected)


def test_mlp_is_of_bgmrs_size():
    mlp, bgmr = (sum(each.numel() for each in module.parameters()) for module in (MLP(), BGMR()))
    assert mlp == 64 * 256 + 256 + 256 * 256 + 256 + 256 + 1
    assert mlp == pytest.approx(bgmr, rel=0.05)


@torch.no_grad()
def test_without_mcbe_the_detail_is_the_base_of_bgmrs():
    bgmr, without = BGMR().eval(), BGMRWithoutMCBE().eval()
    without.mcbe.load_state_dict(bgmr.mcbe.base.state_dict())
    images = torch.randn(2, 3, *FRAME)
    assert torch.equal(without.mcbe(images), bgmr.mcbe.base(images))
    missing = {name for name, _ in bgmr.named_parameters()} - {
        name for name, _ in without.named_parameters()
    }
    assert all(name.startswith("mcbe.") for name in missing)


@torch.no_grad()
def test_without_bgff_the_detail_guides_and_gives_boundaries():
    without = BGMRWithoutBGFF().eval()
    given = random_maps(without, nuclei=2)
    refined, boundary = without(**given)
    detail = given["detail"]
    semantic = without.upsample(torch.cat([given["mask_features"], given["deep_features"]], dim=1))
    torch.testing.assert_close(boundary, without.boundary_head(detail)[:, 0])
    expected = without.mask_head(without.refinement(semantic, detail))[:, 0]
    torch.testing.assert_close(refined, expected)
    assert not any(name.startswith("bgff.") for name, _ in without.named_parameters())


def test_losses_are_those_of_what_a_refiner_gives():
    """In a batch of nuclei and in one without, and all that trains gets a gradient."""
    size = (64, 64)
    some, none = (
        {"image": random_image(*size), "instances": squares(size, corners)}
        for corners in ([(8, 8), (32, 32)], [])
    )
    for name, build in REFINERS.items():
        outputs = build().outputs if build else ()
        model = tiny_cfrsam(mask_head=tiny_head(refiner=name)).train()
        losses = model([some])
        assert list(losses) == list(model([none])) == model.mask_head.loss_names
        assert len(losses) == 3 + 3 * ("refined" in outputs) + ("boundary" in outputs)
        assert ("loss_boundary" in losses) == ("boundary" in outputs)
        assert all(loss.isfinite() and loss > 0 for loss in losses.values())
        sum(losses.values()).backward()
        for parameter_name, parameter in model.mask_head.named_parameters():
            if parameter.requires_grad and "output_hypernetworks_mlps" not in parameter_name:
                assert parameter.grad is not None, parameter_name


@torch.no_grad()
def test_where_nothing_refines_the_initial_masks_are_the_result():
    for final_mask in ("refined", "initial"):
        head = tiny_head(refiner="none", final_mask=final_mask, crop_sizes=(32,))
        model = tiny_cfrsam(mask_head=head, nms_thresh=1.0)
        image = random_image(64, 64)
        instances = nuclei_of(model, image)
        one = torch.zeros(len(instances), dtype=torch.long)
        logits = head.predict(encode(model, image), instances.pred_points, one).logits
        assert list(logits) == ["initial"]
        assert torch.equal(frames(instances), logits["initial"] > 0)
        assert not any("bgmr" in name or "deep_branch" in name for name in model.state_dict())


def test_refined_masks_of_the_mlp_are_the_result():
    model = tiny_cfrsam(mask_head=tiny_head(refiner="MLP"), nms_thresh=1.0)
    layer = model.mask_head.bgmr.layers[-1]
    nn.init.zeros_(layer.weight)
    nn.init.ones_(layer.bias)
    instances = nuclei_of(model, random_image(64, 64))
    assert len(instances) > 1
    assert frames(instances).all()
