"""The training loop, its hooks, checkpoints and schedules: the same on both."""

import itertools
import json
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import (
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    TrainerBase,
    create_ddp_model,
    hooks,
)
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.solver import build_lr_scheduler, get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn


class Toy(nn.Module):
    """Its losses are numbers that depend on its weight."""

    def __init__(self, cfg: CfgNode | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, batch: list[float]) -> dict[str, Tensor]:
        if not self.training:
            return [self.weight * number for number in batch]
        wanted = sum(batch)
        return {"loss_near": (self.weight - wanted) ** 2, "loss_small": 0.1 * self.weight**2}


META_ARCH_REGISTRY.register(Toy)


def numbers(start: int = 0) -> Iterator[list[float]]:
    return ([0.1 * n] for n in itertools.count(start))


def simple_trainer(start: int = 0) -> SimpleTrainer:
    model = Toy()
    return SimpleTrainer(model, numbers(start), torch.optim.SGD(model.parameters(), 0.1, 0.9))


class Diary(HookBase):
    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = lines

    def before_train(self) -> None:
        self.lines.append(f"{self.name} before_train")

    def after_train(self) -> None:
        self.lines.append(f"{self.name} after_train {self.trainer.iter}")

    def before_step(self) -> None:
        self.lines.append(f"{self.name} before_step {get_event_storage().iter}")

    def after_step(self) -> None:
        self.lines.append(f"{self.name} after_step {self.trainer.storage.iter}")


def test_hooks_are_called_in_order() -> None:
    class Counting(TrainerBase):
        def run_step(self) -> None:
            lines.append(f"run_step {self.iter}")

    lines: list[str] = []
    trainer = Counting()
    trainer.register_hooks([Diary("a", lines), None, Diary("b", lines)])
    trainer.train(3, 5)
    assert lines == [
        *("a before_train", "b before_train"),
        *("a before_step 3", "b before_step 3", "run_step 3", "a after_step 3", "b after_step 3"),
        *("a before_step 4", "b before_step 4", "run_step 4", "a after_step 4", "b after_step 4"),
        *("a after_train 5", "b after_train 5"),
    ]
    assert trainer.start_iter == 3


def test_hooks_hear_of_an_error() -> None:
    class Failing(TrainerBase):
        def run_step(self) -> None:
            raise RuntimeError("no more")

    lines: list[str] = []
    trainer = Failing()
    trainer.register_hooks([Diary("a", lines)])
    with pytest.raises(RuntimeError, match="no more"):
        trainer.train(0, 2)
    assert lines == ["a before_train", "a before_step 0", "a after_train 0"]
    with pytest.raises(AssertionError):
        get_event_storage()


def test_steps_are_those_of_the_optimiser() -> None:
    trainer = simple_trainer()
    trainer.train(0, 3)
    weight, momentum = 1.0, 0.0
    losses = []
    for n in range(3):
        losses.append((weight - 0.1 * n) ** 2 + 0.1 * weight**2)
        momentum = 0.9 * momentum + 2 * (weight - 0.1 * n) + 0.2 * weight
        weight -= 0.1 * momentum
    assert trainer.model.weight.item() == pytest.approx(weight)
    values = [value for value, _ in trainer.storage.history("total_loss").values()]
    assert values == pytest.approx(losses)
    assert {"loss_near", "loss_small", "data_time"} <= trainer.storage.latest().keys()


def test_bad_loss_stops_before_the_step() -> None:
    trainer = simple_trainer()
    trainer.data_loader = iter([[1.0], [2.0], [float("inf")]])
    before = []
    trainer.register_hooks([Diary("a", before)])
    message = r"iteration=2!\s+loss_dict = \{'loss_near': (inf|np\.float64\(inf\))"
    with pytest.raises(FloatingPointError, match=message):
        trainer.train(0, 5)
    assert torch.isfinite(trainer.model.weight)
    assert trainer.iter == 2


def test_model_must_be_in_training_mode() -> None:
    trainer = simple_trainer()
    trainer.model.eval()
    with pytest.raises(AssertionError, match="eval mode"):
        trainer.train(0, 1)


def prepare(folder: Path, start: int = 0) -> tuple[SimpleTrainer, DetectionCheckpointer]:
    """A trainer with a schedule and checkpoints every 2 iterations."""
    trainer = simple_trainer(start)
    cfg = get_cfg()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS = 6, (5,), 3
    schedule = build_lr_scheduler(cfg, trainer.optimizer)
    checkpointer = DetectionCheckpointer(trainer.model, str(folder), trainer=trainer)
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(trainer.optimizer, schedule),
            hooks.PeriodicCheckpointer(checkpointer, 2, max_to_keep=1),
        ]
    )
    return trainer, checkpointer


