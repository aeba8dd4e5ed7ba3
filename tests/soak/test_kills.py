"""Killed at any moment, the same command ends well, with the bytes of one that was left alone."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from finders import command_on_three_chunks
from killed_commands import DEMO, Command
from PIL import Image
from published_weights import state_dict

from cfrsam_d2.data.synthetic import SYNTHETIC_CLASSES

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("CFRSAM_SOAK_KILLS", 30))
LEARNER = ["--config-file", str(DEMO / "prompt_learner.yaml")]
SCHEDULE = [
    *("SOLVER.MAX_ITER", "12", "SOLVER.STEPS", "(8,)", "SOLVER.CHECKPOINT_PERIOD", "2"),
    *("SOLVER.IMS_PER_BATCH", "2", "TEST.EVAL_PERIOD", "4"),
]


@pytest.fixture
def training(on_data: list[str], tmp_path: Path) -> Command:
    output = tmp_path / "run"
    keys = [*on_data, *SCHEDULE, "OUTPUT_DIR", str(output)]
    return Command("train_net.py", [*LEARNER, "--resume", *keys], output)


@pytest.fixture
def preparing(data: Path, tmp_path: Path) -> Command:
    classes, output = tmp_path / "classes.yaml", tmp_path / "prepared"
    names = dict(enumerate(SYNTHETIC_CLASSES, start=1))
    classes.write_text(yaml.safe_dump({"classes": names}))
    split = data / "train"
    files = ["--labels", str(split / "nuclei.json"), "--classes", str(classes)]
    arguments = ["custom", str(split / "images"), *files, "--output", str(output)]
    return Command("datasets/prepare.py", arguments, output)


@pytest.fixture
def predicting(data: Path, segmenter: list[str], tmp_path: Path) -> Command:
    output = tmp_path / "predicted"
    switches = ["--resume", "--output", str(output), "--formats", "geojson", "csv", "tiff", "coco"]
    return Command(
        "tools/predict.py", [str(data / "test" / "images"), *switches, *segmenter], output
    )


@pytest.fixture
def converting(fixtures: Path, tmp_path: Path) -> Command:
    released, output = tmp_path / "released.pth", tmp_path / "converted"
    output.mkdir()
    weights = {k: torch.as_tensor(v) for k, v in state_dict("stage1_tiny").items()}
    torch.save({"model": weights}, released)
    of_model = json.loads((fixtures / "manifest.json").read_text())["stage1_tiny.npz"]
    sizes = ["MODEL.DEVICE", "cpu"]
    for name in ("dims", "depths", "hidden_dim", "num_classes", "num_levels", "anchor_stride"):
        sizes += [f"MODEL.PROMPT_LEARNER.{name.upper()}", str(of_model[name])]
    config = DEMO.parent / "prompt_learner.yaml"
    files = [str(released), str(output / "stage1.pth"), "--config-file", str(config)]
    return Command("tools/convert_checkpoint.py", [*files, *sizes], output)


@pytest.fixture
def reporting(training: Command, tmp_path: Path) -> Command:
    training.run()
    output = tmp_path / "report"
    arguments = [str(training.output), "--output", str(output / "report.html"), "--images", "3"]
    return Command("tools/report.py", arguments, output)


@pytest.fixture
def finding(data: Path, tmp_path: Path) -> Command:
    pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
    image = next((data / "train" / "images").iterdir())
    return command_on_three_chunks(np.asarray(Image.open(image).convert("RGB")), tmp_path)


COMMANDS = ["training", "preparing", "predicting", "converting", "reporting", "finding"]


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_and_called_again(name: str, request: pytest.FixtureRequest) -> None:
    command: Command = request.getfixturevalue(name)
    clear = _clearing(command.output)
    seconds = command.run()
    undisturbed = command.results()
    assert undisturbed
    moments = random.Random(name)
    for number in range(KILLS):
        clear()
        moment = moments.uniform(0, seconds)
        command.run(kill_after=moment)
        command.run()
        assert command.results() == undisturbed, f"kill {number}, after {moment:.3f} s"


def _clearing(folder: Path) -> Callable[[], None]:
    """A function that leaves a folder as it is now."""
    is_there = folder.is_dir()

    def clear() -> None:
        shutil.rmtree(folder)
        if is_there:
            folder.mkdir()

    return clear
