"""What a worker is given to do, and what it answers."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

from ...remote_path import AnyPath
from ..parts import WHOLE, Share
from ..slide_list import ListedSlide

STAGES = ("points", "masks", "files")  # of a slide; the last one is not shared
ENDS = ("done", "empty", "partial", "failed")  # of a slide


@dataclass(frozen=True)
class Task:
    """A piece of work that may be done twice: all it leaves are complete files.

    Attributes:
        slide: to work on.
        folder: of its results.
        stage: "points" and "masks" make parts of the share's chunks, "files" all that is missing.
        share: of the chunks.
        attempt: from 1 on.
    """

    slide: ListedSlide
    folder: AnyPath
    stage: str
    share: Share = WHOLE
    attempt: int = 1

    def again(self) -> "Task":
        return replace(self, attempt=self.attempt + 1)


Result = Literal["done", "empty", "partial", "failed", "parts", "ready", "lost", "stopped"]


class Outcome(NamedTuple):
    """
    Attributes:
        status: one of `ENDS` when the stage was "files"; "parts" of other stages; "ready" of a
            worker that has started; "lost" where it ended in the middle, and "stopped" where no
            other slide can be done, either.
        seconds: that it took.
        nuclei, mm2: of the slide, when it is done.
        reason: of what went wrong.
    """

    status: Result
    seconds: float = 0.0
    nuclei: int | None = None
    mm2: float | None = None
    reason: str = ""


class Worker(Protocol):
    """Holds a model and does tasks one by one."""

    def __call__(self, task: Task) -> Outcome: ...


class WorkerPlan(Protocol):
    """What a worker is built from where it shall work; it travels there."""

    def build(self, *, alone: bool) -> Worker:
        """Load the model; `alone`: with all cores, as there are no other workers."""
        ...


class Crew(Protocol):
    """Several workers. One that is lost is replaced by the crew, its task is not.

    Attributes:
        size: how many there are when all have started.
    """

    size: int

    @property
    def idle(self) -> bool:
        """Whether a worker waits for a task."""
        ...

    def give(self, task: Task) -> None:
        """Let an idle worker do a task."""
        ...

    def wait(self) -> tuple[Task | None, Outcome]:
        """The next outcome of a task, or (None) of a worker's start."""
        ...
