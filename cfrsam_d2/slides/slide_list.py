"""The slides of a run: files, folders of them, and lists with a resolution and a mask for each."""

import csv
import io
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.image_files import visible_files
from ..errors import UserError
from ..remote_path import AnyPath, RemotePath, path_or_url
from .remote import look_up

# What folders are searched for. Others can be named: a DICOM slide by one of its many files.
SUFFIXES = {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu"}
COLUMNS = ("path", "mpp", "mask")


@dataclass(frozen=True)
class ListedSlide:
    """
    Attributes:
        path: of the file, or its URL.
        mpp: µm/px in place of what it says.
        mask: a file of its tissue.
    """

    path: AnyPath
    mpp: float | None = None
    mask: AnyPath | None = None


def list_slides(words: Iterable[AnyPath], output: AnyPath) -> list[ListedSlide]:
    """The slides that a command line names, sorted by their files' names.

    Args:
        words: slides, which may be missing; `.csv` files with the columns path and, if wanted, mpp
            and mask; and folders.
        output: folder of the results, which are no slides.

    Raises:
        UserError: a list or folder cannot be read or holds no slide, or a line cannot be used.
    """
    slides = [slide for word in words for slide in _slides_of(word, output)]
    return sorted(slides, key=lambda slide: (slide.path.name, str(slide.path)))


def largest_first(slides: Iterable[ListedSlide]) -> list[ListedSlide]:
    """By the size of the files: so none of them is begun when all others are done."""
    return sorted(slides, key=lambda slide: -_bytes(slide.path))


def _slides_of(word: AnyPath, output: AnyPath) -> list[ListedSlide]:
    if isinstance(word, RemotePath):
        return [ListedSlide(word)]
    if word.suffix.lower() == ".csv":
        return list(_read_list(word))
    if word.is_dir():
        return [ListedSlide(path) for path in _in_folder(word, output)]
    return [ListedSlide(word)]


def _in_folder(folder: Path, output: AnyPath) -> list[Path]:
    own = output.resolve() if isinstance(output, Path) else None
    files = [each for each in visible_files(folder) if own not in each.resolve().parents]
    slides = [each for each in files if each.suffix.lower() in SUFFIXES]
    if not slides:
        raise UserError(f"{folder} has no slides: put {', '.join(sorted(SUFFIXES))} files there")
    if others := len(files) - len(slides):
        print(f"{folder}: left out {others} files of other kinds than slides", file=sys.stderr)
    return slides


def _read_list(path: Path) -> Iterator[ListedSlide]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): save it as UTF-8") from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    _check_columns(path, rows.fieldnames or ())
    found = False
    for row in rows:
        found = True
        yield _listed(row, path, rows.line_num)
    if not found:
        raise UserError(f"{path} lists no slide: give it a line for each")


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if "path" not in names:
        raise UserError(
            f"{path} has no column path in its first line, which is {','.join(names)!r}: name the "
            f"columns {', '.join(COLUMNS)}"
        )
    if unknown := [name for name in names if name not in COLUMNS]:
        raise UserError(
            f"{path} has a column {unknown[0]!r}: take out all but {', '.join(COLUMNS)}"
        )


def _listed(row: dict[str, str | None], path: Path, line: int) -> ListedSlide:
    place = f"{path}, line {line}"
    if None in row:  # where the csv module puts what lies beyond the columns
        raise UserError(f"{place} has more cells than the first line: quote a path that has commas")
    cells = {name: (cell or "").strip() for name, cell in row.items()}
    if not cells["path"]:
        raise UserError(f"{place}: path is empty: name a slide, or take the line out")
    mask = cells.get("mask")
    return ListedSlide(
        _beside(path, cells["path"]),
        _mpp(cells.get("mpp"), place),
        _beside(path, mask) if mask else None,
    )


def _beside(path: Path, cell: str) -> AnyPath:
    """What a cell names: relative paths are relative to the list."""
    named = path_or_url(cell)
    return named if isinstance(named, RemotePath) else path.parent / named


def _mpp(cell: str | None, place: str) -> float | None:
    if not cell:
        return None
    try:
        mpp = float(cell)
    except ValueError:
        mpp = math.nan
    if not 0 < mpp < math.inf:
        raise UserError(f"{place}: mpp is {cell!r}: give µm per px, like 0.25, or leave it empty")
    return mpp


def _bytes(path: AnyPath) -> int:
    """Of a slide's file; 0 where there is none, which its own turn will tell."""
    try:
        return look_up(path).size if isinstance(path, RemotePath) else path.stat().st_size
    except (OSError, UserError):
        return 0