def test_resumed_run_continues_bit_by_bit(tmp_path: Path) -> None:
    whole, _ = prepare(tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    whole.train(0, 6)

    (tmp_path / "parts").mkdir()
    first, _ = prepare(tmp_path / "parts")
    first.register_hooks([StopAfter(4)])
    with pytest.raises(KeyboardInterrupt):
        first.train(0, 6)
    assert [path.name for path in (tmp_path / "parts").glob("*.pth")] == ["model_0000003.pth"]
    second, checkpointer = prepare(tmp_path / "parts", start=4)
    assert checkpointer.has_checkpoint()
    checkpointer.resume_or_load("", resume=True)
    assert second.iter == 3
    second.train(second.iter + 1, 6)

    assert torch.equal(second.model.weight, whole.model.weight)
    rates = {at: lr for lr, at in whole.storage.history("lr").values()}
    resumed = {at: lr for lr, at in second.storage.history("lr").values()}
    assert resumed == {at: rates[at] for at in (4, 5)}
    assert (tmp_path / "parts" / "model_final.pth").is_file()
    assert (tmp_path / "parts" / "last_checkpoint").read_text() == "model_final.pth"


class StopAfter(HookBase):
    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def after_step(self) -> None:
        if self.trainer.iter + 1 == self.iterations:
            raise KeyboardInterrupt


def test_time_is_measured_after_the_warm_up(tmp_path: Path) -> None:
    trainer, _ = prepare(tmp_path)
    trainer.train(0, 5)
    assert [at for _, at in trainer.storage.history("time").values()] == [2, 3, 4]


def test_hooks_keep_their_state_in_the_checkpoint() -> None:
    class Remembering(HookBase):
        kept = 5

        def state_dict(self) -> dict:
            return {"kept": self.kept}

        def load_state_dict(self, state_dict: dict) -> None:
            self.kept = state_dict["kept"]

    first, second = simple_trainer(), simple_trainer()
    first.register_hooks([Remembering()])
    first._hooks[0].kept = 7
    first.train(0, 2)
    second.register_hooks([Remembering()])
    second.load_state_dict(first.state_dict())
    assert second._hooks[0].kept == 7
    assert second.iter == 2
    assert torch.equal(
        second.optimizer.state_dict()["state"][0]["momentum_buffer"],
        first.optimizer.state_dict()["state"][0]["momentum_buffer"],
    )


def test_schedule_goes_on_from_either_ones_checkpoint(tmp_path: Path) -> None:
    trainer, _ = prepare(tmp_path)
    (schedule,) = (hook for hook in trainer._hooks if isinstance(hook, hooks.LRScheduler))
    schedule.load_state_dict({"base_lrs": [0.5], "last_epoch": 4})  # as Detectron2 writes it
    trainer.optimizer.step()
    schedule.scheduler.step()
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_bare_state_dicts_are_weights(tmp_path: Path) -> None:
    torch.save({"weight": torch.tensor(4.0)}, tmp_path / "weights.pth")
    model = Toy()
    DetectionCheckpointer(model).load(str(tmp_path / "weights.pth"))
    assert model.weight.item() == 4


class Command:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("made",)


def test_checkpoints_run_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "extra": Command()}, "weights.pth")
    with pytest.raises(pickle.UnpicklingError):
        DetectionCheckpointer(Toy()).load("weights.pth")
    assert not Path("made").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.1, 0.4, 0.7, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]),
        (
            {"WARMUP_METHOD": "constant", "STEPS": (5, 30)},
            [0.1, 0.1, 0.1, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5],
        ),
        (
            {"LR_SCHEDULER_NAME": "WarmupCosineLR", "WARMUP_ITERS": 0},
            [0.5 * (1 + math.cos(math.pi * i / 10)) for i in range(10)],
        ),
    ],
)
def test_schedule(options: dict, expected: list[float]) -> None:
    cfg = get_cfg()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.GAMMA = 10, (6, 8), 0.5
    cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.WARMUP_FACTOR = 3, 0.1
    for key, value in options.items():
        cfg.SOLVER[key] = value
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 20.0)]
    optimizer = torch.optim.SGD(groups)
    schedule = build_lr_scheduler(cfg, optimizer)
    rates = []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert [rate for rate, _ in rates] == pytest.approx(expected, abs=1e-6)
    assert [rate for _, rate in rates] == pytest.approx([20 * each for each in expected], abs=1e-5)


def test_unknown_schedule() -> None:
    cfg = get_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME = "Guess"
    with pytest.raises(ValueError, match="Guess"):
        build_lr_scheduler(cfg, torch.optim.SGD(Toy().parameters()))


def test_parameter_groups() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LayerNorm(2), nn.Linear(2, 2))
    model[3].weight.requires_grad = False
    model.append(model[0])  # shared: counted once
    plain = get_default_optimizer_params(model, base_lr=0.5)
    assert [(len(group["params"]), group["lr"]) for group in plain] == [(7, 0.5)]
    groups = get_default_optimizer_params(
        model,
        base_lr=0.5,
        weight_decay=0.1,
        weight_decay_norm=0.0,
        bias_lr_factor=2.0,
        weight_decay_bias=0.3,
    )
    settings = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    assert settings == {(0.5, 0.1): 1, (1.0, 0.3): 4, (0.5, 0.0): 2}


