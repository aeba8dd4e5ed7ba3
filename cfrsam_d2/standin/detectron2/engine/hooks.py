"""The usual hooks."""

import time
from typing import Any

from detectron2.engine.train_loop import HookBase
from detectron2.utils.events import EventWriter
from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler as _LRScheduler


class IterationTimer(HookBase):
    """Puts the scalar "time", s for each step, but the first ones; the first of the hooks."""

    def __init__(self, warmup_iter: int = 3) -> None:
        self._warmup_iter = warmup_iter

    def before_step(self) -> None:
        self._start = time.perf_counter()

    def after_step(self) -> None:
        if self.trainer.iter - self.trainer.start_iter + 1 >= self._warmup_iter:
            self.trainer.storage.put_scalars(time=time.perf_counter() - self._start)


class PeriodicWriter(HookBase):
    """Lets the writers write every `period` iterations, after the last one and at the end."""

    def __init__(self, writers: list[EventWriter], period: int = 20) -> None:
        self._writers = writers
        self._period = period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        for writer in self._writers:
            writer.write()
            writer.close()


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """fvcore's: "model_0000019.pth" every `period` iterations, "model_final.pth" at the end."""

    def before_train(self) -> None:
        self.max_iter = self.trainer.max_iter

    def after_step(self) -> None:
        self.step(self.trainer.iter)


class LRScheduler(HookBase):
    """Steps the trainer's scheduler after each iteration; puts "lr", of the largest group."""

    def __init__(
        self, optimizer: Optimizer | None = None, scheduler: _LRScheduler | None = None
    ) -> None:
        self._optimizer = optimizer
        self._scheduler = scheduler

    @property
    def scheduler(self) -> _LRScheduler:
        return self._scheduler or self.trainer.scheduler

    def after_step(self) -> None:
        groups = (self._optimizer or self.trainer.optimizer).param_groups
        lr = max(groups, key=lambda group: len(group["params"]))["lr"]
        self.trainer.storage.put_scalar("lr", lr, smoothing_hint=False)
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Detectron2's own state has no functions: a run may go on from its checkpoints, too.
        self.scheduler.load_state_dict({"lr_lambdas": [], **state_dict})
