"""Workers as Ray actors, on the machines of a cluster or on this one."""

import os
import tempfile
from pathlib import Path
from typing import Any, Self

from ...errors import UserError
from .tasks import Outcome, Task, Worker, WorkerPlan

LOCAL = "local"  # the address of a Ray that is started here, and ends with the block
_STORE = 80 * 2**20  # bytes of Ray's object store, of which nothing is needed
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # else any other process goes before the workers that it starts
}
_SOCKET = "ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
_LONGEST = 107  # bytes of a socket's path


class RayCrew:
    """Actors that hold a model each, see `Crew`.

    A lost one is not restarted by Ray, which would lay tasks up for it: a new one is asked for, and
    its task goes to whoever is free.
    """

    def __init__(self, plan: WorkerPlan, address: str, count: int | None, *, cpu: bool) -> None:
        """
        Args:
            plan: of each worker.
            address: of the cluster, "auto" for the one of this machine, or `LOCAL`.
            count: of workers; None: one for each GPU, without GPUs for each core.
            cpu: leave GPUs alone.

        Raises:
            UserError: Ray is not installed, cannot start, or is not there.
        """
        self._ray = ray = _connected(address, count)
        resources = ray.cluster_resources()
        kind = "GPU" if resources.get("GPU") and not cpu else "CPU"
        self.size = count or max(int(resources.get(kind, 1)), 1)
        self._kind = ray.remote(**{f"num_{kind.lower()}s": 1})(_Actor)
        self._arguments = (plan, os.getcwd())
        self._busy: dict[Any, tuple[Any, Task | None]] = {}  # actor and task by what is awaited
        self._idle: list[Any] = []
        for _ in range(self.size):
            self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()  # and with it all actors of this run

    @property
    def idle(self) -> bool:
        return bool(self._idle)

    def give(self, task: Task) -> None:
        actor = self._idle.pop()
        self._busy[actor.do.remote(task)] = actor, task

    def wait(self) -> tuple[Task | None, Outcome]:
        (first,), _ = self._ray.wait(list(self._busy), num_returns=1)
        actor, task = self._busy.pop(first)
        outcome = self._received(first, task)
        if outcome.status == "lost":
            self._ray.kill(actor)
            self._start()
        else:
            self._idle.append(actor)
        return task, outcome

    def _start(self) -> None:
        actor = self._kind.remote(*self._arguments)
        self._busy[actor.start.remote()] = actor, None

    def _received(self, answer: Any, task: Task | None) -> Outcome:
        try:
            return self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            what = f"{task.slide.path}: a worker" if task else "a worker that was starting"
            # Ray says the reason first, or behind a traceback.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            how = lines[-1 if isinstance(error, self._ray.exceptions.RayTaskError) else 0]
            return Outcome("lost", reason=f"{what} was lost ({how}): see Ray's logs of its node")


class _Actor:
    def __init__(self, plan: WorkerPlan, folder: str) -> None:
        self._plan, self._folder = plan, folder
        self._worker: Worker | None = None

    def start(self) -> Outcome:
        try:
            os.chdir(self._folder)  # paths may be relative to it
        except OSError as error:
            return Outcome(
                "failed",
                reason=f"{self._folder} is not on each node of the cluster ({error.strerror}): run "
                "from a folder that all of them share",
            )
        try:
            self._worker = self._plan.build(alone=False)
        except UserError as error:
            return Outcome("failed", reason=str(error))
        return Outcome("ready")

    def do(self, task: Task) -> Outcome:
        assert self._worker is not None
        return self._worker(task)


def _connected(address: str, count: int | None) -> Any:
    """The module of Ray, after it has met its cluster."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed, which --ray needs: run `pip install "
            "'cfrsam_d2[fleet]'`, in a clone `pip install -e '.[fleet]'`"
        ) from None
    check_places()
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        how |= {"num_cpus": count, "include_dashboard": False, "object_store_memory": _STORE}
    try:
        ray.init(address, **how)
    except (OSError, RuntimeError, ValueError) as error:  # ConnectionError among them
        raise UserError(
            f"--ray {address}: Ray cannot be reached or started ({str(error).splitlines()[0]}): "
            f"give the address that `ray start --head` says, auto or {LOCAL}"
        ) from None
    return ray


def check_places() -> None:
    """
    Raises:
        UserError: Ray could not write to the home folder, or its sockets would have too long names.
    """
    token = Path.home() / ".ray" / "auth_token"
    if not token.is_file():
        try:
            token.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=token.parent):
                pass
        except OSError as error:
            raise UserError(
                f"Ray cannot write to {token.parent} ({error.strerror}): set HOME to a folder that "
                "can be written to"
            ) from None
    temporary = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    if len(os.fsencode(temporary / _SOCKET)) > _LONGEST:
        raise UserError(
            f"{temporary} is too long a name for Ray's temporary files: set RAY_TMPDIR to a "
            "shorter one, like /tmp"
        )
