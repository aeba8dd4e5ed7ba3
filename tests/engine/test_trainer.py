"""Whole runs of a toy model: validation, best weights, resuming bit by bit, bad losses."""

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase
from detectron2.structures import Instances
from detectron2.utils.env import seed_all_rng
from interruption import interrupt

from cfrsam_d2.engine import NucleusTrainer, build_trained_model
from cfrsam_d2.engine.failures import full_disk_named
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.rle import decode_mask


def train(cfg: CfgNode, *, resume: bool = False) -> NucleusTrainer:
    seed_all_rng(cfg.SEED)  # as `default_setup` does; initial weights follow from it
    trainer = NucleusTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def logged(trainer: NucleusTrainer, name: str) -> dict[int, float]:
    return {iteration: value for value, iteration in trainer.storage.history(name).values()}


def assert_same(first: object, second: object) -> None:
    """Equal, bit by bit, as checkpoints are."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


def read(path: Path) -> dict:
    return torch.load(path, weights_only=True)


# Interrupted right after a checkpoint and its validation, and later.
@pytest.mark.parametrize("iteration", [4, 6])
def test_resumed_run_is_the_uninterrupted_one(
    iteration: int,
    toy_config: Callable[..., CfgNode],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    straight = train(toy_config("OUTPUT_DIR", tmp_path / "straight"))
    cfg = toy_config("OUTPUT_DIR", tmp_path / "resumed")
    interrupt(lambda: train(cfg), iteration, monkeypatch)
    resumed = train(cfg, resume=True)
    assert resumed.start_iter == 4
    for name in ("loss_point", "loss_size", "total_loss", "lr"):
        tail = {k: v for k, v in logged(straight, name).items() if k >= 4}
        assert len(tail) == 4
        assert logged(resumed, name) == tail
    for name in ("model_final.pth", "model_best.pth"):
        assert_same(read(tmp_path / "straight" / name), read(tmp_path / "resumed" / name))


def test_ten_kills_leave_what_an_uninterrupted_run_leaves(
    toy_config: Callable[..., CfgNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that are killed cannot tidy up: halves of files are planted after each."""

    def config(name: str) -> CfgNode:
        keys = {"SOLVER.MAX_ITER": 24, "SOLVER.CHECKPOINT_PERIOD": 2, "TEST.EVAL_PERIOD": 20}
        pairs = (each for pair in keys.items() for each in pair)
        return toy_config(*pairs, "OUTPUT_DIR", tmp_path / name)

    def left(name: str) -> set[str]:
        paths = (tmp_path / name).rglob("*")
        return {
            str(path.relative_to(tmp_path / name)) for path in paths if "tfevents" not in str(path)
        }

    train(config("straight"))
    for iteration in (1, 3, 5, 8, 11, 14, 17, 19, 21, 23):
        interrupt(lambda: train(config("killed"), resume=True), iteration, monkeypatch)
        folder = tmp_path / "killed"
        for half in (".model_best.pth.partial", f".model_{iteration:07}.pth.partial"):
            (folder / half).touch()
        with (folder / "metrics.json").open("a") as metrics:
            metrics.write(f'{{"iteration": {iteration}}}\n{{"iter')
    (folder / "model_0000001.pth").touch()  # of a process that was killed before it removed it
    train(config("killed"), resume=True)
    assert left("killed") == left("straight")
    assert {name for name in left("killed") if "model_" in name} == {
        "model_0000023.pth", "model_best.pth", "model_final.pth",
    }  # fmt: skip
    for name in ("model_final.pth", "model_best.pth"):
        assert_same(read(tmp_path / "straight" / name), read(folder / name))
    # Whatever else it wrote when it broke off, each iteration stands there once, in order.
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    iterations = [line["iteration"] for line in lines if len(line) > 1]
    assert len(iterations) == len(lines)
    assert iterations == sorted(set(iterations))
    assert iterations[-2:] == [19, 23]


