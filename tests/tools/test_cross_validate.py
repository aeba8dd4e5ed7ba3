"""The three splits one after the other: for real with tiny models, and with training stubbed."""

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import train_net
from cfrsam_d2.apps import cross_validate, stage
from cfrsam_d2.data.builtin import dataset_root, register_builtin_datasets
from cfrsam_d2.data.converters.dataset_writer import NucleusJsonWriter
from cfrsam_d2.data.converters.pannuke_layout import PANNUKE_CLASSES, PANNUKE_TISSUES
from cfrsam_d2.engine import NucleusTrainer
from cfrsam_d2.engine.resuming import kept_keys
from cfrsam_d2.structures.masks import BoxMask
from tools.cross_validate import main

TINY = [
    *("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"),
    *("MODEL.PROMPT_LEARNER.BACKBONE", "convnext_tiny", "MODEL.PROMPT_LEARNER.PRETRAINED", "False"),
    *("MODEL.PROMPT_LEARNER.DEPTHS", "[1, 1, 1, 1]"),
    *("MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
    # Hardly trained, it shall find something.
    *("MODEL.PROMPT_LEARNER.BACKGROUND_WEIGHT", "0.001"),
    *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "16.0"),
    *("MODEL.SAM.WEIGHTS", "", "MODEL.SAM.FREEZE", "False", "MODEL.SAM.EMBED_DIM", "48"),
    *("MODEL.SAM.DEPTH", "4", "MODEL.SAM.NUM_HEADS", "3", "MODEL.SAM.ADAPTER_RANK", "8"),
    *("MODEL.SAM.GLOBAL_ATTN_INDEXES", "[1, 3]", "INPUT.TRAIN_CROP_SIZE", "64"),
    *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "6", "SOLVER.STEPS", "()"),
    *("SOLVER.BASE_LR", "5e-3", "SOLVER.EMA_DECAY", "0.0"),
]
STAGES = [f"{s}/{stage}" for s in ("123", "213", "321") for stage in ("prompt_learner", "cfrsam_b")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """PanNuke's folds, of two tiles each."""
    root = tmp_path_factory.mktemp("datasets")
    rng = np.random.default_rng(0)
    for fold in (1, 2, 3):
        writer = NucleusJsonWriter(root / "pannuke" / f"fold{fold}", PANNUKE_CLASSES)
        for index in range(2):
            image = np.full((64, 64, 3), 220, dtype=np.uint8)
            x, y = rng.integers(10, 54, 2).tolist()
            mask = cv2.circle(np.zeros((64, 64), np.uint8), (x, y), 7, 1, -1).astype(bool)
            image[mask] = 60
            writer.add(f"{index}.png", image, [(BoxMask.of_frame(mask), index)], tissue="Colon")
        writer.write()
    register_builtin_datasets(root)
    yield root
    register_builtin_datasets(dataset_root())


def run(output: Path, *options: str) -> None:
    main(["--model", "b", "--output", str(output), *TINY, *options])


class StubbedTrainings:
    """Takes the place of train_net.py: notes each call and leaves the files of a training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.fails_at = ""
        monkeypatch.setattr(stage.subprocess, "run", self)

    def __call__(self, command: list[str]) -> SimpleNamespace:
        assert "--resume" in command
        folder = Path(command[command.index("OUTPUT_DIR") + 1])
        name = "/".join(folder.parts[-2:])
        config = command[command.index("--config-file") + 1]
        place = name.removeprefix("123/") if name.startswith("123/") else f"pannuke/{name}"
        assert Path(config) == stage.ROOT / "configs" / f"{place}.yaml"
        self.calls.append(name)
        cfg = stage.load_config(config, command[command.index(TINY[0]) :])
        (dataset,) = cfg.DATASETS.TEST
        scores = folder / "inference" / dataset
        scores.mkdir(parents=True, exist_ok=True)
        trained = {"model": {"w": torch.zeros(1)}, "trainer": {"config": kept_keys(cfg)}}
        torch.save(trained, folder / "model_0000005.pth")
        (folder / "last_checkpoint").write_text("model_0000005.pth")
        if name == self.fails_at:
            return SimpleNamespace(returncode=2)
        (folder / "model_final.pth").touch()
        pq = {"123": 0.3, "213": 0.4, "321": 0.8}[folder.parts[-2]]
        (scores / "metrics.json").write_text(json.dumps(metrics(pq)))
        return SimpleNamespace(returncode=0)


def metrics(value: float) -> dict[str, dict[str, float]]:
    by_tissue = {name.replace("-", "_"): value for name in PANNUKE_TISSUES}
    detection = dict.fromkeys(("P", "R", "F1"), value)
    return {
        "segmentation": dict.fromkeys(("bPQ", "mPQ", "AJI"), value),
        "class_pq": dict.fromkeys(PANNUKE_CLASSES, value),
        "tissue_bpq": by_tissue,
        "tissue_mpq": by_tissue,
        "detection": detection,
        "classification": {f"{s}_{name}": value for s in detection for name in PANNUKE_CLASSES},
    }


@pytest.fixture
def trainings(root: Path, monkeypatch: pytest.MonkeyPatch) -> StubbedTrainings:
    return StubbedTrainings(monkeypatch)


def test_a_split_for_real(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """Trained in this process, which takes no seconds to start."""

    def train(command: list[str]) -> SimpleNamespace:
        assert command[:2] == [sys.executable, str(stage.ROOT / "train_net.py")]
        train_net.main(command[2:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(stage, "subprocess", SimpleNamespace(run=train))
    monkeypatch.setattr(cross_validate, "SPLITS", {"321": "pannuke/321"})
    run(tmp_path)
    for name in ("prompt_learner", "cfrsam_b"):
        assert (tmp_path / "321" / name / "model_best.pth").is_file()
    scores = json.loads(
        (tmp_path / "321/cfrsam_b/inference/pannuke_fold1/metrics.json").read_text()
    )
    tables = json.loads((tmp_path / "tables_b" / "tables.json").read_text())
    here = tables["table_2"][1]
    assert {name: here[name] for name in ("bPQ", "mPQ", "AJI")} == pytest.approx(
        {name: scores["segmentation"][name] for name in ("bPQ", "mPQ", "AJI")}
    )
    points = json.loads(
        (tmp_path / "321/prompt_learner/inference/pannuke_fold1/metrics.json").read_text()
    )
    assert tables["table_3"][2]["F1"] == points["detection"]["F1"] > 0
    (colon,) = (row for row in tables["table_1"] if row["tissue"] == "Colon")
    assert colon["bPQ"] == scores["tissue_bpq"]["Colon"] is not None
    assert tables["table_1"][0]["bPQ"] is None  # no image of that tissue

    capfd.readouterr()
    run(tmp_path)
    assert "[2/2] 321/cfrsam_b: done" in capfd.readouterr().out


def test_all_splits_are_averaged(
    trainings: StubbedTrainings, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(tmp_path)
    assert trainings.calls == STAGES
    output = capsys.readouterr().out
    assert "[6/6] 321/cfrsam_b: running" in output
    assert "Average        0.5000       0.6924  0.5000       0.5092" in output
    with (tmp_path / "tables_b" / "table_2.csv").open() as file:
        _, here = csv.DictReader(file)
    assert float(here["bPQ"]) == pytest.approx(0.5)
    assert float(here["bPQ ±"]) == pytest.approx(0.07**0.5)
    names = {path.name for path in (tmp_path / "tables_b").iterdir()}
    assert names == {"tables.json", *(f"table_{number}.csv" for number in range(1, 5))}


def test_an_interrupted_run_goes_on_where_it_stopped(
    trainings: StubbedTrainings, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    trainings.fails_at = "213/prompt_learner"
    with pytest.raises(SystemExit) as stop:
        run(tmp_path)
    assert stop.value.code == 2
    message = f"the training in {tmp_path / '213/prompt_learner'} ended with status 2: see its log"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "tables_b").exists()

    trainings.fails_at = ""
    trainings.calls.clear()
    run(tmp_path)
    assert trainings.calls == STAGES[2:]
    assert "[2/6] 123/cfrsam_b: done" in capsys.readouterr().out
    trainings.calls.clear()
    run(tmp_path, "DATALOADER.NUM_WORKERS", "1")  # which does not matter
    assert trainings.calls == []


@pytest.mark.parametrize("lost", ["model_final.pth", "inference/pannuke_fold3/metrics.json"])
def test_without_its_end_a_training_is_not_done(
    trainings: StubbedTrainings, tmp_path: Path, lost: str
) -> None:
    run(tmp_path)
    trainings.calls.clear()
    (tmp_path / "213" / "cfrsam_b" / lost).unlink()
    run(tmp_path)
    assert trainings.calls == ["213/cfrsam_b"]


def test_a_training_that_stopped_early_is_done(root: Path, tmp_path: Path) -> None:
    """Without learning, its scores stay what they are."""
    stop = ["TEST.EVAL_PERIOD", "1", "TEST.EARLY_STOPPING_PATIENCE", "1", "SOLVER.BASE_LR", "1e-12"]
    config = stage.ROOT / "configs" / "prompt_learner.yaml"
    training = stage.Stage(config, [*TINY, *stop, "OUTPUT_DIR", str(tmp_path)])
    trainer = NucleusTrainer(training.cfg)
    trainer.train()
    assert trainer.iter + 1 == 2 < training.cfg.SOLVER.MAX_ITER
    assert training.is_done()


def test_scores_of_earlier_weights_do_not_count(trainings: StubbedTrainings, tmp_path: Path):
    run(tmp_path)
    trainings.calls.clear()
    scores = tmp_path / "123/cfrsam_b/inference/pannuke_fold3/metrics.json"
    os.utime(scores, (0, 0))
    run(tmp_path)
    assert trainings.calls == ["123/cfrsam_b"]


def test_other_keys_need_another_folder(
    trainings: StubbedTrainings, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(tmp_path)
    with pytest.raises(SystemExit):
        run(tmp_path, "SOLVER.MAX_ITER", "7")
    assert (
        f"{tmp_path / '123/prompt_learner'} has a training with SOLVER.MAX_ITER 6, not 7: resume it"
    ) in capsys.readouterr().err


def test_missing_data_are_named_before_any_training(
    trainings: StubbedTrainings, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    register_builtin_datasets(tmp_path)
    try:
        with pytest.raises(SystemExit):
            run(tmp_path)
    finally:
        register_builtin_datasets(root)
    assert "nuclei.json does not exist: run `python datasets/prepare.py" in capsys.readouterr().err
    assert trainings.calls == []


def test_missing_or_damaged_weights_are_named_before_any_training(
    trainings: StubbedTrainings, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = tmp_path / "sam.pth"
    for problem in ("does not exist", "cannot be loaded"):
        with pytest.raises(SystemExit):
            run(tmp_path, "MODEL.SAM.FREEZE", "True", "MODEL.SAM.WEIGHTS", str(weights))
        assert f"{weights} {problem}" in capsys.readouterr().err
        torch.save({"weight": torch.zeros(1000)}, weights)
        weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(SystemExit):
        run(tmp_path, "MODEL.SAM.FREEZE", "True")
    assert "MODEL.SAM.WEIGHTS is empty and MODEL.SAM.FREEZE is True" in capsys.readouterr().err
    assert trainings.calls == []
