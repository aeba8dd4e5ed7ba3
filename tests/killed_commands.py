"""Commands in processes of their own, which end or are killed, and the files that they leave."""

import hashlib
import os
import runpy
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "configs" / "train_demo"
# Processes are forked from one that has imported these: else most kills would meet imports.
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *(f"cfrsam_d2.apps.{name}" for name in ("train", "predict", "slide_fleet")),
        "cfrsam_d2.slides.writers.spatial",
    ]
)


@dataclass(frozen=True)
class Command:
    """
    Attributes:
        script: below the project's root.
        arguments: the same each time.
        output: the folder that it writes to.
    """

    script: str
    arguments: Sequence[str]
    output: Path

    def run(self, kill_after: float | None = None) -> float:
        """Run it to its end, or kill it after some seconds; how long it took."""
        start = time.monotonic()
        process = self.start()
        process.join(kill_after)
        process.kill()
        process.join()
        if kill_after is None:
            assert process.exitcode == 0, self._log.read_text()
        return time.monotonic() - start

    def start(self) -> BaseProcess:
        process = FORKS.Process(target=_call, args=(self.script, self.arguments, self._log))
        process.start()
        return process

    def results(self) -> dict[str, str]:
        """The digest of each file that it has left, but for those that tell times."""
        files = (path for path in self.output.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.output)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if not self._tells_times(path)
        }

    @property
    def _log(self) -> Path:
        return self.output.with_name(f"{self.output.name}.log")

    def _tells_times(self, path: Path) -> bool:
        name = path.relative_to(self.output)
        of_training = name.match("log.txt") or name.match("metrics.json") or name.match("events.*")
        return path.name in ("summary.json", "fleet.csv") or (
            path.parent == self.output and of_training
        )


def _call(script: str, arguments: Sequence[str], log: Path) -> None:
    """Run a script as Python does, with one thread, its output into a file."""
    torch.set_num_threads(1)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [script, *arguments]
    runpy.run_path(str(ROOT / script), run_name="__main__")
