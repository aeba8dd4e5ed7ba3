"""Commands of the project run one after the other, each with a log and a bar of its time left."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]


class Steps:
    """Runs commands from the project's root and says which of how many it is at."""

    def __init__(self, folder: Path, count: int) -> None:
        """
        Args:
            folder: of the logs, below the root.
            count: how many steps there are.
        """
        self.folder, self.count, self.number = folder, count, 0
        (ROOT / folder).mkdir(parents=True, exist_ok=True)

    def run(self, title: str, *command: str, seconds: int) -> None:
        """Run a Python command that takes about so many seconds; see `_run`."""
        start = time.monotonic()
        self._run(title, command, seconds, "s", lambda: int(time.monotonic() - start))

    def train(self, title: str, *command: str, folder: Path, iterations: int) -> None:
        """Run a training of so many iterations, whose OUTPUT_DIR is `folder`; see `_run`."""
        metrics = ROOT / folder / "metrics.json"
        metrics.unlink(missing_ok=True)  # of an earlier training
        self._run(title, command, iterations, "it", lambda: iterations_done(metrics))

    def _run(
        self, title: str, command: tuple[str, ...], total: int, unit: str, done: Callable[[], int]
    ) -> None:
        """Run a command; the program exits with the end of its log if it fails."""
        self.number += 1
        print(f"\nStep {self.number} of {self.count}: {title}\n$ python {' '.join(command)}")
        log = ROOT / self.folder / f"step{self.number}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )
            with tqdm(total=total, unit=unit) as bar:
                while process.poll() is None:
                    time.sleep(0.5)
                    bar.update(max(min(done(), total - 1) - bar.n, 0))
                if not process.returncode:
                    bar.update(total - bar.n)
        if process.returncode:
            print("\n".join(log.read_text().splitlines()[-20:]), file=sys.stderr)
            sys.exit(f"error: step {self.number} failed: the whole output is in {log}")


def iterations_done(metrics: Path) -> int:
    """By the JSON lines that a training writes."""
    text = metrics.read_text() if metrics.is_file() else ""
    lines = text.rpartition("\n")[0].splitlines()  # the last may be half written
    return json.loads(lines[-1])["iteration"] + 1 if lines else 0


def scores(folder: Path, dataset: str) -> dict[str, dict[str, float]]:
    """What an evaluation has written into its OUTPUT_DIR."""
    return json.loads((ROOT / folder / "inference" / dataset / "metrics.json").read_text())
