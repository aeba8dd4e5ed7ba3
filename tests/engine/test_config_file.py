"""Reading configs: what is wrong with one is said in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode, get_cfg

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.engine import load_config
from cfrsam_d2.engine.config_file import RENAMED_KEYS
from cfrsam_d2.errors import UserError


def test_overrides_come_last(toy_config: Callable[..., CfgNode]) -> None:
    cfg = toy_config("SOLVER.MAX_ITER", "3", "DATASETS.VAL", "()")
    assert cfg.SOLVER.MAX_ITER == 3
    assert cfg.DATASETS.VAL == ()
    assert cfg.SOLVER.IMS_PER_BATCH == 4  # of the file


@pytest.mark.skipif(torch.cuda.is_available(), reason="what happens without CUDA")
def test_falls_back_to_cpu(
    toy_config: Callable[..., CfgNode], caplog: pytest.LogCaptureFixture
) -> None:
    assert toy_config("MODEL.DEVICE", "cuda:0").MODEL.DEVICE == "cpu"
    assert "MODEL.DEVICE is cuda:0, but there is no CUDA: using cpu" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SOLVER: {MAX_ITTER: 3}", "has SOLVER.MAX_ITTER, which is no config key: did you mean "
         "SOLVER.MAX_ITER?"),
        ("SOLVR: {BASE_LR: 3.0}", "has SOLVR.BASE_LR, which is no config key: did you mean "
         "SOLVER.BASE_LR?"),
        ("MODEL: {WEIGHT: x}", "did you mean MODEL.WEIGHTS?"),
        ("SOLVER: {MAX_ITER: many}", "sets SOLVER.MAX_ITER to 'many': give a whole number, such"),
        ("SOLVER: {MAX_ITER: }", "sets SOLVER.MAX_ITER to None: give a whole number, such as 400"),
        ("SOLVER: {STEPS: [1, x]}", "sets SOLVER.STEPS to [1, 'x']: give a list, such as (30000,"),
        ("SOLVER: {BASE_LR: fast}", "sets SOLVER.BASE_LR to 'fast': give a number, such as 0.0"),
        ("SOLVER: {WEIGHT_DECAY_NORM: x}", "to 'x': give a number or None, such as None"),
        ("DATASETS: {TRAIN: toy}", "sets DATASETS.TRAIN to 'toy': give a list, such as ()"),
        ("OUTPUT_DIR: 2024-01-01", "sets OUTPUT_DIR to datetime.date(2024, 1, 1): give a text"),
        ("SOLVER.MAX_ITER: 3", "SOLVER.MAX_ITER has a point: write what is behind it below"),
        ("DATASETS: {TRAIN: [gone]}", "DATASETS.TRAIN has 'gone', which is not registered: take "
         "one of "),
    ],
)  # fmt: skip
def test_bad_file(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        load_config(str(file))
    assert message in str(error.value)
    assert "bad.yaml" in str(error.value) or "DATASETS" in text


def test_key_of_a_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("MODEL: {SAM: {DEPHT: 3}}")
    (tmp_path / "leaf.yaml").write_text("_BASE_: base.yaml")
    with pytest.raises(UserError, match=r"MODEL\.SAM\.DEPHT.*did you mean MODEL\.SAM\.DEPTH\?"):
        load_config(str(tmp_path / "leaf.yaml"))


def test_missing_file() -> None:
    for path in ("", "gone.yaml", "."):
        with pytest.raises(UserError, match=r"config file '.*' does not exist: let --config-file"):
            load_config(path)


def test_keys_of_earlier_versions(toy_config: Callable[..., CfgNode], tmp_path: Path) -> None:
    """In a file, as that of an earlier run, and on the command line."""
    run = tmp_path / "config.yaml"
    run.write_text("MODEL: {CHANNELS_LAST: False, CFRSAM: {NMS_THRESH: 0.3}}")
    with pytest.raises(UserError, match=r"config.yaml has MODEL.CHANNELS_LAST, which is gone: le"):
        load_config(str(run))
    keys = get_cfg()
    add_cfrsam_config(keys)
    for old, new in RENAMED_KEYS.items():
        if new is not None:
            keys.merge_from_list([new, 128])  # there is such a key
        remedy = "is gone: leave it out" if new is None else f"is {new} now: rename it"
        with pytest.raises(UserError, match=f"the command line has {old}, which {remedy}"):
            toy_config(old, "128")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SOLVER.MAX_ITTER", "3"], r"the command line has SOLVER\.MAX_ITTER.*did you mean"),
        (["MODEL", "3"], r"the command line has MODEL, which is no config key"),
        (["SOLVER.MAX_ITER"], r"SOLVER\.MAX_ITER has no value: give KEY VALUE pairs"),
        (["SOLVER.MAX_ITER", "x"], r"the command line sets SOLVER.MAX_ITER to 'x': give a whole"),
        (["SOLVER.MAX_ITER", "1.5"], r"the command line sets SOLVER.MAX_ITER to '1.5': give a "),
        (["SOLVER.BASE_LR", "nan"], r"the command line sets SOLVER.BASE_LR to 'nan': give a num"),
        (
            ["SOLVER.BASE_LR", f"1{400 * '0'}"],
            r"sets SOLVER.BASE_LR to '10+\.\.\.0+': give a n",
        ),
        (["SOLVER.STEPS", f"{5000 * '('}"], r"sets SOLVER.STEPS to '\(+\.\.\.\(+': give a list"),
        (["SOLVER.AMP.ENABLED", "yes"], r"sets SOLVER.AMP.ENABLED to 'yes': give True or False"),
        (["OUTPUT_DIR", " "], r"OUTPUT_DIR is ' ': name a folder"),
        (["SOLVER.MAX_ITER", "3", "--resume"], r"--resume stands after a KEY VALUE pair: put it"),
        (["DATASETS.VAL", "('toy_vall',)"], r"DATASETS\.VAL has 'toy_vall'.*toy_val.*CUSTOM"),
    ],
)
def test_bad_override(
    overrides: list[str], message: str, toy_config: Callable[..., CfgNode]
) -> None:
    with pytest.raises(UserError, match=message):
        toy_config(*overrides)


def test_values_take_the_types_of_their_keys(toy_config: Callable[..., CfgNode]) -> None:
    cfg = toy_config(
        *("SOLVER.BASE_LR", "1", "MODEL.PIXEL_STD", "(1, 2, 3.5)", "OUTPUT_DIR", "2024"),
        *("SOLVER.WEIGHT_DECAY_NORM", "0", "SOLVER.STEPS", "[3, 5]", "MODEL.WEIGHTS", "'x'"),
    )
    assert (cfg.SOLVER.BASE_LR, type(cfg.SOLVER.BASE_LR)) == (1, float)
    assert cfg.MODEL.PIXEL_STD == [1.0, 2.0, 3.5]
    assert (cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS) == ("2024", "x")
    assert cfg.SOLVER.WEIGHT_DECAY_NORM == 0
    assert cfg.SOLVER.STEPS == (3, 5)
    assert toy_config("SOLVER.WEIGHT_DECAY_NORM", "None").SOLVER.WEIGHT_DECAY_NORM is None


def test_registered_datasets_are_of_nuclei(toy_config: Callable[..., CfgNode]) -> None:
    with pytest.raises(UserError) as error:
        toy_config("DATASETS.TEST", "('gone',)")
    assert "toy_test" in str(error.value)
    assert "coco_2017" not in str(error.value)
