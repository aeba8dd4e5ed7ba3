"""Every module computes what the published one computes, and the scores are the official ones.

All sizes, names and weights come from the folder of published numbers, so that another one of the
same form can take its place (CFRSAM_FIXTURES; by default tests/fixtures).
"""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from evaluation.pannuke_parity import compare_with_published
from torch import Tensor, nn

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


@dataclass(frozen=True)
class Published:
    """The folder of published numbers; tensors of it lie on a device, and are met within `atol`."""

    folder: Path
    device: torch.device
    atol: float

    def sizes(self, name: str) -> dict:
        return json.loads((self.folder / "manifest.json").read_text())[name]

    def arrays(self, name: str, prefix: str = "") -> dict[str, Tensor]:
        """Those whose name starts with `prefix`, without it."""
        with np.load(self.folder / name) as file:
            return {
                key.removeprefix(prefix): torch.from_numpy(file[key]).to(self.device)
                for key in file.files
                if key.startswith(prefix)
            }

    def load(self, module: nn.Module, sizes: dict, prefix: str = "") -> nn.Module:
        """A module with the weights drawn for `sizes`, under the project's names."""
        spec = importlib.util.spec_from_file_location(
            "published_weights", self.folder / "published_weights.py"
        )
        drawn = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(drawn)
        weights = drawn.state_dict(sizes["weights"], sizes["seed"])
        weights = convert_published_state_dict({k: torch.as_tensor(v) for k, v in weights.items()})
        module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items()})
        return module.eval().to(self.device)

    def assert_close(self, actual: Tensor, expected: Tensor, atol: float = 0.0) -> None:
        torch.testing.assert_close(actual, expected, atol=max(atol, self.atol), rtol=0)


@pytest.fixture
def published(fixtures: Path, device: torch.device, atol: float) -> Published:
    return Published(fixtures, device, atol)


def test_stage1(published: Published):
    sizes, expected = published.sizes("stage1_tiny.npz"), published.arrays("stage1_tiny.npz")
    generator = CentroidProposalGenerator(
        backbone=build_convnext("convnext_small", depths=sizes["depths"], dims=sizes["dims"]),
        num_classes=sizes["num_classes"],
        hidden_dim=sizes["hidden_dim"],
        num_levels=sizes["num_levels"],
        anchor_stride=sizes["anchor_stride"],
    )
    published.load(generator, sizes, prefix="proposal_generator.")
    with torch.no_grad():
        actual = generator.predict(expected["normalized"])
    published.assert_close(actual.anchors, expected["anchors"])
    published.assert_close(actual.levels[0], expected["level0"])
    published.assert_close(actual.points, expected["pred_points"])
    published.assert_close(actual.logits, expected["pred_logits"])
    published.assert_close(actual.mask_logits[:, None], expected["pred_mask_logits"])


def test_stage1_matching_and_losses(published: Published):
    constants, s1 = published.sizes("losses.npz"), published.arrays("losses.npz", prefix="s1_")
    counts = s1["counts"].tolist()
    gt_points, gt_classes = s1["points"].split(counts), s1["labels"].split(counts)
    targets = torch.full_like(s1["logits"][..., 0], constants["num_classes"], dtype=torch.long)
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
    published.assert_close(
        classification_loss(
            s1["logits"], targets, background_weight=constants["background_weight"]
        ),
        s1["loss_cls"],
    )
    num_nuclei = average_over_ranks(sum(counts), published.device)
    published.assert_close(
        constants["regression_weight"] * regression_loss(matched, matched_gt, num_nuclei),
        s1["loss_reg"],
    )
    published.assert_close(mask_loss(s1["mask_logits"], s1["gt_mask"]), s1["loss_mask"])


