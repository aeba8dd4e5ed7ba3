"""The usual hooks."""

import datetime
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from fvcore.common.checkpoint import Checkpointer
from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from fvcore.common.param_scheduler import ParamScheduler
from fvcore.common.timer import Timer
from torch.optim import Optimizer

from detectron2.evaluation.testing import flatten_results_dict
from detectron2.solver import LRMultiplier
from detectron2.solver import LRScheduler as _LRScheduler
from detectron2.utils import comm
from detectron2.utils.events import EventWriter

from .train_loop import HookBase, TrainerBase

_TrainerFunction = Callable[[TrainerBase], None]


class CallbackHook(HookBase):
    """Functions of the trainer as a hook."""

    def __init__(
        self,
        *,
        before_train: _TrainerFunction | None = None,
        after_train: _TrainerFunction | None = None,
        before_step: _TrainerFunction | None = None,
        after_step: _TrainerFunction | None = None,
    ) -> None:
        self._functions = {
            "before_train": before_train,
            "after_train": after_train,
            "before_step": before_step,
            "after_step": after_step,
        }

    def _call(self, name: str) -> None:
        if self._functions[name]:
            self._functions[name](self.trainer)

    def before_train(self) -> None:
        self._call("before_train")

    def after_train(self) -> None:
        self._call("after_train")
        self._functions.clear()  # they may hold the trainer

    def before_step(self) -> None:
        self._call("before_step")

    def after_step(self) -> None:
        self._call("after_step")


class IterationTimer(HookBase):
    """Puts the scalar "time", s for each step, and logs the speed; the first of the hooks."""

    def __init__(self, warmup_iter: int = 3) -> None:
        self._warmup_iter = warmup_iter
        self._step_timer = Timer()
        self._total_timer = Timer()
        self._start_time = time.perf_counter()

    def before_train(self) -> None:
        self._restart()
        self._total_timer.pause()

    def _restart(self) -> None:
        self._start_time = time.perf_counter()
        self._total_timer.reset()

    def before_step(self) -> None:
        self._step_timer.reset()
        self._total_timer.resume()

    def after_step(self) -> None:
        done = self.trainer.storage.iter - self.trainer.start_iter + 1
        if done >= self._warmup_iter:
            self.trainer.storage.put_scalars(time=self._step_timer.seconds())
        else:
            self._restart()
        self._total_timer.pause()

    def after_train(self) -> None:
        logger = logging.getLogger(__name__)
        total, steps = time.perf_counter() - self._start_time, self._total_timer.seconds()
        done = self.trainer.storage.iter + 1 - self.trainer.start_iter - self._warmup_iter
        if done > 0:
            pace = f"{_clock(steps)} ({steps / done:.4f} s / it)"
            logger.info(f"Overall training speed: {done} iterations in {pace}")
        hooks = _clock(total - steps)
        logger.info(f"Total training time: {_clock(total)} ({hooks} on hooks)")


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds)))


class PeriodicWriter(HookBase):
    """Lets the writers write every `period` iterations, after the last one and at the end."""

    def __init__(self, writers: list[EventWriter], period: int = 20) -> None:
        for writer in writers:
            assert isinstance(writer, EventWriter), writer
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


def _is_due(hook: HookBase, period: int) -> bool:
    """Every `period` iterations, but not after the last: `after_train` does that."""
    done = hook.trainer.iter + 1
    return period > 0 and done % period == 0 and done != hook.trainer.max_iter


