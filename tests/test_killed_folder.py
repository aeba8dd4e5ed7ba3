"""A folder's replacement that is killed at each of its steps: old or new data are always there."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cfrsam_d2 import files
from cfrsam_d2.files import folder_lock, replaced_folder

ROOT = Path(__file__).resolve().parents[1]
STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
KILLED = 9
FILES = ("record", "images/1", "images/2")


def write(folder: Path, content: str) -> None:
    with folder_lock(folder), replaced_folder(folder, made_with="record") as partial:
        (partial / "images").mkdir()
        for name in FILES:
            (partial / name).write_text(content)


def contents(folder: Path) -> str | None:
    """What is in all the files of a folder; None if one is missing or differs."""
    try:
        found = {(folder / name).read_text() for name in FILES}
    except OSError:
        return None
    return found.pop() if len(found) == 1 else None


def die() -> None:
    os._exit(KILLED)


def interrupt() -> None:
    raise KeyboardInterrupt


STOPS = {"die": die, "interrupt": interrupt}


def write_and_stop(folder: Path, step: int, stop: Callable[[], None]) -> bool:
    """Write new data in a process of its own that is stopped before a step.

    Returns:
        Whether it was stopped.
    """
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _: tuple) -> None:
            nonlocal left
            left -= event in STEPS
            if left < 0:
                left = sys.maxsize  # once
                stop()

        sys.addaudithook(count)
        try:
            write(folder, "new")
        except BaseException:
            os._exit(KILLED)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


@pytest.fixture(scope="module")
def stopped_writer() -> Iterator[Callable[..., bool]]:
    """`write_and_stop` of a process that is soon forked: this one has imported much more."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, env=environment, **pipes) as process:

        def ask(folder: Path, step: int, stop: str) -> bool:
            print(json.dumps([str(folder), step, stop]), file=process.stdin)
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.mark.parametrize(("first", "stop"), [(None, "die"), ("old", "die"), ("old", "interrupt")])
def test_it_may_be_stopped_at_every_step(
    first: str | None,
    stop: str,
    stopped_writer: Callable[..., bool],
    tmp_path: Path,
) -> None:
    stopped = True
    step = 0
    while stopped:
        root = tmp_path / str(step)
        root.mkdir()
        folder = root / "data"
        if first:
            write(folder, first)
        stopped = stopped_writer(folder, step, stop)
        kept = {contents(each) for each in (folder, root / ".data.old", root / ".data.new")}
        assert first is None or kept & {"old", "new"}, (step, kept)
        was_complete = "new" in kept

        # A run that fails as soon as it reads its inputs finds the data in their place.
        with pytest.raises(ZeroDivisionError), replaced_folder(folder, made_with="record"):
            _ = 1 / 0
        assert (contents(folder) is not None) == (first is not None or was_complete)
        write(folder, "next")
        assert contents(folder) == "next"
        assert {path.name for path in root.iterdir()} == {".data.lock", "data"}, step
        step += 1
    assert step > 10


if __name__ == "__main__":
    files._sync = lambda _: None  # slow, and no step that shows
    for line in sys.stdin:
        folder, step, stop = json.loads(line)
        print(json.dumps(write_and_stop(Path(folder), step, STOPS[stop])), flush=True)
