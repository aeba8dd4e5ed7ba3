"""What can take BGMR's place: known answers, crops, and what the mask head makes of each."""

import pytest
import torch
import torch.nn.functional as F
from cfrsam_d2.modeling.mask_head.crop_refinement import OUTSIDE_LOGIT, refine
from cfrsam_d2.modeling.mask_head.windows import CropLadder
from tiny_segmenter import random_image, squares, tiny_cfrsam
from torch import nn

from cfrsam_d2.modeling.mask_head.bgmr import BGMR
from cfrsam_d2.modeling.mask_head.refiners import MLP, REFINERS, BGMRWithoutBGFF, BGMRWithoutMCBE

FRAME = (64, 96)
REFINING = [name for name, build in REFINERS.items() if build]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def maps(refiner: nn.Module, images: int = 2, nuclei: int = 3) -> dict[str, torch.Tensor]:
    height, width = FRAME
    return {
        "detail": refiner.detail(torch.randn(images, 3, height, width)),
        "mask_features": torch.randn(nuclei, 32, height // 4, width // 4),
        "deep_features": torch.randn(images, 32, height // 4, width // 4),
    }


@pytest.mark.parametrize("name", REFINING)
@torch.no_grad()
def test_all_give_logits_at_full_size_and_in_crops(name: str):
    """In a crop the same numbers as at full frame, as far from its edge as its halo."""
    refiner = REFINERS[name]().eval()
    given = maps(refiner)
    options = {
        "prompt_image": torch.tensor([1, 0, 1]),
        "boxes": torch.tensor([[30, 26, 38, 34], [40, 20, 60, 40], [0, 0, 10, 8]]),
        "enlarge": False,
        **given,
    }
    full = refine(refiner, ladder=CropLadder([], FRAME, halo=24), **options)
    crops = refine(refiner, ladder=CropLadder([60], FRAME, halo=24), **options)
    assert len(full) == len(crops) == len(refiner.outputs)
    for in_frame, in_crop in zip(full, crops, strict=True):
        assert in_frame.shape == in_crop.shape == (3, *FRAME)
        assert (in_crop[0] == OUTSIDE_LOGIT).any()
        torch.testing.assert_close(in_crop[0, 26:34, 30:38], in_frame[0, 26:34, 30:38])
        torch.testing.assert_close(in_crop[2, :8, :10], in_frame[2, :8, :10])


@pytest.mark.parametrize("name", REFINING)
def test_every_parameter_gets_a_gradient(name: str):
    refiner = REFINERS[name]()
    given = maps(refiner, images=2, nuclei=2)
    outputs = refiner(given["detail"], given["mask_features"], given["deep_features"])
    sum(logits.square().sum() for logits in outputs).backward()
    for parameter_name, parameter in refiner.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any() or parameter_name == "refinement.expand.bias", parameter_name


@torch.no_grad()
def test_mlp_equals_its_formula():
    mlp = MLP()
    given = maps(mlp, images=3, nuclei=3)
    assert given["detail"].shape == (3, 0, *FRAME)
    x = torch.cat([given["mask_features"], given["deep_features"]], dim=1).permute(0, 2, 3, 1)
    first, _, second, _, last = mlp.layers
    for layer in (first, second):
        x = F.linear(x, layer.weight[:, :, 0, 0], layer.bias).relu()
    coarse = F.linear(x, last.weight[:, :, 0, 0], last.bias).permute(0, 3, 1, 2)
    expected = F.interpolate(coarse, FRAME, mode="bilinear", align_corners=False)[:, 0]
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
    given = maps(without, images=2, nuclei=2)
    refined, boundary = without(**given)
    detail = given["detail"]
    semantic = without.upsample(torch.cat([given["mask_features"], given["deep_features"]], dim=1))
    torch.testing.assert_close(boundary, without.boundary_head(detail)[:, 0])
    expected = without.mask_head(without.refinement(semantic, detail))[:, 0]
    torch.testing.assert_close(refined, expected)
    assert not any(name.startswith("bgff.") for name, _ in without.named_parameters())


def training_batch() -> list[dict]:
    size = (64, 64)
    return [{"image": random_image(*size), "instances": squares(size, [(8, 8), (32, 32)])}]


@pytest.mark.parametrize(
    ("name", "count"),
    [("BGMR", 7), ("none", 3), ("MLP", 6), ("BGMR-without-MCBE", 7), ("BGMR-without-BGFF", 7)],
)
def test_losses_are_those_of_what_a_refiner_gives(name: str, count: int):
    """In a batch of nuclei and in one without, and all that trains gets a gradient."""
    model = tiny_cfrsam(head={"refinement": name}).train()
    losses = model(training_batch())
    assert list(losses) == model.mask_head.loss_names
    assert len(losses) == count
    assert ("loss_boundary" in losses) == (count == 7)
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    empty = {"image": random_image(64, 64), "instances": squares((64, 64), [])}
    assert list(model([empty])) == list(losses)
    sum(losses.values()).backward()
    for parameter_name, parameter in model.mask_head.named_parameters():
        if parameter.requires_grad and "output_hypernetworks_mlps" not in parameter_name:
            assert parameter.grad is not None, parameter_name


@pytest.mark.parametrize("final_mask", ["refined", "initial"])
@torch.no_grad()
def test_where_nothing_refines_the_initial_masks_are_the_result(final_mask: str):
    head = {"refinement": "none", "final_mask": final_mask, "crop_sizes": (32,)}
    model = tiny_cfrsam(head=head, nms_thresh=1.0).eval()
    image = random_image(64, 64)
    instances = model([{"image": image}])[0]["instances"]
    normalised = model.normalize(image)[None]
    maps = model.mask_head.encode(normalised, model.backbone(normalised))
    one = torch.zeros(len(instances), dtype=torch.long)
    predictions = model.mask_head.predict(maps, instances.pred_points, one)
    assert predictions.refined_logits is predictions.boundary_logits is None
    assert torch.equal(instances.pred_masks, predictions.initial_logits > 0)
    assert not any("bgmr" in name or "deep_branch" in name for name in model.state_dict())


@torch.no_grad()
def test_refined_masks_of_the_mlp_are_the_result():
    model = tiny_cfrsam(head={"refinement": "MLP"}, nms_thresh=1.0).eval()
    layer = model.mask_head.bgmr.layers[-1]
    nn.init.zeros_(layer.weight)
    nn.init.ones_(layer.bias)
    instances = model([{"image": random_image(64, 64)}])[0]["instances"]
    assert len(instances) > 1
    assert instances.pred_masks.all()