def fill_disk(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["torch.save", "detectron2.utils.events.JSONWriter.write"])
def test_a_full_disk_ends_training_with_one_sentence(
    place: str,
    toy_config: Callable[..., CfgNode],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the first checkpoint; where there is room again, the run is the uninterrupted one."""
    cfg = toy_config("OUTPUT_DIR", tmp_path / "full")
    interrupt(lambda: train(cfg), 5, monkeypatch)
    caplog.clear()
    with monkeypatch.context() as patch, full_disk_named(cfg.OUTPUT_DIR):
        patch.setattr(place, fill_disk)
        with pytest.raises((UserError, OSError), match="No space left on device"):
            train(cfg, resume=True)
    assert "Exception during training: " in caplog.text
    assert not any(record.exc_info for record in caplog.records)
    train(cfg, resume=True)
    train(toy_config("OUTPUT_DIR", tmp_path / "straight"))
    for name in ("model_final.pth", "model_best.pth"):
        assert_same(read(tmp_path / "straight" / name), read(tmp_path / "full" / name))


class DrawNumber(HookBase):
    def after_step(self) -> None:
        torch.rand(1)


def test_losses_do_not_depend_on_history(
    toy_config: Callable[..., CfgNode], tmp_path: Path
) -> None:
    """Somebody else's random numbers change nothing; another seed does."""
    weights = tmp_path / "weights.pth"
    torch.save(NucleusTrainer(toy_config()).model.state_dict(), weights)

    def losses(*overrides: object) -> dict[int, float]:
        cfg = toy_config("DATASETS.VAL", "()", "MODEL.WEIGHTS", weights, *overrides)
        trainer = NucleusTrainer(cfg)
        trainer.resume_or_load(resume=False)
        trainer.register_hooks([DrawNumber()])
        trainer.train()
        return logged(trainer, "loss_point")

    first = losses()
    torch.rand(5)
    assert losses() == first
    assert losses("SEED", 1) != first


def test_finished_run_is_only_scored_again(toy_config: Callable[..., CfgNode]) -> None:
    cfg = toy_config()
    scores = NucleusTrainer(cfg).train()
    trainer = NucleusTrainer(cfg)
    trainer.resume_or_load()
    assert trainer.start_iter == 8
    assert str(trainer.train()) == str(scores)  # text, because NaN is not NaN


def test_best_weights_are_the_averages_that_were_evaluated(
    toy_config: Callable[..., CfgNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.7, math.nan, 0.7, 0.5])
    seen = []

    def test(cls: type, cfg: CfgNode, model: torch.nn.Module) -> dict:
        score = next(scores)
        state = {name: each.clone() for name, each in model.state_dict().items()}
        seen.append((cfg.DATASETS.TEST, state, score))
        return {"detection": {"F1": score}}

    monkeypatch.setattr(NucleusTrainer, "test", classmethod(test))
    cfg = toy_config("TEST.EVAL_PERIOD", 2)
    assert NucleusTrainer(cfg).train() == {"detection": {"F1": 0.5}}

    # Iterations 1, 3, 5 and 7 on the validation set; the test set once, at the end.
    assert [names for names, _, _ in seen] == [("toy_val",)] * 4 + [("toy_test",)]
    best = read(tmp_path / "output" / "model_best.pth")
    assert best["iteration"] == 3  # the first of two equals, NaN aside
    assert best.keys() == {"model", "iteration"}
    assert_same(best["model"], seen[1][1])
    assert_same(seen[4][1], seen[1][1])  # what the test set was scored with
    final = read(tmp_path / "output" / "model_final.pth")
    assert_same({**final["model"], **final["ema"]}, seen[3][1])
    assert not torch.equal(final["model"]["point.weight"], final["ema"]["point.weight"])
    assert final["trainer"]["hooks"]["Validation"] == {"best_score": 0.7, "best_iteration": 3}


def test_final_weights_without_validation(
    toy_config: Callable[..., CfgNode], tmp_path: Path
) -> None:
    cfg = toy_config("DATASETS.VAL", "()")
    scores = NucleusTrainer(cfg).train()
    assert not (tmp_path / "output" / "model_best.pth").exists()
    assert str(NucleusTrainer.test(cfg, build_trained_model(cfg))) == str(scores)


def test_logs_and_files(toy_config: Callable[..., CfgNode], tmp_path: Path) -> None:
    NucleusTrainer(toy_config()).train()
    output = tmp_path / "output"
    last = json.loads((output / "metrics.json").read_text().splitlines()[-1])
    assert {"iteration", "lr", "loss_point", "loss_size", "total_loss"} <= last.keys()
    assert "detection/F1" in last
    assert (output / "inference" / "toy_test" / "metrics.json").is_file()
    names = {path.name.split(".")[0] for path in output.iterdir()}
    # The checkpoint of iteration 3 made room for the later one.
    assert names == {
        "events", "inference", "last_checkpoint", "metrics", "model_0000007", "model_best",
        "model_final",
    }  # fmt: skip


def test_starts_from_given_weights(toy_config: Callable[..., CfgNode], tmp_path: Path) -> None:
    NucleusTrainer(toy_config("OUTPUT_DIR", tmp_path / "first")).train()
    weights = tmp_path / "first" / "model_best.pth"
    trainer = NucleusTrainer(toy_config("MODEL.WEIGHTS", weights))
    trainer.resume_or_load(resume=True)  # there is nothing to resume from yet
    assert trainer.start_iter == 0
    assert_same(read(weights)["model"], dict(trainer.model.state_dict()))


@pytest.mark.parametrize("loss", ["loss_point", "loss_size"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_bad_loss_stops_before_the_step(
    loss: str, value: float, toy_config: Callable[..., CfgNode]
) -> None:
    trainer = NucleusTrainer(toy_config())
    forward = trainer.model.forward
    weights = {}

    def spoiled(batch: list[dict]) -> dict:
        losses = forward(batch)
        if trainer.iter == 2:
            losses[loss] = losses[loss] * value
            weights.update({k: v.clone() for k, v in trainer.model.named_parameters()})
        return losses

    trainer.model.forward = spoiled
    message = rf"^{loss} is {value} at iteration 2 \(images: .*png.*\): lower SOLVER.BASE_LR"
    with pytest.raises(UserError, match=message):
        trainer.train()
    assert_same(weights, dict(trainer.model.named_parameters()))


@pytest.mark.parametrize(
    ("metric", "best_iteration"), [("detection/F1", 3), ("detection/mean_class_F1", 7)]
)
def test_the_metric_chooses_the_epoch(
    metric: str, best_iteration: int, toy_config: Callable[..., CfgNode]
) -> None:
    """At first all nuclei are found, of one class; then two of three, of the right class."""
    nuclei = {image["image_id"]: image["annotations"][0] for image in DatasetCatalog.get("toy_val")}
    trainer = NucleusTrainer(toy_config("TEST.BEST_METRIC", metric, "DATASETS.TEST", "()"))
    forward = trainer.model.forward

    def found(nucleus: dict, index: int) -> dict[str, Instances]:
        mask = decode_mask(nucleus["segmentation"])
        is_first = trainer.iter == 3
        instances = Instances(
            (32, 32),  # px of a tile
            pred_points=torch.tensor([[mask.left + 3.5, mask.top + 3.5]]),
            pred_classes=torch.tensor([0 if is_first else nucleus["category_id"]]),
            scores=torch.ones(1),
        )
        return {"instances": instances if is_first or index < 4 else instances[:0]}

    def predict(batch: list[dict]) -> Any:
        if trainer.model.training:
            return forward(batch)
        order = list(nuclei)
        return [found(nuclei[x["image_id"]], order.index(x["image_id"])) for x in batch]

    trainer.model.forward = predict
    trainer.train()
    scores = {name: logged(trainer, f"detection/{name}") for name in ("F1", "mean_class_F1")}
    # F1 of the classes: 6 / 9 and 0, then 4 / 5 and 4 / 5.
    assert scores["F1"] == pytest.approx({3: 1, 7: 0.8})
    assert scores["mean_class_F1"] == pytest.approx({3: 1 / 3, 7: 0.8})
    assert trainer.validation.best_iteration == best_iteration


def test_unknown_best_metric(toy_config: Callable[..., CfgNode]) -> None:
    with pytest.raises(UserError, match=r"BEST_METRIC 'segmentation/bPQ' is not .*detection/F1"):
        NucleusTrainer(toy_config("TEST.BEST_METRIC", "segmentation/bPQ")).train()


def test_several_validation_sets(toy_config: Callable[..., CfgNode]) -> None:
    cfg = toy_config("DATASETS.VAL", "('toy_val', 'toy_train')")
    trainer = NucleusTrainer(cfg)
    trainer.train()
    assert trainer.validation.best_iteration is not None
    assert {"toy_val/detection/F1", "toy_train/detection/F1"} <= trainer.storage.latest().keys()


def test_resuming_with_other_weights(toy_config: Callable[..., CfgNode]) -> None:
    NucleusTrainer(toy_config()).train()
    trainer = NucleusTrainer(toy_config())
    trainer.checkpointer.model.point = torch.nn.Linear(4, 3)
    with pytest.raises(UserError, match=r"final\.pth holds the weights of another architecture"):
        trainer.resume_or_load()
