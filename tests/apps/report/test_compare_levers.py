"""A change with and without: which trainings run, and what is made of their scores."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_runs import NAME, good, make_run, poor

from cfrsam_d2.apps import compare_levers, stage
from cfrsam_d2.engine import load_config
from cfrsam_d2.evaluation.bootstrap import mean_class_f1
from cfrsam_d2.evaluation.detection import class_scores
from tools.compare_levers import main

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = [ROOT / "configs" / "small" / f"{name}.yaml" for name in ("prompt_learner", "cfrsam")]


def test_seeds_are_averaged_and_spread(runs: dict[str, Path], tmp_path: Path):
    """One seed gains all that the good run has over the poor one, the other nothing."""
    again = [make_run(tmp_path / name, good, masks=True) for name in ("a", "b")]
    rows = compare_levers.compare_sides([runs["poor"], again[0]], [runs["good"], again[1]], NAME)
    assert [row["score"] for row in rows] == list(compare_levers.SCORES)
    for row in rows:
        (alone,) = [
            each
            for each in compare_levers.compare_sides([runs["poor"]], [runs["good"]], NAME)
            if each["score"] == row["score"]
        ]
        assert alone["std over seeds"] is None
        assert row["difference"] == pytest.approx(alone["difference"] / 2)
        assert row["std over seeds"] == pytest.approx(alone["difference"] / np.sqrt(2))
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["with"] - row["without"] == pytest.approx(row["difference"])


def test_points_have_no_score_of_masks(runs: dict[str, Path], tmp_path: Path):
    other = make_run(tmp_path / "points", poor, masks=False)
    rows = compare_levers.compare_sides([other], [runs["points"]], NAME)
    assert [row["score"] for row in rows] == ["F1 of detection", "mean F1 of classes"]
    assert all(row["difference"] > 0 for row in rows)


def test_mean_f1_of_classes_is_that_of_the_table():
    confusions = np.random.default_rng(0).integers(0, 9, size=(5, 4, 4))
    confusions[:, -1, -1] = 0
    confusions[:, 1] = 0  # no nucleus of class 1
    total = confusions.sum(axis=0)
    expected = np.mean([class_scores(total, k).f1 for k in (0, 2)])
    assert mean_class_f1(confusions)(np.ones((1, 5))) == pytest.approx(expected)


class StubbedTrainings:
    """In train_net.py's place: notes the configs, and leaves the files of a training."""

    def __init__(self) -> None:
        self.cfgs: list[Any] = []

    def __call__(self, command: list[str]) -> SimpleNamespace:
        config = command[command.index("--config-file") + 1]
        cfg = load_config(config, command[command.index("--num-gpus") + 2 :])
        self.cfgs.append(cfg)
        folder = Path(cfg.OUTPUT_DIR)
        folder.mkdir(parents=True)
        (folder / "model_final.pth").touch()
        helps = cfg.INPUT.STAIN_AUGMENTATION > 0
        make_run(folder, good if helps else poor, masks="cfrsam" in folder.name)
        return SimpleNamespace(returncode=0)


def test_both_stages_of_both_sides(
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    trainings = StubbedTrainings()
    monkeypatch.setattr(stage, "subprocess", SimpleNamespace(run=trainings))
    monkeypatch.setattr(stage.Stage, "check_inputs", lambda self: None)
    command = [
        *(f"--config-file={config}" for config in CONFIGS),
        *("--lever", "INPUT.STAIN_AUGMENTATION", "0.2", "--seeds", "2"),
        *("--output", str(tmp_path), "INPUT.STAIN_AUGMENTATION", "0.0"),
        *("DATASETS.TEST", f"('{NAME}',)", "MODEL.DEVICE", "cpu"),
    ]
    main(command)
    of_side = [(cfg.SEED, cfg.INPUT.STAIN_AUGMENTATION) for cfg in trainings.cfgs[::2]]
    assert of_side == [(0, 0.0), (0, 0.2), (1, 0.0), (1, 0.2)]
    for learner, masks in zip(trainings.cfgs[::2], trainings.cfgs[1::2], strict=True):
        weights = Path(learner.OUTPUT_DIR) / "model_final.pth"
        assert str(weights) == masks.MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS
    result = json.loads((tmp_path / "lever.json").read_text())
    assert result["lever"] == ["INPUT.STAIN_AUGMENTATION", "0.2"]
    bpq = result["scores"][NAME][0]  # JSON itself knows no NaN: what is not there is null
    assert bpq["difference"] > 0
    assert bpq["std over seeds"] == pytest.approx(0, abs=1e-12)
    assert "bPQ" in capsys.readouterr().out

    main(command)  # all is done
    assert len(trainings.cfgs) == 8


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    same = ["--lever", "INPUT.STAIN_AUGMENTATION", "0.15", "--output", str(tmp_path)]
    config = f"--config-file={CONFIGS[0]}"
    for options, message in (
        ([config, *same], "INPUT.STAIN_AUGMENTATION 0.15 is what the configs have already"),
        ([config, *same, "--seeds", "0"], "--seeds is 0"),
        ([config, config, config, *same], "3 configs"),
        ([config, *same, "SEED"], "SEED are not pairs"),
    ):
        with pytest.raises(SystemExit):
            main(options)
        assert message in capsys.readouterr().err
