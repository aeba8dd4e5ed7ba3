"""Scalars of a training run, and the writers that print, save and plot them."""

import datetime
import json
import logging
import time
from collections import defaultdict
from functools import cached_property
from typing import Any

import torch
from fvcore.common.history_buffer import HistoryBuffer

from detectron2.utils.file_io import PathManager

_CURRENT_STORAGE_STACK: list["EventStorage"] = []


def get_event_storage() -> "EventStorage":
    """The storage of the training that is going on."""
    assert _CURRENT_STORAGE_STACK, (
        "get_event_storage() has to be called inside a 'with EventStorage(...)' context!"
    )
    return _CURRENT_STORAGE_STACK[-1]


def has_event_storage() -> bool:
    return len(_CURRENT_STORAGE_STACK) > 0


class EventStorage:
    """Keeps every scalar with its iteration; a context in which `get_event_storage` finds it."""

    def __init__(self, start_iter: int = 0) -> None:
        self._history: dict[str, HistoryBuffer] = defaultdict(HistoryBuffer)
        self._smoothing_hints: dict[str, bool] = {}
        self._latest_scalars: dict[str, tuple[float, int]] = {}
        self.iter = start_iter

    def put_scalar(
        self, name: str, value: float, smoothing_hint: bool = True, cur_iter: int | None = None
    ) -> None:
        """Add a value at `cur_iter` (now); writers smooth it if `smoothing_hint`."""
        cur_iter = self.iter if cur_iter is None else cur_iter
        hint = self._smoothing_hints.setdefault(name, smoothing_hint)
        assert hint == smoothing_hint, f"Scalar {name} was put with a different smoothing_hint!"
        self._history[name].update(float(value), cur_iter)
        self._latest_scalars[name] = (float(value), cur_iter)

    def put_scalars(
        self, *, smoothing_hint: bool = True, cur_iter: int | None = None, **kwargs: float
    ) -> None:
        for name, value in kwargs.items():
            self.put_scalar(name, value, smoothing_hint=smoothing_hint, cur_iter=cur_iter)

    def history(self, name: str) -> HistoryBuffer:
        if name not in self._history:
            raise KeyError(f"No history metric available for {name}!")
        return self._history[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        return self._history

    def latest(self) -> dict[str, tuple[float, int]]:
        """Each scalar's last value and its iteration."""
        return self._latest_scalars

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As `latest`, with the median over the last `window_size` iterations where hinted."""
        return {
            name: (self._median(name, window_size) if self._smoothing_hints[name] else value, at)
            for name, (value, at) in self._latest_scalars.items()
        }

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """How many values came in the `window_size` iterations up to the last one."""
        iterations = [iteration for _, iteration in self._history[name].values()]
        return sum(iteration > iterations[-1] - window_size for iteration in iterations)

    def _median(self, name: str, window_size: int) -> float:
        return self._history[name].median(self.count_samples(name, window_size))

    def __enter__(self) -> "EventStorage":
        _CURRENT_STORAGE_STACK.append(self)
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        assert _CURRENT_STORAGE_STACK.pop() is self


class EventWriter:
    """Reads the current storage whenever `write` is called."""

    def write(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class JSONWriter(EventWriter):
    """One JSON object a line and iteration, appended to `json_file`."""

    def __init__(self, json_file: str, window_size: int = 20) -> None:
        self._file_handle = PathManager.open(json_file, "a")
        self._window_size = window_size
        self._last_write = -1

    def write(self) -> None:
        lines = defaultdict(dict)
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                lines[iteration][name] = value
        for iteration, scalars in lines.items():
            line = json.dumps({**scalars, "iteration": iteration}, sort_keys=True)
            self._file_handle.write(line + "\n")
        self._file_handle.flush()
        self._last_write = max(lines, default=self._last_write)

    def close(self) -> None:
        self._file_handle.close()


class TensorboardXWriter(EventWriter):
    """Scalars for TensorBoard; the file is made by the first one."""

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any) -> None:
        self._window_size = window_size
        self._writer_args = {"log_dir": log_dir, **kwargs}
        self._last_write = -1

    @cached_property
    def _writer(self):
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        return SummaryWriter(**self._writer_args)

    def write(self) -> None:
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        fresh = {name: item for name, item in latest.items() if item[1] > self._last_write}
        for name, (value, iteration) in fresh.items():
            self._writer.add_scalar(name, value, iteration)
            self._last_write = max(self._last_write, iteration)

    def close(self) -> None:
        if "_writer" in self.__dict__:
            self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs the time left, the losses, the times and the learning rate."""

    def __init__(self, max_iter: int | None = None, window_size: int = 20) -> None:
        self.logger = logging.getLogger("detectron2.utils.events")
        self._max_iter = max_iter
        self._window_size = window_size
        self._last_write: tuple[int, float] | None = None  # iteration and time in s

    def write(self) -> None:
        storage = get_event_storage()
        if storage.iter == self._max_iter:  # training is over
            return
        parts = [f"iter: {storage.iter}"]
        if eta := self._get_eta(storage):
            parts.insert(0, f"eta: {eta}")
        for name in list(storage.histories()):
            if "loss" in name or "[metric]" in name:
                parts.append(f"{name}: {storage._median(name, self._window_size):.4g}")
        for name in ("time", "data_time"):
            if name in storage.histories():
                history = storage.history(name)
                mean = (
                    history.global_avg()
                    if name == "time"
                    else history.avg(storage.count_samples(name, self._window_size))
                )
                parts += [f"{name}: {mean:.4f}", f"last_{name}: {history.latest():.4f}"]
        lr = storage.latest().get("lr")
        parts.append(f"lr: {lr[0]:.5g}" if lr else "lr: N/A")
        if torch.cuda.is_available():
            parts.append(f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M")
        self.logger.info(" %s", "  ".join(parts))

    def _get_eta(self, storage: EventStorage) -> str | None:
        if self._max_iter is None:
            return None
        left = self._max_iter - storage.iter - 1
        if "time" in storage.histories():
            seconds = storage.history("time").median(1000) * left
            storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
            return str(datetime.timedelta(seconds=int(seconds)))
        before, self._last_write = self._last_write, (storage.iter, time.perf_counter())
        if before is None or before[0] == storage.iter:
            return None
        pace = (time.perf_counter() - before[1]) / (storage.iter - before[0])
        return str(datetime.timedelta(seconds=int(pace * left)))