def test_mala(published: Published):
    sizes, expected = published.sizes("mala.npz"), published.arrays("mala.npz")
    mala = published.load(MALA(sizes["dim"], sizes["rank"]), sizes)
    inputs = sorted(name for name in expected if name.startswith("x"))
    assert inputs
    for name in inputs:
        x = expected[name].requires_grad_()
        y = mala(x)
        y.square().sum().backward()
        published.assert_close(y.detach(), expected[name.replace("x", "y")])
        published.assert_close(x.grad, expected[f"d{name}"], atol=1e-3)


def test_hmfm(published: Published):
    sizes, expected = published.sizes("hmfm.npz"), published.arrays("hmfm.npz")
    levels = [expected[name] for name in sorted(expected) if name.startswith("level")]
    hmfm = HMFM(channels=levels[0].shape[1], num_levels=len(levels))
    with torch.no_grad():
        fused = published.load(hmfm, sizes)(levels)
    published.assert_close(fused, expected["fused"])


def prompt_image(counts: Tensor) -> Tensor:
    return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)


@torch.no_grad()
def test_bgmr(published: Published):
    sizes, expected = published.sizes("bgmr.npz"), published.arrays("bgmr.npz")
    bgmr = published.load(BGMR(), sizes)
    base = bgmr.mcbe.base(expected["normalized"])
    detail = bgmr.mcbe(expected["normalized"])
    published.assert_close(base, expected["base_feature"])
    published.assert_close(detail - base, expected["boundary_enhanced"])
    refined_logits, boundary_logits = bgmr(
        detail[prompt_image(expected["counts"])],
        expected["mask_feature"],
        expected["fused_feature"],
    )
    published.assert_close(refined_logits[:, None], expected["refined_logits"])
    published.assert_close(boundary_logits[:, None], expected["boundary_logits"])


def test_stage2(published: Published, subtests: pytest.Subtests):
    names = [path.name for path in sorted(published.folder.glob("stage2_tiny_*.npz"))]
    assert names
    for name in names:
        with subtests.test(name):
            compare_stage2(published, name)


@torch.no_grad()
def compare_stage2(published: Published, name: str) -> None:
    sizes, expected = published.sizes(name), published.arrays(name)
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
    published.load(model, sizes)
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    mean, std = (
        torch.tensor(each, device=published.device).view(3, 1, 1)
        for each in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)
    )
    images = (expected["images"].permute(0, 3, 1, 2) - mean) / std

    features = model.backbone(images)
    maps = model.mask_head.encode(images, features)
    predictions = model.mask_head.predict(
        maps, expected["points"], prompt_image(expected["counts"])
    )
    published.assert_close(features["level0"], expected["level0"])
    published.assert_close(features["level3"], expected["level3"])
    published.assert_close(maps.embeddings, expected["fused"])
    published.assert_close(predictions.decoded.logits[:, None], expected["low_res_logits"])
    published.assert_close(predictions.logits["initial"], expected["initial_logits"])
    published.assert_close(predictions.logits["refined"], expected["refined_logits"])
    published.assert_close(predictions.logits["boundary"][:, None], expected["boundary_logits"])
    published.assert_close(predictions.decoded.pred_iou, expected["iou"])


def test_stage2_losses(published: Published):
    constants, s2 = published.sizes("losses.npz"), published.arrays("losses.npz", prefix="s2_")
    weights = {"focal": constants["focal_weight"], "dice": 1, "iou": 1}
    total = 0
    for mask in ("initial", "refined"):
        terms = mask_losses(s2[f"{mask}_logits"], s2["target"].float(), s2["pred_iou"])
        assert terms.keys() == weights.keys()
        for term, value in terms.items():
            published.assert_close(weights[term] * value, s2[f"{mask}_{term}"])
            total = total + weights[term] * value
    boundary = boundary_bce(s2["boundary_logits"], s2["boundary_target"])
    published.assert_close(boundary, s2["boundary_bce"])
    published.assert_close(total + constants["boundary_weight"] * boundary, s2["total"])


def test_scores(fixtures: Path):
    for name, ours, theirs, tolerance in compare_with_published(fixtures):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=name)
