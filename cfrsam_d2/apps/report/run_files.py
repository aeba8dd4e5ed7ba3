"""The files of a run, each read and checked: what a report is made of can be drawn."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UserError
from ...structures.rle import rle_from_segmentation

AGAIN = "evaluate the run again"
_NAMES = ("image_id", "file_name", "tissue")  # columns of text
_OF_MASKS = ("bPQ", "mPQ", "DQ", "SQ", "AJI", "AJI+")
# Strict JSON has no NaN, Python's has; nesting and digits without end are errors of their own.
_DAMAGE = (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError)


def read_metrics(path: Path) -> dict[str, dict[str, float | None]]:
    """Groups of scores by name, of `metrics.json` of an evaluation.

    Raises:
        UserError: the file is missing or damaged.
    """

    def parse(text: str) -> dict[str, dict[str, float | None]]:
        return {
            group: {name: None if value is None else _number(value) for name, value in of.items()}
            for group, of in json.loads(text).items()
        }

    return _parsed(path, parse)


def read_image_scores(path: Path, *, has_masks: bool) -> dict[str, np.ndarray]:
    """The columns of numbers of `images.csv`; NaN where a cell is empty.

    Raises:
        UserError: the file is missing or damaged, or lacks a column.
    """
    table = _parsed(path, _columns)
    for name in ("n_gt", *(_OF_MASKS if has_masks else ())):
        if name not in table:
            raise UserError(f"{path} is damaged (it has no column {name}): {AGAIN}")
    return table


def read_curves(path: Path) -> tuple[list[dict[str, float]], int]:
    """The lines of `metrics.json` of a training; there may be none.

    A training that is killed leaves half a line, to which a resumed one adds its first.

    Returns:
        The lines, and how many are left out because they cannot be read.
    """
    if not path.exists():
        return [], 0
    texts = _parsed(path, str.splitlines)
    lines = [line for line in map(_curve_values, texts) if line is not None]
    return lines, len(texts) - len(lines)


def checked_nuclei(
    path: Path, nuclei: Iterable[Any], size: tuple[int, int], num_classes: int, *, has_masks: bool
) -> list[dict[str, Any]]:
    """The predicted nuclei of an image of H×W px, as far as a report needs them.

    Raises:
        UserError: one is damaged or does not belong to the image.
    """
    try:
        return [_nucleus(nucleus, size, num_classes, has_masks) for nucleus in nuclei]
    except _DAMAGE as error:  # UserError is a ValueError
        reason = f"a nucleus {error}" if isinstance(error, UserError) else _named(error)
        raise UserError(f"{path} is damaged ({reason}): {AGAIN}") from None


def _nucleus(
    record: dict[str, Any], size: tuple[int, int], num_classes: int, has_masks: bool
) -> dict[str, Any]:
    category = record["category_id"]
    if not isinstance(category, int) or not 0 <= category < num_classes:
        raise ValueError(f"there is no class {category!r}")
    nucleus = {"category_id": category, "score": _number(record["score"])}
    if has_masks:
        return nucleus | {"segmentation": rle_from_segmentation(record["segmentation"], *size)}
    x, y = (_number(value) for value in record["point"])
    return nucleus | {"point": [x, y]}


def _parsed(path: Path, parse: Callable[[str], Any]) -> Any:
    """
    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {AGAIN}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {AGAIN}") from None
    except (*_DAMAGE, csv.Error) as error:
        raise UserError(f"{path} is damaged ({_named(error)}): {AGAIN}") from None


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _columns(text: str) -> dict[str, np.ndarray]:
    header, *rows = csv.reader(io.StringIO(text))
    return {
        name: np.array([_number(float(value)) if value else np.nan for value in values])
        for name, values in zip(header, zip(*rows, strict=True), strict=True)
        if name not in _NAMES
    }


def _curve_values(line: str) -> dict[str, float] | None:
    """The numbers of a line, without those that a training that diverges has not; or None."""
    try:
        values = json.loads(line)
        iteration = _number(values["iteration"])
        numbers = {name: float(value) for name, value in values.items() if _is_number(value)}
    except _DAMAGE:
        return None
    return {name: value for name, value in numbers.items() if math.isfinite(value)} | {
        "iteration": iteration
    }


def _number(value: Any) -> float:
    if not _is_number(value) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
