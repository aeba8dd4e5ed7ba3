"""Writing files and folders so that nobody ever sees half of one."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from iopath.common.file_io import file_lock

from .errors import UserError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to, and rename it to `path` unless the block raises."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the one lock of `folder` among processes; others wait for it.

    Raises:
        UserError: the parent folder cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = file_lock(str(folder.with_name(f".{folder.name}")))
        lock.acquire()
    except OSError as error:
        raise UserError(
            f"cannot write in {folder.parent} ({error.strerror}): "
            "set DETECTRON2_DATASETS to a folder that you can write to"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def replaced_folder(folder: Path, made_with: str) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` unless the block raises.

    Call it under `folder_lock(folder)`.

    Args:
        folder: what shall exist afterwards.
        made_with: a file that every folder written this way contains; an existing folder without
            it belongs to somebody else and is not touched.

    Raises:
        UserError: `folder` exists and was not written this way.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / made_with).is_file():
        raise UserError(
            f"{folder} exists and holds other files (no {made_with}): "
            "move it away, or choose another output folder"
        )
    partial = folder.with_name(f".{folder.name}.partial")
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    shutil.rmtree(old, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