def test_parameter_groups_by_name() -> None:
    groups = get_default_optimizer_params(
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)),
        base_lr=1.0,
        lr_factor_func=lambda name: 0.5 if name.startswith("0") else 1.0,
        overrides={"bias": {"weight_decay": 0.7}},
    )
    settings = [(group["lr"], group.get("weight_decay")) for group in groups]
    assert settings == [(0.5, None), (0.5, 0.7), (1.0, None), (1.0, 0.7)]


@pytest.mark.parametrize(
    ("clip_type", "steps"), [("value", [[1.0, 1.0], [1.0]]), ("norm", [[0.6, 0.8], [1.0]])]
)
def test_each_parameter_is_clipped_by_itself(clip_type: str, steps: list) -> None:
    cfg = get_cfg()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    optimizer = maybe_add_gradient_clipping(cfg, torch.optim.SGD(parameters, lr=1.0))
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([9.0])
    optimizer.step()
    assert [(-p).tolist() for p in parameters] == [pytest.approx(step) for step in steps]


def test_clipping_can_be_off_and_must_be_known() -> None:
    cfg = get_cfg()
    optimizer = torch.optim.SGD(Toy().parameters(), lr=1.0)
    assert maybe_add_gradient_clipping(cfg, optimizer) is optimizer
    assert type(optimizer) is torch.optim.SGD
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "guess"
    with pytest.raises(ValueError, match="'guess' is not a valid GradientClipType"):
        maybe_add_gradient_clipping(cfg, optimizer)


def test_one_process_needs_no_wrapper() -> None:
    model = Toy()
    assert create_ddp_model(model, broadcast_buffers=False) is model


class ToyTrainer(DefaultTrainer):
    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), cfg.SOLVER.BASE_LR)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterator[list[float]]:
        return numbers()

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> list[list[float]]:
        return [[1.0, 2.0], [3.0]]

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return Summing()


class Summing(DatasetEvaluator):
    def reset(self) -> None:
        self.total = 0.0

    def process(self, inputs: list[float], outputs: list[Tensor]) -> None:
        assert not any(output.requires_grad for output in outputs)
        self.total += sum(outputs).item()

    def evaluate(self) -> dict:
        return {"sums": {"all": self.total, "hid-den": 0.0}}


@pytest.fixture
def cfg(tmp_path: Path) -> CfgNode:
    cfg = get_cfg()
    cfg.MODEL.DEVICE, cfg.MODEL.META_ARCHITECTURE = "cpu", "Toy"
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.SOLVER.BASE_LR = 5, 2, 0.1
    cfg.SOLVER.STEPS, cfg.SOLVER.WARMUP_ITERS = (4,), 0
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    return cfg


def test_default_trainer_trains_and_resumes(cfg: CfgNode) -> None:
    output = Path(cfg.OUTPUT_DIR)
    trainer = ToyTrainer(cfg)
    trainer.resume_or_load(resume=True)  # there is nothing to resume from yet
    assert trainer.start_iter == 0
    trainer.train()
    assert trainer.iter == 5
    assert {path.name for path in output.glob("*.pth")} == {
        *("model_0000001.pth", "model_0000003.pth", "model_final.pth")
    }
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [4]
    assert {"lr", "total_loss", "loss_near", "time", "data_time"} <= lines[0].keys()
    assert lines[0]["lr"] == pytest.approx(0.01)
    assert any(path.name.startswith("events.") for path in output.iterdir())

    cfg.SOLVER.MAX_ITER = 7
    longer = ToyTrainer(cfg)
    longer.resume_or_load(resume=True)
    assert longer.start_iter == 5
    assert torch.equal(longer.model.weight, trainer.model.weight)
    longer.train()
    assert longer.iter == 7


def test_default_trainer_starts_from_weights(cfg: CfgNode, tmp_path: Path) -> None:
    torch.save({"model": {"weight": torch.tensor(4.0)}}, tmp_path / "weights.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "weights.pth")
    trainer = ToyTrainer(cfg)
    trainer.resume_or_load(resume=False)
    assert (trainer.start_iter, trainer.model.weight.item()) == (0, 4.0)


@pytest.mark.parametrize(
    ("names", "results"),
    [
        (("one",), {"sums": {"all": 12.0, "hid-den": 0.0}}),
        ((), {}),
        (
            ("one", "two"),
            {name: {"sums": {"all": 12.0, "hid-den": 0.0}} for name in ("one", "two")},
        ),
    ],
)
def test_default_trainer_tests_each_dataset(
    names: tuple[str, ...],
    results: dict,
    cfg: CfgNode,
    messages: list[str],
) -> None:
    cfg.DATASETS.TEST = names
    model = Toy()
    nn.init.constant_(model.weight, 2.0)
    assert ToyTrainer.test(cfg, model) == results
    assert model.training  # as before
    assert not any("hid-den" in each for each in messages)  # print_csv_format leaves "-" out
    assert messages.count("copypaste: 12.0000") == len(names)
