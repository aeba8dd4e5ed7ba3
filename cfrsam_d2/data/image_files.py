"""The images that are named on a command line, and the names of what is made from them."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .image import IMAGE_SUFFIXES

# What `ExportFolder` writes for an image; its record tells that a folder is of a run.
RECORD_NAME = "config.yaml"
LABEL_MAP = "{}.tiff"
OVERLAY = "{}_overlay.png"
_RECORD_HAS = "META_ARCHITECTURE"
_OF_RESULTS = "of the results of an earlier run"
_OF_OTHER_KINDS = "of other kinds than images"
_SHOWN = 3  # names of what is left out

logger = logging.getLogger(__name__)


class InputImage(NamedTuple):
    """An image file, and its path below the folder that was named (else its bare name)."""

    path: Path
    relative: Path

    @property
    def name(self) -> str:
        """The start of its output files' names, folders included."""
        return str(self.relative.with_name(self.relative.stem))


def find_images(inputs: Sequence[Path], output: Path) -> list[InputImage]:
    """List files, and the images of folders and of folders in them, in order of their names.

    Linked folders are walked, too, and every file is taken once. Left out of folders are hidden
    files and folders, what lies in the output folder, other files than images, and results of an
    earlier run; the log says how many of the last three there are, and names some.

    Args:
        inputs: image files and folders.
        output: the folder that results go to.

    Raises:
        UserError: an input does not exist, a folder has no images or cannot be read, results would
            go where images are, or those of two images would have one name.
    """
    output = output.resolve()
    images: dict[Path, InputImage] = {}
    for path in inputs:
        for image in _images_of(path, output):
            images.setdefault(_place(image.path), image)
    seen: dict[str, Path] = {}
    for image in images.values():
        key = image.name.casefold()  # some file systems do not tell cases apart
        if key in seen:
            raise UserError(
                f"results of {seen[key]} and {image.path} would both be named {image.name}: "
                "rename one, or run them with different --output"
            )
        seen[key] = image.path
    return list(images.values())


def visible_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder once, in order of names, through links but not in circles.

    Raises:
        UserError: a folder cannot be read.
    """
    return _walk(folder, set())


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    seen.add(_place(folder))
    try:
        children = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): make it readable, or move it away"
        ) from None
    # Linked ones last, so that what lies here as well keeps its own name.
    for path in sorted(children, key=Path.is_symlink):
        if _place(path) in seen:
            continue
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            seen.add(_place(path))
            yield path


def _place(path: Path) -> Path:
    """Where a path leads to; unlike `Path.resolve`, also of a link to itself."""
    return Path(os.path.realpath(path))


def _images_of(path: Path, output: Path) -> Iterable[InputImage]:
    if not path.exists():
        raise UserError(f"{path} does not exist: name image files or folders of images")
    folder = path if path.is_dir() else path.parent
    if output in (folder.resolve(), *folder.resolve().parents):
        raise UserError(
            f"--output {output} holds the input {path}, which results could overwrite: "
            "name another folder"
        )
    if not path.is_dir():
        return [InputImage(path, Path(path.name))]
    files = [file for file in visible_files(path) if output not in _place(file).parents]
    left_out = _left_out(sorted(files))
    _log(left_out, path)
    found = [file for file in sorted(files) if file not in left_out]
    if not found:
        raise UserError(
            f"{path} has no images{_counts(left_out)}: put {', '.join(IMAGE_SUFFIXES)} files there"
        )
    return [InputImage(file, file.relative_to(path)) for file in found]


def _left_out(files: Sequence[Path]) -> dict[Path, str]:
    """Why files are left out, by file."""
    images = {file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()}
    results = _results(files, images)
    return {
        file: _OF_RESULTS if file in results else _OF_OTHER_KINDS
        for file in files
        if file in results or file not in images
    }


def _results(files: Sequence[Path], images: set[Path]) -> set[Path]:
    """What is named as a result, below the record of a run, and overlays beside their images."""
    runs = {file.parent for file in files if _is_record(file)}
    stems = {file.with_suffix("") for file in images}
    ending = OVERLAY.format("")
    results = set()
    for file in files:
        is_overlay = file.name.endswith(ending)
        beside = is_overlay and file.with_name(file.name.removesuffix(ending)) in stems
        named = file not in images or is_overlay or file.suffix == LABEL_MAP.format("")
        if beside or (named and not runs.isdisjoint(file.parents)):
            results.add(file)
    return results


def _is_record(file: Path) -> bool:
    try:
        return file.name == RECORD_NAME and _RECORD_HAS in file.read_text(errors="replace")
    except OSError:
        return False


def _log(left_out: dict[Path, str], root: Path) -> None:
    if left_out:
        names = [str(file.relative_to(root)) for file in left_out]
        more = ", …" if len(names) > _SHOWN else ""
        shown = ", ".join(names[:_SHOWN])
        logger.warning("%s%s: %s%s", root, _counts(left_out), shown, more)


def _counts(left_out: dict[Path, str]) -> str:
    counts: dict[str, int] = defaultdict(int)
    for reason in left_out.values():
        counts[reason] += 1
    listed = " and ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return f" (left out {listed})" if listed else ""
