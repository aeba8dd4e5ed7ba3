"""The training loop and its hooks."""

import logging
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, get_event_storage
from torch import Tensor, nn
from torch.optim import Optimizer


class HookBase:
    """Something that is done at points of the training; `trainer` is set on registration.

    `before_train` and `after_train` (also after an error), `before_step` and `after_step`.
    """

    trainer: Any = None

    def before_train(self) -> None:
        pass

    after_train = before_step = after_step = before_train

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; a hook with a state also has `load_state_dict`."""
        return {}


class TrainerBase:
    """A loop over `run_step`, with hooks around it and an event storage open."""

    storage: EventStorage
    max_iter: int
    run_step: Callable[[], None]  # of a subclass

    def __init__(self) -> None:
        self._hooks: list[Any] = []
        self.iter = self.start_iter = 0

    def register_hooks(self, hooks: Iterable[HookBase | None]) -> None:
        """Add hooks, in the order in which they will be called; None is left out."""
        for hook in filter(None, hooks):
            hook.trainer = weakref.proxy(self)
            self._hooks.append(hook)

    def train(self, start_iter: int, max_iter: int) -> None:
        """Run iterations `start_iter` to `max_iter` - 1; `iter` is `max_iter` if all went well."""
        logging.getLogger(__name__).info(f"Starting training from iteration {start_iter}")
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self._call_hooks("before_train")
                for self.iter in range(start_iter, max_iter):
                    self._call_hooks("before_step")
                    self.run_step()
                    self._call_hooks("after_step")
                self.iter += 1
            except Exception:
                logging.getLogger(__name__).exception("Exception during training:")
                raise
            finally:
                self._call_hooks("after_train")

    def _call_hooks(self, moment: str) -> None:
        self.storage.iter = self.iter
        for hook in self._hooks:
            getattr(hook, moment)()

    def state_dict(self) -> dict[str, Any]:
        """The iteration, and the state of hooks that have one, by class."""
        states = {type(hook).__qualname__: hook.state_dict() for hook in self._hooks}
        return {"iteration": self.iter, "hooks": {k: state for k, state in states.items() if state}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.iter = state_dict["iteration"]
        for hook in self._hooks:
            if state := state_dict.get("hooks", {}).get(type(hook).__qualname__):
                hook.load_state_dict(state)


class SimpleTrainer(TrainerBase):
    """One model that returns losses, one optimiser, one data loader."""

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable,
        optimizer: Optimizer,
        gather_metric_period: int = 1,
        zero_grad_before_forward: bool = False,
        async_write_metrics: bool = False,
    ) -> None:
        super().__init__()
        assert not async_write_metrics, "async_write_metrics is not in the stand-in"
        model.train()
        self.model = model
        self.data_loader = data_loader
        self._data_loader_iter = None
        self.optimizer = optimizer
        self.gather_metric_period = gather_metric_period
        self.zero_grad_before_forward = zero_grad_before_forward

    def run_step(self) -> None:
        """Losses, gradients, metrics, step; a loss that is not finite stops before the step."""
        assert self.model.training, f"[{type(self).__name__}] model was changed to eval mode!"
        start = time.perf_counter()
        if self._data_loader_iter is None:
            self._data_loader_iter = iter(self.data_loader)
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        if self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        losses = self.model(data)
        losses = {"total_loss": losses} if isinstance(losses, Tensor) else losses
        if not self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        total: Any = sum(losses.values())
        total.backward()
        if (self.iter + 1) % self.gather_metric_period == 0:
            self._write_metrics(losses, data_time)
        self.optimizer.step()

    def _write_metrics(self, losses: dict[str, Tensor], data_time: float) -> None:
        """Put losses, averaged over the processes, and the longest time spent on data."""
        metrics = {name: loss.detach().item() for name, loss in losses.items()}
        everyone = comm.gather((metrics, data_time))
        if not comm.is_main_process():
            return
        means = {name: float(np.mean([one[name] for one, _ in everyone])) for name in metrics}
        total = sum(means.values())
        if not np.isfinite(total):
            raise FloatingPointError(
                f"Loss became infinite or NaN at iteration={self.iter}!\nloss_dict = {means}"
            )
        means |= {"total_loss": total, "data_time": max(time for _, time in everyone)}
        for name, mean in means.items():
            get_event_storage().put_scalar(name, mean, cur_iter=self.iter)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])
