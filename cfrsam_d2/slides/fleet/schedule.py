"""Which task is done when, by whichever worker is free, and what happens when one is lost."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import DiskError, UserError
from ...remote_path import AnyPath
from ..parts import Share
from ..slide_list import ListedSlide
from .table import Row
from .tasks import ENDS, STAGES, Crew, Outcome, Task

ATTEMPTS = 3  # of each task


@dataclass
class _Course:
    """How far a slide is: the stages that are left, and tasks of the present one that are out."""

    stages: list[str]
    out: int = 0
    seconds: float = 0.0
    attempts: int = 1


def run_fleet(
    crew: Crew, folders: Mapping[ListedSlide, AnyPath], tell: Callable[[Row], None]
) -> None:
    """Do slides, one after the other as they come; one that fails stops no other.

    With fewer slides than workers, the chunks of each slide are shared among all workers, unless
    its results go to a store: parts are in a folder.

    Args:
        crew: who does them.
        folders: of the results, by slide, in the order in which they are begun.
        tell: is told of each slide that has ended.

    Raises:
        UserError: no worker can start, or the disk is full.
    """
    _Fleet(crew, folders, tell).run()


class _Fleet:
    def __init__(
        self, crew: Crew, folders: Mapping[ListedSlide, AnyPath], tell: Callable[[Row], None]
    ) -> None:
        self._crew, self._folders, self._tell = crew, folders, tell
        can_share = all(isinstance(folder, Path) for folder in folders.values())
        self._shares = crew.size if can_share and len(folders) < crew.size else 1
        self._waiting: deque[Task] = deque()
        self._lost_starts = 0
        stages = STAGES if self._shares > 1 else STAGES[-1:]
        self._courses = {slide: _Course(list(stages)) for slide in folders}
        for slide in folders:
            self._begin_stage(slide)

    def run(self) -> None:
        while self._courses:
            while self._waiting and self._crew.idle:
                self._crew.give(self._waiting.popleft())
            task, outcome = self._crew.wait()
            if task is None:
                self._started(outcome)
            elif task.slide in self._courses:
                self._take(task, outcome)  # else another share of the slide has failed

    def _begin_stage(self, slide: ListedSlide) -> None:
        course = self._courses[slide]
        stage = course.stages.pop(0)
        count = 1 if stage == STAGES[-1] else self._shares
        shares = [Share(number, count) for number in range(count)]
        self._waiting += [Task(slide, self._folders[slide], stage, share) for share in shares]
        course.out = count

    def _started(self, outcome: Outcome) -> None:
        """
        Raises:
            UserError: it failed, or several in turn were lost while they started.
        """
        self._lost_starts = self._lost_starts + 1 if outcome.status == "lost" else 0
        if outcome.status == "failed" or self._lost_starts == ATTEMPTS:
            raise UserError(outcome.reason)

    def _take(self, task: Task, outcome: Outcome) -> None:
        course = self._courses[task.slide]
        course.seconds += outcome.seconds
        if outcome.status == "lost" and task.attempt < ATTEMPTS:
            course.attempts += 1
            self._waiting.appendleft(task.again())
        elif outcome.status == "parts":
            course.out -= 1
            if not course.out:
                self._begin_stage(task.slide)
        else:
            self._end(task, outcome)

    def _end(self, task: Task, outcome: Outcome) -> None:
        course = self._courses.pop(task.slide)
        self._waiting = deque(each for each in self._waiting if each.slide != task.slide)
        self._tell(
            Row(
                task.slide.path,
                outcome.status if outcome.status in ENDS else "failed",
                course.seconds,
                outcome.nuclei,
                outcome.mm2,
                course.attempts,
                outcome.reason,
            )
        )
        if outcome.status == "stopped":
            raise DiskError(outcome.reason)
