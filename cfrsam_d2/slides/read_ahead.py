"""Reader threads that keep the network busy."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from .lattice import Box
from .reader import SlideReader

Job = TypeVar("Job")


class ReadAhead:
    """Regions of a slide, read by threads that each have a handle of their own.

    Attributes:
        seconds_waited: in which nothing was there to hand over.
        bad_tiles: what could not be read, see `SlideReader`.
    """

    def __init__(self, reader: SlideReader, threads: int, ahead: int) -> None:
        """
        Args:
            reader: whose `reopen` gives each thread a handle.
            threads: that read.
            ahead: regions that are read before they are asked for.
        """
        self.seconds_waited = 0.0
        self._reader, self._ahead = reader, ahead
        self._handles: list[SlideReader] = []
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for handle in self._handles:
            handle.close()

    @property
    def bad_tiles(self) -> list[Box]:
        return sorted({Box(*tile) for handle in self._handles for tile in handle.bad_tiles})

    def read(
        self, jobs: Iterable[Job], box_of: Callable[[Job], Box]
    ) -> Iterator[tuple[Job, np.ndarray]]:
        """The jobs in order, each with the pixels of its box, (h, w, 3) uint8 RGB."""
        pending: deque[tuple[Job, Future[np.ndarray]]] = deque()
        for job in jobs:
            pending.append((job, self._pool.submit(self._read, box_of(job))))
            if len(pending) > self._ahead:
                yield self._first(pending)
        while pending:
            yield self._first(pending)

    def _first(self, pending: deque[tuple[Job, Future[np.ndarray]]]) -> tuple[Job, np.ndarray]:
        job, future = pending.popleft()
        start = time.perf_counter()
        pixels = future.result()
        self.seconds_waited += time.perf_counter() - start
        return job, pixels

    def _read(self, box: Box) -> np.ndarray:
        if not hasattr(self._local, "handle"):
            self._local.handle = self._reader.reopen()
            self._handles.append(self._local.handle)
        return self._local.handle.read(*box)
