"""A toy model with dropout and batch norm, toy data, and the config of a run with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import nn

from cfrsam_d2.data.converters.dataset_writer import NucleusJsonWriter
from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.engine import load_config
from cfrsam_d2.structures.masks import BoxMask

SIDE = 32  # px


@META_ARCH_REGISTRY.register()
class ToyPointer(nn.Module):
    """Points at one place of each image; the loss is the distance to the first nucleus."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5)
        )
        self.point = nn.Linear(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("device_of", torch.zeros(()), persistent=False)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        images = torch.stack([each["image"].to(self.device_of) for each in batched_inputs]) / 255
        points = self.point(self.features(images).mean(dim=(2, 3)))
        if self.training:
            targets = torch.stack([each["instances"].gt_points[0] for each in batched_inputs])
            return {
                "loss_point": (points - targets.to(points) / SIDE).abs().mean(),
                "loss_size": points.square().mean(),
            }
        return [
            {
                "instances": Instances(
                    (SIDE, SIDE),
                    pred_points=(point * SIDE)[None],
                    pred_classes=torch.zeros(1, dtype=torch.int64),
                    scores=torch.ones(1),
                )
            }
            for point in points
        ]


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Datasets toy_train, toy_val and toy_test of six tiles each, of two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        folder = tmp_path_factory.mktemp(split)
        writer = NucleusJsonWriter(folder, ["round", "long"])
        for i in range(6):
            x, y = rng.integers(0, SIDE - 8, size=2).tolist()
            mask = BoxMask(x, y, np.ones((8, 8), dtype=bool))
            image = rng.integers(0, 256, size=(SIDE, SIDE, 3), dtype=np.uint8)
            writer.add(f"{i}.png", image, [(mask, i % 2)], tissue="Toy")
        writer.write()
        register_nucleus_json(
            f"toy_{split}",
            folder / "nuclei.json",
            folder / "images",
            thing_classes=["round", "long"],
        )
    yield
    for split in ("train", "val", "test"):
        unregister(f"toy_{split}")


@pytest.fixture
def toy_config(toy_data: None, tmp_path: Path) -> Callable[..., CfgNode]:
    """A function: overrides to the config of a run of 8 iterations in tmp_path/output."""
    file = tmp_path / "toy.yaml"
    file.write_text(
        f"""
VERSION: 2
DATASETS: {{TRAIN: [toy_train], VAL: [toy_val], TEST: [toy_test]}}
DATALOADER: {{NUM_WORKERS: 0}}
MODEL: {{META_ARCHITECTURE: ToyPointer, PROMPT_LEARNER: {{NUM_CLASSES: 2}}}}
SOLVER:
  OPTIMIZER: ADAMW
  BASE_LR: 0.01
  STEPS: [6]
  IMS_PER_BATCH: 4
  MAX_ITER: 8
  CHECKPOINT_PERIOD: 4
  EMA_DECAY: 0.9
  CLIP_GRADIENTS: {{ENABLED: True, CLIP_VALUE: 0.5}}
TEST: {{EVAL_PERIOD: 4, BEST_METRIC: detection/F1}}
OUTPUT_DIR: {tmp_path / "output"}
"""
    )

    def config(*overrides: Any) -> CfgNode:
        return load_config(str(file), [str(each) for each in overrides])

    return config