class EvalHook(HookBase):
    """Evaluates every `eval_period` iterations and after the last; in all processes or none."""

    def __init__(
        self,
        eval_period: int,
        eval_function: Callable[[], dict | None],
        eval_after_train: bool = True,
    ) -> None:
        self._period = eval_period
        self._func = eval_function
        self._eval_after_train = eval_after_train

    def _do_eval(self) -> None:
        if results := self._func():
            assert isinstance(results, dict), f"Eval function must return a dict. Got {results}."
            flat = flatten_results_dict(results)
            for name, value in flat.items():
                try:
                    float(value)
                except Exception as error:
                    raise ValueError(
                        "[EvalHook] eval_function should return a nested dict of float. "
                        f"Got '{name}: {value}' instead."
                    ) from error
            self.trainer.storage.put_scalars(**flat, smoothing_hint=False)
        comm.synchronize()

    def after_step(self) -> None:
        if _is_due(self, self._period):
            self._do_eval()

    def after_train(self) -> None:
        # Not after a training that failed.
        if self._eval_after_train and self.trainer.iter + 1 >= self.trainer.max_iter:
            self._do_eval()
        del self._func  # it may hold the trainer


class BestCheckpointer(HookBase):
    """Saves `file_prefix`.pth whenever `val_metric` is better than ever; comes after EvalHook."""

    def __init__(
        self,
        eval_period: int,
        checkpointer: Checkpointer,
        val_metric: str,
        mode: str = "max",
        file_prefix: str = "model_best",
    ) -> None:
        assert mode in ("max", "min"), f'Mode "{mode}" to `BestCheckpointer` is unknown.'
        self._period = eval_period
        self._checkpointer = checkpointer
        self._val_metric = val_metric
        self._sign = 1 if mode == "max" else -1
        self._file_prefix = file_prefix
        self.best_metric: float | None = None
        self.best_iter: int | None = None

    def _best_checking(self) -> None:
        logger = logging.getLogger(__name__)
        latest = self.trainer.storage.latest().get(self._val_metric)
        if latest is None:
            logger.warning(f"There is no metric {self._val_metric}: no best checkpoint is saved.")
            return
        value, iteration = latest
        best = -math.inf if self.best_metric is None else self._sign * self.best_metric
        if not math.isfinite(value) or self._sign * value <= best:
            logger.info(f"{self._val_metric} {value:.5f} is not better than {self.best_metric}")
            return
        self._checkpointer.save(self._file_prefix, iteration=iteration)
        logger.info(f"{self._val_metric} {value:.5f} @ {iteration} is the best: model saved")
        self.best_metric, self.best_iter = value, iteration

    def after_step(self) -> None:
        if _is_due(self, self._period):
            self._best_checking()

    def after_train(self) -> None:
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._best_checking()


class LRScheduler(HookBase):
    """Steps the scheduler after each iteration and puts the scalar "lr".

    A ParamScheduler multiplies the optimiser's learning rates. What is not given is the trainer's.
    """

    def __init__(
        self,
        optimizer: Optimizer | None = None,
        scheduler: _LRScheduler | ParamScheduler | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._scheduler = scheduler

    def before_train(self) -> None:
        self._optimizer = self._optimizer or self.trainer.optimizer
        if isinstance(self.scheduler, ParamScheduler):
            self._scheduler = LRMultiplier(
                self._optimizer,
                self.scheduler,
                self.trainer.max_iter,
                last_iter=self.trainer.iter - 1,
            )
        self._best_param_group_id = LRScheduler.get_best_param_group_id(self._optimizer)

    @staticmethod
    def get_best_param_group_id(optimizer: Optimizer) -> int:
        """The largest group, or one with the commonest learning rate if all hold one parameter."""
        groups = optimizer.param_groups
        sizes = [len(group["params"]) for group in groups]
        if max(sizes) > 1:
            return sizes.index(max(sizes))
        rates = [group["lr"] for group in groups]
        return rates.index(Counter(rates).most_common()[0][0])

    def after_step(self) -> None:
        lr = self._optimizer.param_groups[self._best_param_group_id]["lr"]
        self.trainer.storage.put_scalar("lr", lr, smoothing_hint=False)
        self.scheduler.step()

    @property
    def scheduler(self) -> _LRScheduler | ParamScheduler:
        return self._scheduler or self.trainer.scheduler

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict() if isinstance(self.scheduler, _LRScheduler) else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if isinstance(self.scheduler, _LRScheduler):
            self.scheduler.load_state_dict(state_dict)
