"""Workers in processes of this machine, one a GPU or several on CPUs."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self

from ...errors import UserError
from .tasks import Outcome, Task, WorkerPlan

_SLOW_TO_IMPORT = "cfrsam_d2.predictor"


@dataclass
class _Worker:
    process: BaseProcess
    gpu: str | None
    task: Task | None = None  # None: it is starting, or idle


class LocalCrew:
    """Processes with a pipe each, see `Crew`; they end with the block or with this process.

    They are forked from one that has imported what they need, and has done nothing else: CUDA
    begins in each of them.
    """

    def __init__(self, plan: WorkerPlan, count: int, gpus: Sequence[str] = ()) -> None:
        """
        Args:
            plan: of each worker.
            count: of workers.
            gpus: as CUDA_VISIBLE_DEVICES names them; workers take them in turn.
        """
        self.size = count
        self._plan = plan
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([_SLOW_TO_IMPORT, type(plan).__module__])
        self._busy: dict[Connection, _Worker] = {}
        self._idle: dict[Connection, _Worker] = {}
        names: Iterator[str | None] = itertools.cycle(gpus or [None])
        for gpu in itertools.islice(names, count):
            self._start(gpu)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        workers = [*self._busy.values(), *self._idle.values()]
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()

    @property
    def pids(self) -> list[int]:
        """Of the processes that work on a task."""
        busy = [worker.process.pid for worker in self._busy.values() if worker.task]
        return [pid for pid in busy if pid is not None]

    @property
    def idle(self) -> bool:
        return bool(self._idle)

    def give(self, task: Task) -> None:
        connection, worker = self._idle.popitem()
        worker.task = task
        self._busy[connection] = worker
        with contextlib.suppress(OSError):  # it has ended, as its pipe tells `wait`, too
            connection.send(task)

    def wait(self) -> tuple[Task | None, Outcome]:
        connection = next(each for each in wait(list(self._busy)) if isinstance(each, Connection))
        worker = self._busy.pop(connection)
        task, worker.task = worker.task, None
        outcome = _received(connection) or Outcome("lost", reason=_how_it_ended(worker, task))
        if outcome.status == "lost":
            worker.process.kill()
            self._start(worker.gpu)
        else:
            self._idle[connection] = worker
        return task, outcome

    def _start(self, gpu: str | None) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._plan, gpu), name="slide worker", daemon=True
        )
        process.start()
        theirs.close()  # so that the pipe ends with the process
        self._busy[ours] = _Worker(process, gpu)


def _received(connection: Connection) -> Outcome | None:
    """None: the process has ended."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return None


def _how_it_ended(worker: _Worker, task: Task | None) -> str:
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"
    what = f"{task.slide.path}: a worker" if task else "a worker that was starting"
    return f"{what} {how}: if memory ran out, lower --workers, else run the same command again"


def _work(connection: Connection, plan: WorkerPlan, gpu: str | None) -> None:
    """What a process does: a start, then tasks until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that gives the tasks ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        worker = plan.build(alone=False)
    except UserError as error:
        connection.send(Outcome("failed", reason=str(error)))
        return
    connection.send(Outcome("ready"))
    while True:
        connection.send(worker(connection.recv()))


def _end_with_parent() -> None:
    """Else a slide would go on for hours that nobody waits for, and hold its lock."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
