"""Every module computes what the published one computes, and the scores are the official ones.

All sizes, names and weights come from the folder of published numbers, so that another one of the
same form can take its place (CFRSAM_FIXTURES; by default tests/fixtures).
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from evaluation.pannuke_parity import compare_with_published
from torch import nn

from cfrsam_d2.checkpoint import convert_published_state_dict
from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.modeling.mask_head import PointPromptedMaskHead, mask_head_parts
from cfrsam_d2.modeling.mask_head.bgmr import BGMR
from cfrsam_d2.modeling.mask_head.hmfm import HMFM
from cfrsam_d2.modeling.mask_head.losses import boundary_bce, mask_losses
from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.prompt_learner.losses import (
    average_over_ranks,
    classification_loss,
    mask_loss,
    regression_loss,
)
from cfrsam_d2.modeling.prompt_learner.matcher import match_points
from cfrsam_d2.modeling.sam import MALA, SAMEncoder


def manifest(fixtures: Path, name: str) -> dict:
    return json.loads((fixtures / "manifest.json").read_text())[name]


def arrays(fixtures: Path, name: str) -> dict[str, torch.Tensor]:
    with np.load(fixtures / name) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def published_weights(fixtures: Path, kind: str, seed: int) -> dict[str, torch.Tensor]:
    """The weights drawn for `kind` and `seed`, under the project's names."""
    spec = importlib.util.spec_from_file_location(
        "published_weights", fixtures / "published_weights.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    weights = {k: torch.as_tensor(v) for k, v in module.state_dict(kind, seed).items()}
    return convert_published_state_dict(weights)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-4) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def test_stage1(fixtures: Path):
    sizes = manifest(fixtures, "stage1_tiny.npz")
    expected = arrays(fixtures, "stage1_tiny.npz")
    generator = CentroidProposalGenerator(
        backbone=build_convnext("convnext_small", depths=sizes["depths"], dims=sizes["dims"]),
        num_classes=sizes["num_classes"],
        hidden_dim=sizes["hidden_dim"],
        num_levels=sizes["num_levels"],
        anchor_stride=sizes["anchor_stride"],
    ).eval()
    weights = published_weights(fixtures, sizes["weights"], sizes["seed"])
    generator.load_state_dict(
        {name.removeprefix("proposal_generator."): value for name, value in weights.items()}
    )
    with torch.no_grad():
        actual = generator.predict(expected["normalized"])
    assert_close(actual.anchors, expected["anchors"])
    assert_close(actual.levels[0], expected["level0"])
    assert_close(actual.points, expected["pred_points"])
    assert_close(actual.logits, expected["pred_logits"])
    assert_close(actual.mask_logits[:, None], expected["pred_mask_logits"])


@pytest.fixture
def s1(fixtures: Path) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("s1_"): array
        for name, array in arrays(fixtures, "losses.npz").items()
        if name.startswith("s1_")
    }


def test_stage1_matching_and_losses(fixtures: Path, s1: dict[str, torch.Tensor]):
    constants = manifest(fixtures, "losses.npz")
    counts = s1["counts"].tolist()
    gt_points, gt_classes = s1["points"].split(counts), s1["labels"].split(counts)
    targets = torch.full(s1["logits"].shape[:2], constants["num_classes"])
    matches = []
    for i in range(len(counts)):
        pred_index, gt_index = match_points(
            s1["coords"][i],
            s1["logits"][i],
            gt_points[i],
            gt_classes[i],
            distance_weight=constants["distance_weight"],
        )
        targets[i, pred_index] = gt_classes[i][gt_index]
        matches.append((s1["coords"][i, pred_index], gt_points[i][gt_index], pred_index, gt_index))
    matched, matched_gt, pred_index, gt_index = map(torch.cat, zip(*matches, strict=True))
    assert torch.equal(pred_index, s1["match_pred"])
    assert torch.equal(gt_index, s1["match_gt"])
    assert_close(
        classification_loss(
            s1["logits"], targets, background_weight=constants["background_weight"]
        ),
        s1["loss_cls"],
    )
    num_nuclei = average_over_ranks(sum(counts), torch.device("cpu"))
    assert_close(
        constants["regression_weight"] * regression_loss(matched, matched_gt, num_nuclei),
        s1["loss_reg"],
    )
    assert_close(mask_loss(s1["mask_logits"], s1["gt_mask"]), s1["loss_mask"])


def with_published_weights(module: nn.Module, fixtures: Path, sizes: dict) -> nn.Module:
    module.load_state_dict(published_weights(fixtures, sizes["weights"], sizes["seed"]))
    return module.eval()


