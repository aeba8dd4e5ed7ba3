"""Scalars of a training run, and the writers that print, save and plot them."""

import datetime
import json
import logging
from collections import defaultdict
from typing import Any

import torch
from fvcore.common.history_buffer import HistoryBuffer

_CURRENT_STORAGE_STACK: list["EventStorage"] = []


def get_event_storage() -> "EventStorage":
    """The storage of the training that is going on."""
    assert _CURRENT_STORAGE_STACK, "get_event_storage() has to be called in an EventStorage"
    return _CURRENT_STORAGE_STACK[-1]


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
            self.put_scalar(name, value, smoothing_hint, cur_iter)

    def history(self, name: str) -> HistoryBuffer:
        if name not in self._history:
            raise KeyError(f"No history metric available for {name}!")
        return self._history[name]

    def latest(self) -> dict[str, tuple[float, int]]:
        """Each scalar's last value and its iteration."""
        return self._latest_scalars

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As `latest`, with the median over the last `window_size` iterations where hinted."""
        smoothed = {}
        for name, (value, at) in self._latest_scalars.items():
            median = self._history[name].median(window_size)
            smoothed[name] = (median if self._smoothing_hints[name] else value, at)
        return smoothed

    def __enter__(self) -> "EventStorage":
        _CURRENT_STORAGE_STACK.append(self)
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        _CURRENT_STORAGE_STACK.pop()


class EventWriter:
    """Reads the current storage whenever `write` is called."""

    _last_write = -1

    def write(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is written any more."""

    def _unwritten(self, window_size: int) -> dict[str, tuple[float, int]]:
        """Values, and their iterations, that came after those of the last call."""
        latest = get_event_storage().latest_with_smoothing_hint(window_size)
        fresh = {name: item for name, item in latest.items() if item[1] > self._last_write}
        self._last_write = max((at for _, at in fresh.values()), default=self._last_write)
        return fresh


class JSONWriter(EventWriter):
    """One JSON object a line and iteration, appended to `json_file`."""

    def __init__(self, json_file: str, window_size: int = 20) -> None:
        self._file = open(json_file, "a")  # noqa: SIM115  (closed by `close`)
        self._window_size = window_size

    def write(self) -> None:
        lines: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in self._unwritten(self._window_size).items():
            lines[iteration][name] = value
        for iteration, scalars in lines.items():
            line = json.dumps({**scalars, "iteration": iteration}, sort_keys=True)
            self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorboardXWriter(EventWriter):
    """Scalars for TensorBoard."""

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._writer = SummaryWriter(log_dir, **kwargs)
        self._window_size = window_size

    def write(self) -> None:
        for name, (value, iteration) in self._unwritten(self._window_size).items():
            self._writer.add_scalar(name, value, iteration)

    def close(self) -> None:
        self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs the time left, the losses, the times and the learning rate."""

    def __init__(self, max_iter: int | None = None, window_size: int = 20) -> None:
        self._logger = logging.getLogger(__name__)
        self._max_iter = max_iter
        self._window_size = window_size

    def write(self) -> None:
        storage = get_event_storage()
        if storage.iter == self._max_iter:  # training is over
            return
        latest, parts = storage.latest(), [f"iter: {storage.iter}"]
        if self._max_iter is not None and "time" in latest:
            seconds = storage.history("time").median(1000) * (self._max_iter - storage.iter - 1)
            storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
            parts.insert(0, f"eta: {datetime.timedelta(seconds=int(seconds))}")
        for name in latest:
            if "loss" in name:
                parts.append(f"{name}: {storage.history(name).median(self._window_size):.4g}")
        for name, digits in (("time", ".4f"), ("data_time", ".4f"), ("lr", ".5g")):
            if name in latest:
                parts.append(f"{name}: {latest[name][0]:{digits}}")
        if torch.cuda.is_available():
            parts.append(f"max_mem: {torch.cuda.max_memory_allocated() / 2**20:.0f}M")
        self._logger.info("  ".join(parts))
