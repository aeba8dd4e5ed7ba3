"""A run is resumed with the keys that it began with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode

from cfrsam_d2.engine.resuming import MAY_CHANGE, check_same_config, kept_keys
from cfrsam_d2.errors import UserError


@pytest.fixture
def checkpoint(toy_config: Callable[..., CfgNode], tmp_path: Path) -> Path:
    return write(kept_keys(toy_config()), tmp_path)


def write(config: object, folder: Path) -> Path:
    path = folder / "model_0000003.pth"
    torch.save({"model": {"w": torch.zeros(1)}, "trainer": {"config": config}}, path)
    return path


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("SOLVER.BASE_LR", "0.02", "SOLVER.BASE_LR 0.01, not 0.02"),
        ("SEED", "1", "SEED 0, not 1"),
        ("DATASETS.TRAIN", "('toy_val',)", r"DATASETS.TRAIN \('toy_train',\), not \('toy_val',\)"),
        ("MODEL.SAM.DEPTH", "4", "MODEL.SAM.DEPTH 12, not 4"),
        ("INPUT.AUGMENTATION", "sam", "INPUT.AUGMENTATION 'none', not 'sam'"),
        ("TEST.BEST_METRIC", "detection/P", "TEST.BEST_METRIC 'detection/F1', not 'detection/P'"),
        ("DATASETS.CUSTOM.TRAIN.JSON", "x.json", "DATASETS.CUSTOM.TRAIN.JSON '', not 'x.json'"),
    ],
)
def test_another_config_is_refused(
    key: str, value: str, said: str, checkpoint: Path, toy_config: Callable[..., CfgNode]
) -> None:
    cfg = toy_config()
    cfg.merge_from_list([key, value])
    with pytest.raises(UserError, match=rf"{checkpoint.parent} has a training with {said}: resume"):
        check_same_config(cfg, checkpoint)


def test_every_key_that_differs_is_named(
    checkpoint: Path, toy_config: Callable[..., CfgNode]
) -> None:
    cfg = toy_config("SEED", 1, "SOLVER.MAX_ITER", 100, "SOLVER.GAMMA", 0.5)
    with pytest.raises(UserError, match=r"with SEED 0, not 1; SOLVER.GAMMA 0.1, not 0.5: resume"):
        check_same_config(cfg, checkpoint)
    with pytest.raises(UserError, match=r"with SOLVER.MAX_ITER 8, not 100: resume"):
        check_same_config(toy_config("SOLVER.MAX_ITER", 100), checkpoint, may_change=())


def test_what_decides_no_number_may_change(
    checkpoint: Path, toy_config: Callable[..., CfgNode], caplog: pytest.LogCaptureFixture
) -> None:
    check_same_config(
        toy_config(
            *("OUTPUT_DIR", "elsewhere", "MODEL.WEIGHTS", "x.pth", "MODEL.DEVICE", "cpu"),
            *("DATALOADER.NUM_WORKERS", 3, "SOLVER.MAX_ITER", 100, "TEST.EVAL_PERIOD", 5),
            *("SOLVER.CHECKPOINT_PERIOD", 2, "DATASETS.TEST", "()", "MODEL.SAM.WEIGHTS", "y.pth"),
            *("SLIDE.TILE", 512, "SLIDE.HALO", 64),
        ),
        checkpoint,
    )
    assert caplog.text == "" or "no CUDA" in caplog.text
    assert kept_keys(toy_config()).keys() >= MAY_CHANGE  # these are their names


def test_keys_of_another_version_are_not_compared(
    toy_config: Callable[..., CfgNode], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = kept_keys(toy_config())
    del before["MODEL.MASK_HEAD.TRAIN_CROP_SIZES"]
    path = write(before | {"MODEL.GONE": 3}, tmp_path)
    check_same_config(toy_config(), path)
    assert "lacks 1 keys, which are not compared: MODEL.MASK_HEAD.TRAIN_CROP_SIZES" in caplog.text
    for none in (None, 3):
        caplog.clear()
        check_same_config(toy_config(), write(none, tmp_path))
        assert f"{path} does not say its config: see to it that it is this one" in caplog.text