def test_mala(fixtures: Path):
    sizes, expected = manifest(fixtures, "mala.npz"), arrays(fixtures, "mala.npz")
    mala = with_published_weights(MALA(sizes["dim"], sizes["rank"]), fixtures, sizes)
    inputs = sorted(name for name in expected if name.startswith("x"))
    assert inputs
    for name in inputs:
        x = expected[name].requires_grad_()
        y = mala(x)
        y.square().sum().backward()
        assert_close(y.detach(), expected[name.replace("x", "y")])
        assert_close(x.grad, expected[f"d{name}"], atol=1e-3)


def test_hmfm(fixtures: Path):
    sizes, expected = manifest(fixtures, "hmfm.npz"), arrays(fixtures, "hmfm.npz")
    levels = [expected[name] for name in sorted(expected) if name.startswith("level")]
    hmfm = HMFM(channels=levels[0].shape[1], num_levels=len(levels))
    with torch.no_grad():
        fused = with_published_weights(hmfm, fixtures, sizes)(levels)
    assert_close(fused, expected["fused"])


def prompt_image(counts: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(counts)).repeat_interleave(counts)


@torch.no_grad()
def test_bgmr(fixtures: Path):
    sizes, expected = manifest(fixtures, "bgmr.npz"), arrays(fixtures, "bgmr.npz")
    bgmr = with_published_weights(BGMR(), fixtures, sizes)
    base = bgmr.mcbe.base(expected["normalized"])
    detail = bgmr.mcbe(expected["normalized"])
    assert_close(base, expected["base_feature"])
    assert_close(detail - base, expected["boundary_enhanced"])
    refined_logits, boundary_logits = bgmr(
        detail[prompt_image(expected["counts"])],
        expected["mask_feature"],
        expected["fused_feature"],
    )
    assert_close(refined_logits[:, None], expected["refined_logits"])
    assert_close(boundary_logits[:, None], expected["boundary_logits"])


def test_stage2(fixtures: Path, subtests: pytest.Subtests):
    names = [path.name for path in sorted(fixtures.glob("stage2_tiny_*.npz"))]
    assert names
    for name in names:
        with subtests.test(name):
            compare_stage2(fixtures, name)


@torch.no_grad()
def compare_stage2(fixtures: Path, name: str) -> None:
    sizes, expected = manifest(fixtures, name), arrays(fixtures, name)
    model = nn.Module()
    model.backbone = SAMEncoder(
        embed_dim=sizes["embed_dim"],
        depth=sizes["depth"],
        num_heads=sizes["num_heads"],
        global_attn_indexes=sizes["global_attn_indexes"],
        attention_window=sizes["window_size"],
        adapter_rank=sizes["mala_rank"],
        frozen=True,
    )
    model.mask_head = PointPromptedMaskHead(**mask_head_parts())
    with_published_weights(model, fixtures, sizes)
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    mean, std = (
        torch.tensor(each).view(3, 1, 1) for each in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)
    )
    images = (expected["images"].permute(0, 3, 1, 2) - mean) / std

    features = model.backbone(images)
    maps = model.mask_head.encode(images, features)
    predictions = model.mask_head.predict(
        maps, expected["points"], prompt_image(expected["counts"])
    )
    assert_close(features["level0"], expected["level0"])
    assert_close(features["level3"], expected["level3"])
    assert_close(maps.embeddings, expected["fused"])
    assert_close(predictions.decoded.logits[:, None], expected["low_res_logits"])
    assert_close(predictions.logits["initial"], expected["initial_logits"])
    assert_close(predictions.logits["refined"], expected["refined_logits"])
    assert_close(predictions.logits["boundary"][:, None], expected["boundary_logits"])
    assert_close(predictions.decoded.pred_iou, expected["iou"])


def test_stage2_losses(fixtures: Path):
    constants = manifest(fixtures, "losses.npz")
    s2 = {
        name.removeprefix("s2_"): array
        for name, array in arrays(fixtures, "losses.npz").items()
        if name.startswith("s2_")
    }
    weights = {"focal": constants["focal_weight"], "dice": 1, "iou": 1}
    total = 0
    for mask in ("initial", "refined"):
        terms = mask_losses(s2[f"{mask}_logits"], s2["target"].float(), s2["pred_iou"])
        assert terms.keys() == weights.keys()
        for term, value in terms.items():
            assert_close(weights[term] * value, s2[f"{mask}_{term}"])
            total = total + weights[term] * value
    boundary = boundary_bce(s2["boundary_logits"], s2["boundary_target"])
    assert_close(boundary, s2["boundary_bce"])
    assert_close(total + constants["boundary_weight"] * boundary, s2["total"])


def test_scores(fixtures: Path):
    for name, ours, theirs, tolerance in compare_with_published(fixtures):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=name)
