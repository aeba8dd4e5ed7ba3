"""Reader threads that keep the network busy."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Self, TypeVar

import numpy as np

from ..errors import UserError
from .lattice import Box
from .reader import SlideReader
from .transfer import pinned

Job = TypeVar("Job")
HANGS = 120.0  # s after which a read will not end
_FAREWELL = 5.0  # s in which threads end that do not hang


class ReadHangs(UserError):
    """A file or its disk gives no answer; the threads that wait for it go with their process."""


class ReadAhead:
    """Regions of a slide, read by threads that each have a handle of their own.

    Attributes:
        seconds_waited: in which nothing was there to hand over.
    """

    def __init__(self, reader: SlideReader, threads: int, *, pin: bool = False) -> None:
        """
        Args:
            reader: whose `reopen` gives each thread a handle.
            threads: that read.
            pin: hand pixels over in pinned memory, for a GPU.
        """
        self.seconds_waited = 0.0
        self._reader, self._pin = reader, pin
        self._tasks: SimpleQueue[tuple[Box, Future[np.ndarray]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        for _ in range(threads):
            self._start_thread()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._forget_tasks()
        for _ in self._threads:
            self._tasks.put(None)
        end = time.monotonic() + _FAREWELL
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))

    def read(
        self, jobs: Iterable[Job], box_of: Callable[[Job], Box], ahead: int
    ) -> Iterator[tuple[Job, np.ndarray]]:
        """The jobs in order, each with the pixels of its box, (h, w, 3) uint8 RGB.

        Args:
            jobs: of any kind.
            box_of: what to read for one.
            ahead: jobs that are read before they are asked for.

        Raises:
            UserError: the file can no longer be opened; `ReadHangs` if reading it hangs.
        """
        pending: deque[tuple[Job, Future[np.ndarray]]] = deque()
        for job in jobs:
            pending.append((job, self._submit(box_of(job))))
            if len(pending) > ahead:
                yield self._first(pending, box_of)
        while pending:
            yield self._first(pending, box_of)

    def _first(
        self, pending: deque[tuple[Job, Future[np.ndarray]]], box_of: Callable[[Job], Box]
    ) -> tuple[Job, np.ndarray]:
        job, future = pending.popleft()
        start = time.perf_counter()
        pixels = self._wait(future, box_of(job))
        self.seconds_waited += time.perf_counter() - start
        return job, pixels

    def _wait(self, future: Future[np.ndarray], box: Box) -> np.ndarray:
        """The pixels; where a thread hangs, another one takes its place and tries once more."""
        for _ in range(2):
            try:
                return future.result(HANGS)
            except TimeoutError:
                if future.done():  # the thread itself raised it
                    raise
            self._start_thread()
            future = self._submit(box)
        raise ReadHangs(
            f"{self._reader.path} cannot be read: what is asked of it at x {box.x0}, y {box.y0} "
            f"has not come within {2 * HANGS:.0f} s: check the file or its disk, and run the same "
            "command again"
        )

    def _submit(self, box: Box) -> Future[np.ndarray]:
        future: Future[np.ndarray] = Future()
        self._tasks.put((box, future))
        return future

    def _start_thread(self) -> None:
        # Those that hang for ever shall not keep the program from ending.
        thread = threading.Thread(target=self._work, name="reader", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        handle: SlideReader | None = None
        while (task := self._tasks.get()) is not None:
            box, future = task
            try:
                handle = handle or self._reader.reopen()
                pixels = handle.read(*box)
                future.set_result(pinned(pixels) if self._pin else pixels)
            except Exception as error:  # for the thread that waits for it
                future.set_exception(error)
        if handle is not None:
            handle.close()

    def _forget_tasks(self) -> None:
        try:
            while True:
                self._tasks.get_nowait()
        except Empty:
            return
