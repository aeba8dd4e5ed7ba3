"""KEEP_ON_MASK_ONLY with every config: in training prompts, inference and on slides."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_proposal_generator
from label_oracle import LabelOracle, image_of, oracle_model
from torch import Tensor, nn

from cfrsam_d2.engine import load_config
from cfrsam_d2.modeling.meta_arch import CFRSAM

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SIDE = 128  # px
KEYS = [
    *("MODEL.DEVICE", "cpu", "MODEL.PROMPT_LEARNER.PRETRAINED", "False"),
    *("MODEL.PROMPT_LEARNER.DEPTHS", "[1, 1, 1, 1]", "MODEL.PROMPT_LEARNER.DIMS", "[8, 8, 8, 8]"),
    *("MODEL.PROMPT_LEARNER.HIDDEN_DIM", "8", "MODEL.CFRSAM.NEGATIVE_PROMPTS", "0"),
]


class RightHalf(nn.Module):
    """An auxiliary mask head that sees nuclei in the right half of each image."""

    def forward(self, features: Tensor) -> Tensor:
        count, _, height, width = features.shape
        logits = features.new_full((count, 1, height + 2, width + 2), -1.0)
        logits[..., (width + 2) // 2 :] = 1
        return logits


def configs() -> Iterator[tuple[str, CfgNode]]:
    """A config for each prompt learner that there is."""
    seen = set()
    for path in sorted(CONFIGS.rglob("*.yaml")):
        if path.name.startswith(("Base-", "Data-")):
            continue
        cfg = load_config(str(path), KEYS)
        learner = (str(cfg.MODEL.PROMPT_LEARNER), cfg.MODEL.PROPOSAL_GENERATOR.NAME)
        if learner not in seen:
            seen.add(learner)
            yield path.relative_to(CONFIGS).as_posix(), cfg


def model_of(cfg: CfgNode, *, keeps_on_mask: bool) -> CFRSAM:
    """A model whose untrained learner sees nuclei everywhere, and on its mask in the right half."""
    torch.manual_seed(0)
    cfg.MODEL.PROMPT_LEARNER.KEEP_ON_MASK_ONLY = keeps_on_mask
    generator = build_proposal_generator(cfg, None)
    generator.classification_head[-1].bias.data[-1] = -9.0  # no background
    generator.mask_head = RightHalf()
    return oracle_model(LabelOracle(), proposal_generator=generator)


@torch.no_grad()
def prompts_everywhere(model: CFRSAM) -> Iterator[Tensor]:
    """Points, or middles of boxes, of training, inference and, where points prompt, of slides."""
    cells = torch.arange(SIDE) // 4
    image = image_of(1 + cells[:, None] * len(cells) + cells)
    yield model.find_prompts([image])[0].unflatten(1, (-1, 2)).mean(dim=1)
    yield model.inference([image])[0].pred_points
    if not model.proposal_generator.proposes_boxes:
        points = pytest.importorskip("cfrsam_d2.slides.points")
        lattice = pytest.importorskip("cfrsam_d2.slides.lattice")
        box = lattice.Box(0, 0, SIDE, SIDE)
        pixels = image.permute(1, 2, 0).byte().numpy()
        table = points.points_of_tile(model, lattice.Tile(box, box), pixels)
        yield torch.tensor([table["x"].to_pylist(), table["y"].to_pylist()]).T


def test_points_off_the_mask_are_dropped_with_every_config() -> None:
    classes = set()
    for name, cfg in configs():
        classes.add(cfg.MODEL.PROMPT_LEARNER.NUM_CLASSES)
        models = [model_of(cfg, keeps_on_mask=keeps) for keeps in (False, True)]
        for everywhere, on_mask in zip(*map(prompts_everywhere, models), strict=True):
            assert everywhere[:, 0].min() < SIDE / 4, name
            assert len(on_mask) > 0, name
            assert on_mask[:, 0].min() > SIDE / 2 - 4, name  # a cell of the mask has 4 px
    assert {1, 5} <= classes  # those of CPM-17 and MoNuSeg, and PanNuke's
