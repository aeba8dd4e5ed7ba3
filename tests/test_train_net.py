"""The command line, with the real prompt learner in a small size on a few drawn tiles."""

import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cfrsam_d2.data.converters.dataset_writer import NucleusJsonWriter
from cfrsam_d2.engine.run_folder import locked_folder
from cfrsam_d2.structures.masks import BoxMask

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import train_net  # noqa: E402


@pytest.fixture(scope="session")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders train, val and test of four tiles each with dark and light discs; one is empty."""
    root = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        writer = NucleusJsonWriter(root / split, ["dark", "light"])
        for i in range(4):
            image = np.full((64, 64, 3), 220, dtype=np.uint8)
            nuclei = []
            for class_index, (x, y) in enumerate(rng.integers(8, 56, size=(2, 2)).tolist()):
                mask = cv2.circle(np.zeros((64, 64), np.uint8), (x, y), 6, 1, -1).astype(bool)
                image[mask] = (80, 40, 120) if class_index == 0 else (160, 90, 180)
                nuclei.append((BoxMask.of_frame(mask), class_index))
            writer.add(f"{i}.png", image, nuclei if i else [], tissue="Drawn")
        writer.write()
    return root


@pytest.fixture
def options(tiles: Path, tmp_path: Path, device: torch.device) -> Callable[..., list[str]]:
    """A function: switches and overrides to the arguments of a run of three iterations."""

    def arguments(*switches: str, stage: str = "prompt_learner", **overrides: object) -> list[str]:
        keys = {
            "MODEL.DEVICE": device,
            "MODEL.PROMPT_LEARNER.NUM_CLASSES": 2,
            "SOLVER.IMS_PER_BATCH": 2,
            "SOLVER.MAX_ITER": 3,
            "SOLVER.STEPS": "()",
            "TEST.EVAL_PERIOD": 2,
            "OUTPUT_DIR": tmp_path / "output",
        }
        for split in ("train", "val", "test"):
            keys[f"DATASETS.{split.upper()}"] = f"('custom_{split}',)"
            keys[f"DATASETS.CUSTOM.{split.upper()}.JSON"] = tiles / split / "nuclei.json"
            keys[f"DATASETS.CUSTOM.{split.upper()}.IMAGES"] = tiles / split / "images"
        keys |= {name.replace("__", "."): value for name, value in overrides.items()}
        config = ROOT / "configs" / "train_demo" / f"{stage}.yaml"
        pairs = [str(each) for pair in keys.items() for each in pair]
        return ["--config-file", str(config), *switches, *pairs]

    return arguments


def test_train_resume_evaluate(options: Callable[..., list[str]], tmp_path: Path) -> None:
    output = tmp_path / "output"
    scores = output / "inference" / "custom_test" / "metrics.json"
    train_net.main(options())
    trained = json.loads(scores.read_text())
    assert 0 <= trained["detection"]["F1"] <= 1
    assert (output / "log.txt").read_text().count("Scoring") == 1
    assert "loss_point_cls" in (output / "metrics.json").read_text()

    scores.unlink()
    train_net.main(options("--eval-only"))  # needs no MODEL.WEIGHTS: it takes model_best.pth
    assert json.loads(scores.read_text()) == trained

    train_net.main(options("--resume", SOLVER__MAX_ITER=5))
    lines = (output / "metrics.json").read_text().splitlines()
    iterations = [json.loads(line)["iteration"] for line in lines]
    assert iterations == [2, 4]  # each written once, at the end of a run


def test_mixed_precision(options: Callable[..., list[str]], tmp_path: Path) -> None:
    """On a CPU, too: training, validation and the test."""
    mixed = {"SOLVER__AMP__ENABLED": True, "TEST__AMP__ENABLED": True}
    losses = []
    for name, keys in (("exact", {}), ("mixed", mixed)):
        train_net.main(options(OUTPUT_DIR=tmp_path / name, **keys))
        line = json.loads((tmp_path / name / "metrics.json").read_text().splitlines()[-1])
        losses.append(line["total_loss"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.slow
def test_two_processes(
    options: Callable[..., list[str]], tmp_path: Path, device: torch.device
) -> None:
    """They train, evaluate, and stop early together: hardly learning, they score the same again."""
    meeting = f"file://{tmp_path / 'meeting'}"
    stop = {"TEST__EVAL_PERIOD": 1, "TEST__EARLY_STOPPING_PATIENCE": 1, "SOLVER__MAX_ITER": 30}
    stop["SOLVER__BASE_LR"] = 1e-12
    arguments = options("--num-gpus", "2", "--dist-url", meeting, **stop)
    command = [sys.executable, "train_net.py", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if device.type == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "output"
    ends = [
        re.findall(r"training ends after (\d+) iterations", (output / name).read_text())
        for name in ("log.txt", "log.txt.rank1")
    ]
    assert ends[0] == ends[1]
    (iterations,) = map(int, ends[0])
    assert iterations < 30
    final = torch.load(output / "model_final.pth", weights_only=True)
    assert final["iteration"] == iterations - 1
    images = (output / "inference" / "custom_test" / "images.csv").read_text().splitlines()
    assert len(images) == 1 + 4  # both processes' halves
    assert (output / "model_best.pth").is_file()


@pytest.mark.parametrize(
    ("switches", "overrides", "message"),
    [
        (["--eval-only"], {}, "error: there are no trained weights: MODEL.WEIGHTS is empty"),
        (["--eval-only"], {"MODEL__WEIGHTS": "gone.pth"}, "error: gone.pth does not exist: train"),
        ([], {"MODEL__WEIGHTS": "gone.pth"}, "error: gone.pth does not exist: train it or"),
        ([], {"SOLVER__MAX_ITTER": 3}, "error: the command line has SOLVER.MAX_ITTER"),
        ([], {"MODEL__PROMPT_LEARNER__NUM_CLASSES": 3}, "has 2 classes (dark, light): set it to 2"),
        (
            [],
            {"SOLVER__STEPS": "(3,)"},
            "error: SOLVER.STEPS is (3,) and SOLVER.MAX_ITER is 3: ",
        ),
        ([], {"SOLVER__MAX_ITER": 0}, "error: SOLVER.MAX_ITER is 0: give 1 or more"),
        ([], {"OUTPUT_DIR": __file__}, "error: OUTPUT_DIR '"),
        (["--eval-only"], {"OUTPUT_DIR": __file__}, "cannot be made or written to (File exists)"),
    ],
)
def test_bad_input_is_one_sentence(
    switches: list[str],
    overrides: dict[str, object],
    message: str,
    options: Callable[..., list[str]],
    capsys: pytest.CaptureFixture,
) -> None:
    assert message in said_by(options(*switches, **overrides), capsys)


def said_by(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    """The one sentence with which the command ends."""
    with pytest.raises(SystemExit) as stop:
        train_net.main(arguments)
    assert stop.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error:"))
    return line


def test_a_folder_belongs_to_one_training(
    options: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """To one at a time, with one config; nothing is written into it by others."""
    output = tmp_path / "output"
    train_net.main(options(SOLVER__MAX_ITER=1))
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert "has an earlier training (last_checkpoint): continue it with" in said_by(
        options(), capsys
    )
    other = options("--resume", SOLVER__BASE_LR=0.5)
    assert "has a training with SOLVER.BASE_LR 0.001, not 0.5: resume it" in said_by(other, capsys)
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(output,))
    holder.start()
    try:
        while not (tmp_path / "held").exists():
            time.sleep(0.01)
        for switch in ("--resume", "--eval-only"):
            said = said_by(options(switch), capsys)
            assert f"another training or evaluation is running in OUTPUT_DIR '{output}'" in said
    finally:
        holder.kill()
        holder.join()
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


def hold(output: Path) -> None:
    with locked_folder(str(output)):
        (output.parent / "held").touch()
        time.sleep(600)


def test_pretrained_weights_are_not_wanted_for_evaluation(
    options: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_net.main(options(SOLVER__MAX_ITER=1))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    train_net.main(options("--eval-only", MODEL__PROMPT_LEARNER__PRETRAINED=True))
    train_net.main(options("--resume", MODEL__PROMPT_LEARNER__PRETRAINED=True))
