"""A crew of one, which works in this process."""

from .tasks import Outcome, Task, WorkerPlan


class OwnCrew:
    """Does tasks itself, see `Crew`."""

    size = 1

    def __init__(self, plan: WorkerPlan) -> None:
        self._worker = plan.build(alone=True)
        self._task: Task | None = None

    @property
    def idle(self) -> bool:
        return self._task is None

    def give(self, task: Task) -> None:
        self._task = task

    def wait(self) -> tuple[Task | None, Outcome]:
        task, self._task = self._task, None
        assert task is not None, "nothing was given"
        return task, self._worker(task)
