"""Writing files and folders so that nobody ever sees half of one.

What has its name is complete and on the disk: data are synced before they are renamed, and the
folder after it. A file `x` is written as `.x.partial`. A folder `x` is made as `.x.partial`, is
`.x.new` once complete, and what it replaces is `.x.old` until it has its place.

Errors of writing become a `UserError` here, and nowhere else.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from iopath.common.file_io import file_lock

from .errors import DiskError, UserError

_ELSEWHERE = "choose another place (--output, OUTPUT_DIR or DETECTRON2_DATASETS)"
_DISK_REMEDIES = {
    errno.ENOSPC: f"make room, or {_ELSEWHERE}",
    errno.EDQUOT: f"make room, or {_ELSEWHERE}",
    errno.EROFS: _ELSEWHERE,
    errno.EIO: f"check the disk, or {_ELSEWHERE}",
}
_IN_THE_WAY = f"move away what has that name, or {_ELSEWHERE}"
_REMEDIES = {
    errno.EACCES: f"get the right to write there, or {_ELSEWHERE}",
    errno.EPERM: f"get the right to write there, or {_ELSEWHERE}",
    errno.EFBIG: f"allow larger files there (`ulimit -f`), or {_ELSEWHERE}",
    errno.ENAMETOOLONG: "give it a shorter name",
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY), _IN_THE_WAY),
}
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # of folders on some network file systems
_SYNCS_AT_ONCE = 8  # the disk takes them together: 0.2 ms a file in place of 3 to 10 ms


@contextmanager
def write_errors_named(path: str | Path) -> Iterator[None]:
    """
    Raises:
        UserError: the block could not write `path`; `DiskError` if no other file could be, either.
    """
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error
    except RuntimeError as error:  # what torch.save makes of a file's error
        if not isinstance(error.__context__, OSError):
            raise
        raise _write_error(path, error.__context__) from error


def _write_error(path: str | Path, error: OSError) -> UserError:
    kind = DiskError if error.errno in _DISK_REMEDIES else UserError
    remedy = (_DISK_REMEDIES | _REMEDIES).get(error.errno or 0, _ELSEWHERE)
    return kind(f"cannot write {path} ({error.strerror or error}): {remedy}")


def is_disk_error(error: BaseException) -> bool:
    """Whether it says that nothing can be written: the disk is full, say."""
    return isinstance(error, OSError) and error.errno in _DISK_REMEDIES


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, unless they are there.

    Raises:
        UserError: it cannot be made.
    """
    with write_errors_named(folder):
        if not folder.is_dir():
            make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            _sync(folder.parent)


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to, and rename it to `path` unless the block raises.

    Raises:
        UserError: the file or its folder cannot be written, or another process is at it.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    make_folder(path.parent)
    with write_errors_named(path), open(partial, "ab") as claimed:
        if not _claim(claimed, partial):
            raise UserError(f"another process is writing {path}: wait for it, or {_ELSEWHERE}")
        try:
            yield partial
            _sync(partial)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def _claim(file: BinaryIO, path: Path) -> bool:
    """Whether this process alone has the file of that name; it has it until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return True  # some network file systems have no locks


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to a file."""
    with written_whole(path) as partial:
        partial.write_bytes(data)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as compact JSON."""
    write_bytes(path, json.dumps(data, separators=(",", ":")).encode())


def png_bytes(image: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 RGB image as the content of a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image."""
    write_bytes(path, png_bytes(image))


def add_png(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image into a new folder of `replaced_folder`.

    That is not there before it is complete, and is synced as a whole: this is quicker.
    """
    with write_errors_named(path):
        path.write_bytes(png_bytes(image))


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the one lock of `folder` among processes; others wait for it.

    Raises:
        UserError: the parent folder cannot be written to.
    """
    folder = folder.resolve()
    make_folder(folder.parent)
    with write_errors_named(folder):
        lock = file_lock(str(folder.with_name(f".{folder.name}")))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def kept_file(path: Path, make: Callable[[], None]) -> Iterator[None]:
    """Make a file that has a folder for itself, once among processes, unless it is there.

    As long as the block runs, `delete_unless_kept` leaves that folder alone.

    Raises:
        UserError: the folder cannot be written to.
    """
    with _open_lock(path.parent) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        while not path.exists():  # from one kind of lock to the other, both are free
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make()
            fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(path.parent)
        yield


def delete_unless_kept(folder: Path) -> bool:
    """Delete the folder of a file that no process makes or keeps (`kept_file`).

    Returns:
        Whether none did.
    """
    with _open_lock(folder) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        _delete(folder)
        return True


@contextmanager
def _open_lock(folder: Path) -> Iterator[BinaryIO]:
    """A file beside a folder, for locks of both kinds."""
    make_folder(folder.parent)
    path = folder.with_name(f".{folder.name}.lock")
    with write_errors_named(path):
        path.touch()
    with open(path, "ab") as lock:
        yield lock


@contextmanager
def replaced_folder(folder: Path, made_with: str) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` unless the block raises.

    Call it under `folder_lock(folder)`. What a killed process has left is put right first.

    Args:
        folder: what shall exist afterwards.
        made_with: a file that every folder written this way contains; an existing folder without
            it belongs to somebody else and is not touched.

    Raises:
        UserError: `folder` exists and was not written this way, or cannot be written.
    """
    folder = folder.resolve()
    partial = folder.with_name(f".{folder.name}.partial")
    with write_errors_named(folder):
        _put_back(folder, made_with)
        if _has_files(folder) and not (folder / made_with).is_file():
            raise UserError(
                f"{folder} exists and holds other files (no {made_with}): "
                "move it away, or choose another output folder"
            )
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    try:
        yield partial
        with write_errors_named(folder):
            _sync_tree(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    with write_errors_named(folder):
        _take_place(folder, partial)


def _put_back(folder: Path, made_with: str) -> None:
    """Give a folder without its files those from before a kill: the old, else the new ones."""
    for kind in ("old", "new"):
        kept = folder.with_name(f".{folder.name}.{kind}")
        if not _has_files(folder) and (kept / made_with).is_file():
            kept.replace(folder)
            _sync(folder.parent)


def _has_files(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _take_place(folder: Path, partial: Path) -> None:
    """Let a complete folder take the place of `folder`, and delete what was there after that."""
    new, old = (folder.with_name(f".{folder.name}.{kind}") for kind in ("new", "old"))
    _delete(new)
    partial.rename(new)
    if folder.exists():
        _delete(old)
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    _delete(old)


def _delete(folder: Path) -> None:
    """Delete a folder if it is there; half deleted, it has no name of a complete one."""
    rubbish = folder.with_name(f"{folder.name}.rubbish")
    shutil.rmtree(rubbish, ignore_errors=True)
    if folder.exists():
        folder.rename(rubbish)
        shutil.rmtree(rubbish, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Wait until all in a folder is on the disk."""
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
        list(pool.map(_sync, [folder, *folder.rglob("*")]))


def _sync(path: Path) -> None:
    """Wait until the content of a file or the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
