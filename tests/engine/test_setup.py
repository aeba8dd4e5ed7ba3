"""Configs: what is wrong with one is said in one sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.engine import build_trained_model, load_config
from cfrsam_d2.engine.setup import check_classes, check_training
from cfrsam_d2.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_is_usable(path: Path) -> None:
    check_classes(load_config(str(path)))


@pytest.mark.parametrize("name", ["prompt_learner", "cfrsam_b", "cfrsam_h"])
def test_pannuke_configs_train_200_epochs(name: str) -> None:
    solver = load_config(str(CONFIGS / f"{name}.yaml")).SOLVER
    assert solver.MAX_ITER == 200 * (2656 // solver.IMS_PER_BATCH)


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
        ("SOLVER: {MAX_ITER: many}", "another type than its default's"),
        ("SOLVER: [3", "is no YAML of keys"),
        ("", "is no YAML of keys"),
        ("<html></html>", "is no YAML of keys, but begins with '<html>"),
        ("_BASE_: gone.yaml", "_BASE_ is no YAML of keys: "),
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


@pytest.mark.parametrize("path", ["", "gone.yaml", "."])
def test_missing_file(path: str) -> None:
    with pytest.raises(UserError, match=r"config file '.*' does not exist: let --config-file"):
        load_config(path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SOLVER.MAX_ITTER", "3"], r"the command line has SOLVER\.MAX_ITTER.*did you mean"),
        (["MODEL", "3"], r"the command line has MODEL, which is no config key"),
        (["SOLVER.MAX_ITER"], r"SOLVER\.MAX_ITER has no value: give KEY VALUE pairs"),
        (["SOLVER.MAX_ITER", "x"], r"the command line gives a key .* SOLVER|MAX_ITER"),
        (["SOLVER.MAX_ITER", "3", "--resume"], r"--resume stands after a KEY VALUE pair: put it"),
        (["DATASETS.VAL", "('toy_vall',)"], r"DATASETS\.VAL has 'toy_vall'.*toy_val.*CUSTOM"),
    ],
)
def test_bad_override(
    overrides: list[str], message: str, toy_config: Callable[..., CfgNode]
) -> None:
    with pytest.raises(UserError, match=message):
        toy_config(*overrides)


def test_registered_datasets_are_of_nuclei(toy_config: Callable[..., CfgNode]) -> None:
    with pytest.raises(UserError) as error:
        toy_config("DATASETS.TEST", "('gone',)")
    assert "toy_test" in str(error.value)
    assert "coco_2017" not in str(error.value)


@pytest.mark.parametrize("key", ["SOLVER.AMP.ENABLED", "TEST.AMP.ENABLED"])
def test_a_gpu_without_bfloat16(
    key: str, toy_config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    for has_it, capability in ((True, (8, 6)), (False, (7, 5))):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda of=capability: of)
        assert toy_config("MODEL.DEVICE", "cuda").MODEL.DEVICE == "cuda"
        assert toy_config(key, "True", "MODEL.DEVICE", "cpu").MODEL.DEVICE == "cpu"
        if has_it:
            toy_config(key, "True", "MODEL.DEVICE", "cuda")
    with pytest.raises(UserError, match=rf"{key} is True, but Tesla T4 has no bfloat16.*False"):
        toy_config(key, "True", "MODEL.DEVICE", "cuda")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DATASETS.TRAIN", "()"], r"DATASETS\.TRAIN is empty: name a registered dataset"),
        (["DATASETS.VAL", "('toy_val', 'toy_test')"],
         r"toy_test is in DATASETS\.VAL and in DATASETS\.TEST: .* take a test set"),
        (["MODEL.PROMPT_LEARNER.NUM_CLASSES", "5"],
         r"NUM_CLASSES is 5, but toy_train has 2 classes \(round, long\): set it to 2"),
        (["TEST.EARLY_STOPPING_PATIENCE", "-1"],
         r"EARLY_STOPPING_PATIENCE is -1: give a number of evaluations, or 0 to train all"),
        (["TEST.EARLY_STOPPING_PATIENCE", "3", "DATASETS.VAL", "()"],
         r"EARLY_STOPPING_PATIENCE is 3, but DATASETS\.VAL is \(\) and .*: name a validation set"),
        (["TEST.EARLY_STOPPING_PATIENCE", "3", "TEST.EVAL_PERIOD", "0"],
         r"EARLY_STOPPING_PATIENCE is 3, but .* TEST\.EVAL_PERIOD is 0: name .* the iterations"),
    ],
)  # fmt: skip
def test_cannot_train(
    overrides: list[str], message: str, toy_config: Callable[..., CfgNode]
) -> None:
    with pytest.raises(UserError, match=message):
        check_training(toy_config(*overrides))


def test_missing_test_set_is_found_before_training(
    toy_config: Callable[..., CfgNode], tmp_path: Path
) -> None:
    register_nucleus_json("toy_gone", tmp_path / "gone.json", tmp_path, thing_classes=["a", "b"])
    try:
        with pytest.raises(UserError, match=r"gone\.json"):
            check_training(toy_config("DATASETS.TEST", "('toy_gone',)"))
    finally:
        unregister("toy_gone")


def test_best_weights_before_final_ones(toy_config: Callable[..., CfgNode], tmp_path: Path) -> None:
    cfg = toy_config("DATASETS.TRAIN", "()")
    with pytest.raises(UserError, match=r"no trained weights: .*output has neither .* train first"):
        build_trained_model(cfg)

    def write(path: Path, value: float) -> None:
        path.parent.mkdir(exist_ok=True)
        weights = {name: torch.full_like(each, value) for name, each in shapes.items()}
        torch.save({"model": weights}, path)

    shapes = toy_weights(cfg)
    write(tmp_path / "output" / "model_final.pth", 1)
    assert build_trained_model(cfg).point.bias[0] == 1
    write(tmp_path / "output" / "model_best.pth", 2)
    model = build_trained_model(cfg)
    assert model.point.bias[0] == 2
    assert not model.training
    shutil.copy(tmp_path / "output" / "model_final.pth", tmp_path / "given.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "given.pth")
    assert build_trained_model(cfg).point.bias[0] == 1


def toy_weights(cfg: CfgNode) -> dict[str, torch.Tensor]:
    return build_model(cfg).state_dict()
