"""What was found on a slide and what it took, as JSON."""

import json
import platform
import resource
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from ..._version import __version__
from ...errors import UserError
from ...files import write_json
from ...remote_path import AnyPath

SUMMARY_NAME = "summary.json"  # comes last: where it is, the others are
Status = Literal["done", "empty", "partial"]
_PACKAGES = ("torch", "numpy", "shapely", "pyarrow", "openslide-python", "openslide-bin", "zarr")


@dataclass(frozen=True)
class Run:
    """What a run knows besides its nuclei.

    Attributes:
        slide: the reader's properties.
        mpp: µm per px of level 0.
        mpp_source: where it is from.
        tissue_mm2: area that was looked at.
        seconds: by pass, of this process.
        resumed: whether an earlier process did a part of them.
        seconds_waited: of those in which no pixels were there to work on.
        unreadable: tiles in px of the slide, x0, y0, x1, y1.
    """

    slide: dict[str, Any]
    mpp: float
    mpp_source: str
    tissue_mm2: float
    seconds: dict[str, float]
    resumed: bool
    seconds_waited: float
    unreadable: Sequence[tuple[int, int, int, int]]


def write_summary(
    tables: Iterable[pa.Table], path: Path, run: Run, class_names: Sequence[str]
) -> None:
    """Count nuclei, all and by class, and write them with what the run knows.

    Args:
        tables: of chunks; each is held for itself.
        path: of the file.
        run: what else is written.
        class_names: of the model.
    """
    counts = np.zeros(len(class_names), dtype=np.int64)
    for table in tables:
        counts += np.bincount(table["class_id"].to_numpy(), minlength=len(counts))
    total = sum(run.seconds.values())
    found = "done" if counts.any() else "empty"
    summary = {
        "status": "partial" if run.unreadable else found,
        "nuclei": int(counts.sum()),
        "nuclei_by_class": dict(zip(class_names, counts.tolist(), strict=True)),
        "tissue_mm2": run.tissue_mm2,
        "nuclei_per_mm2": _ratio(int(counts.sum()), run.tissue_mm2),
        "nuclei_per_mm2_by_class": {
            name: _ratio(int(count), run.tissue_mm2)
            for name, count in zip(class_names, counts, strict=True)
        },
        "mpp": run.mpp,
        "mpp_source": run.mpp_source,
        "slide": run.slide,
        "seconds": run.seconds,
        "resumed": run.resumed,
        "mm2_per_second": None if run.resumed else _ratio(run.tissue_mm2, total),
        "waiting": _ratio(run.seconds_waited, total),
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "unreadable_tiles": [list(box) for box in run.unreadable],
        "versions": _versions(),
    }
    write_json(path, summary)


class Found(NamedTuple):
    """What a summary says of a slide.

    Attributes:
        status: done, empty (without nuclei) or partial (with unreadable tiles).
        nuclei: their number.
        mm2: of tissue.
    """

    status: Status
    nuclei: int
    mm2: float


def read_found(path: Path) -> Found:
    """What was found on a slide, from its summary.

    Raises:
        UserError: it is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): run again") from None
    return found_in(content, path)


def found_in(content: bytes, path: AnyPath) -> Found:
    """
    Args:
        content: of a summary.
        path: what the error calls it.

    Raises:
        UserError: it is damaged.
    """
    try:
        summary = json.loads(content)
        return Found(summary["status"], int(summary["nuclei"]), float(summary["tissue_mm2"]))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it and run again") from None


def _ratio(value: float, by: float) -> float | None:
    """None where there is nothing to divide by."""
    return value / by if by else None


def _versions() -> dict[str, str]:
    versions = {"cfrsam_d2": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
