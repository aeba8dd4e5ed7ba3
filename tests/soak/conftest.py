"""What the soak works with: a small dataset, a config of it, and weights that nobody trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from killed_commands import DEMO
from tiny_demo import TINY

from cfrsam_d2.data.synthetic import make_synthetic_dataset
from cfrsam_d2.engine import load_config


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders train, val and test of synthetic tissue."""
    folder = tmp_path_factory.mktemp("soak") / "data"
    make_synthetic_dataset(folder, {"train": 12, "val": 4, "test": 6})
    return folder


@pytest.fixture(scope="session")
def on_data(data: Path) -> list[str]:
    """Keys that let the training demo's configs use these images, in a tiny size."""
    keys = [*TINY]
    for split in ("train", "val", "test"):
        name = split.upper()
        keys += [f"DATASETS.{name}", f"('custom_{split}',)"]
        keys += [f"DATASETS.CUSTOM.{name}.JSON", str(data / split / "nuclei.json")]
        keys += [f"DATASETS.CUSTOM.{name}.IMAGES", str(data / split / "images")]
    return keys


@pytest.fixture(scope="session")
def segmenter(on_data: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The arguments of a command that predicts masks: config, weights, keys."""
    config, weights = DEMO / "cfrsam.yaml", tmp_path_factory.mktemp("soak") / "weights.pth"
    torch.manual_seed(0)
    model: Any = build_model(load_config(str(config), on_data))
    # The last class is the background: with it, nobody knows how much an untrained model finds.
    torch.nn.init.constant_(model.proposal_generator.classification_head[-1].bias[-1:], -10)
    torch.save({"model": model.state_dict()}, weights)
    return ["--config-file", str(config), "MODEL.WEIGHTS", str(weights), *on_data]
