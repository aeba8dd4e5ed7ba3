"""The folder of a run: one process has it, and what stays in it is what is meant to stay."""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError
from ..files import write_bytes

LOCK_NAME = ".lock"
_PERIODIC = re.compile(r"model_\d{7,}\.pth")  # as Detectron2 names them, by iteration
_KEPT_WEIGHTS = ("model_best.pth", "model_final.pth")


@contextmanager
def locked_folder(path: str) -> Iterator[None]:
    """Make OUTPUT_DIR and have it alone, until the block or this process ends.

    Raises:
        UserError: the folder cannot be made or written to, or another process has it.
    """
    try:
        os.makedirs(path, exist_ok=True)
        lock = open(os.path.join(path, LOCK_NAME), "a")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR {path!r} cannot be made or written to ({error.strerror}): name a folder "
            "that can"
        ) from None
    with lock:
        _lock(lock.fileno(), path)
        yield


def _lock(descriptor: int, path: str) -> None:
    try:
        # Unlike flock's, this lock is not inherited: no loader's worker outlives the process with
        # it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            return  # a file system without locks
        raise UserError(
            f"another training or evaluation is running in OUTPUT_DIR {path!r}: wait for its end, "
            "or choose another OUTPUT_DIR (and name the weights in MODEL.WEIGHTS)"
        ) from None


def last_checkpoint(folder: str) -> Path | None:
    """The checkpoint that a run in `folder` is resumed from; None where there is none.

    Raises:
        UserError: the one that is named is not there.
    """
    tag = Path(folder) / "last_checkpoint"
    if not os.path.isfile(tag):
        return None
    name = tag.read_text(errors="replace").strip()
    path = Path(folder) / name
    if path.parent != tag.parent or "\0" in name or not os.path.isfile(path):
        raise UserError(
            f"{tag} names {name!r}, which is no file of that folder: write the name of a "
            "checkpoint into it, such as model_final.pth"
        )
    return path


def check_unused(folder: str) -> None:
    """
    Raises:
        UserError: there are weights of an earlier training, which a new one would overwrite.
    """
    names = ("last_checkpoint", *_KEPT_WEIGHTS)
    if found := [name for name in names if os.path.exists(os.path.join(folder, name))]:
        raise UserError(
            f"OUTPUT_DIR {folder!r} has an earlier training ({found[0]}): continue it with "
            "--resume, choose another OUTPUT_DIR, or move that one away"
        )


def remove_leftovers(folder: str, iteration: int) -> list[str]:
    """Remove what processes that were killed have left, but for what a run goes on from.

    Args:
        folder: of the run, which this process has alone.
        iteration: of the checkpoint from which it goes on.

    Returns:
        The latest periodic checkpoint up to that iteration, if any: all others are gone.
    """
    for path in (*Path(folder).glob(".*.partial"), *Path(folder).glob("inference/*/.*.partial")):
        if path.is_file():
            path.unlink()
    periodic = sorted(
        (path for path in Path(folder).glob("model_*.pth") if _PERIODIC.fullmatch(path.name)),
        key=_iteration,
    )
    kept = [path for path in periodic if _iteration(path) <= iteration][-1:]
    for path in periodic:
        if path not in kept:
            path.unlink()
    return [str(path) for path in kept]


def _iteration(checkpoint: Path) -> int:
    return int(checkpoint.stem.removeprefix("model_"))


def forget_lines(metrics: Path, start_iter: int) -> None:
    """Leave out of the JSON lines of a training what comes again, and a line that was cut short.

    Args:
        metrics: the file; it need not be there.
        start_iter: the iteration from which the training goes on.
    """
    if not metrics.is_file():
        return
    lines = metrics.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _is_before(line, start_iter)]
    if kept != lines:
        write_bytes(metrics, b"".join(kept))


def _is_before(line: bytes, iteration: int) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["iteration"] < iteration
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
