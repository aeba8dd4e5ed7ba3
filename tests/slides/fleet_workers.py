"""Workers of the fleet's tests: stubs that load nothing, and one with a tiny model.

They travel to other processes, so that these must find this module: see `FOUND_BY_RAY`.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from finders import finder

from cfrsam_d2.apps.slide_fleet import SlideWorker
from cfrsam_d2.apps.slides import SlideOptions
from cfrsam_d2.errors import UserError
from cfrsam_d2.slides import lattice
from cfrsam_d2.slides.fleet.tasks import Outcome, Task
from cfrsam_d2.slides.lattice import Chunk
from cfrsam_d2.slides.parts import Parts

TESTS = Path(__file__).resolve().parents[1]
FOUND_BY_RAY = os.pathsep.join(
    [
        *map(str, (TESTS.parent, TESTS, TESTS / "slides", TESTS.parent / "benchmarks")),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class StubPlan:
    """Workers that do what a slide's name says; see `do`.

    Attributes:
        folder: where each notes what it has begun, one letter a task.
    """

    folder: Path
    fails: bool = False

    def build(self, *, alone: bool) -> "StubPlan":
        if self.fails:
            raise UserError("the config is not there")
        return self

    def __call__(self, task: Task) -> Outcome:
        name = task.slide.path.stem
        with (self.folder / name).open("a") as file:
            file.write(task.stage[0])
        if name == "fatal" or (name == "once" and task.attempt == 1):
            die()
        if name == "hangs":
            return Outcome("lost", reason="hangs.svs hangs")
        if name == "bad":
            return Outcome("failed", reason="bad.svs is bad")
        if task.stage != "files":
            return Outcome("parts", 1.0)
        return Outcome("done", 1.0, nuclei=7, mm2=0.5)


@dataclass(frozen=True)
class TinyPlan:
    """Workers with a model that finds discs, on chunks of 768 px.

    Attributes:
        weights: of the model.
        options: of the slides.
        killed: passes in whose middle a worker is killed once; `notes` tells that it was.
    """

    weights: Path
    options: SlideOptions
    killed: Sequence[str] = ()
    notes: Path = Path()

    def build(self, *, alone: bool) -> SlideWorker:
        lattice.CHUNK = 768
        write = Parts.write

        def deadly(parts: Parts, chunk: Chunk, table: pa.Table) -> None:
            write(parts, chunk, table)
            note = self.notes / parts.folder.name
            if parts.folder.name in self.killed and not note.exists():
                note.touch()
                die()

        Parts.write = deadly
        return SlideWorker(finder(self.weights), self.options, alone=alone)
