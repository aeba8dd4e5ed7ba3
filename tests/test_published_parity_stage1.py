"""The prompt learner computes what the published one computes. All sizes come from the files."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cfrsam_d2.checkpoint import convert_published_state_dict
from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.prompt_learner.losses import (
    average_over_ranks,
    classification_loss,
    mask_loss,
    regression_loss,
)
from cfrsam_d2.modeling.prompt_learner.matcher import match_points


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
