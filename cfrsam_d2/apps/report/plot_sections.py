"""Sections of plots: training, scores of images, size and density, predicted IoU.

A section takes the comparison and gives HTML, or "" where it has nothing to say.
"""

import html
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ...evaluation.tables import Row
from . import plots, tables
from .breakdowns import calibration_error, calibration_table, density_table, size_table
from .comparison import Comparison
from .names import curve_name
from .run import Run

_DENSITY_AREA = 10_000  # px
_SCORES_OF_IMAGES = ("bPQ", "mPQ", "AJI")

TablesOfRuns = Mapping[str, Sequence[Row] | None]  # None: a run without masks


def training(comparison: Comparison) -> str:
    """Losses, learning rate and validation score."""
    return _plots(_training_figures(comparison.runs))


def distribution(comparison: Comparison) -> str:
    """How many images have which score."""
    return _plots(distribution_figures(comparison))


def size_and_density(comparison: Comparison) -> str:
    """Scores against the size of nuclei and against how many there are."""
    if not comparison.with_masks:
        return ""
    numbers = [(f"By size, {name}", rows) for name, rows in _size_tables(comparison).items()]
    numbers += [(f"By density, {name}", rows) for name, rows in _density_tables(comparison).items()]
    return (
        "<p>Found is the share of ground-truth nuclei with a match (IoU above 0.5), IoU the mean "
        "over matches. Points stand for equally many ground-truth nuclei, or images.</p>"
        + _plots(size_figures(comparison))
        + _numbers(numbers)
    )


def calibration(comparison: Comparison) -> str:
    """Predicted against actual IoU."""
    if not comparison.with_masks:
        return ""
    rows_of_runs = _calibration_tables(comparison)
    errors = "; ".join(
        f"{html.escape(name)}: <strong>{tables.number(calibration_error(rows), 3)}</strong>"
        for name, rows in rows_of_runs.items()
        if rows is not None
    )
    return (
        "<p>A prediction's score is the IoU that the model expects; the actual one is the largest "
        "with a ground-truth nucleus. On the diagonal both agree. Expected calibration error: "
        f"{errors}.</p>"
        + _plots(calibration_figures(comparison))
        + _numbers((f"By predicted IoU, {name}", rows) for name, rows in rows_of_runs.items())
    )


def distribution_figures(comparison: Comparison) -> list[Figure]:
    """Histograms of the scores of images."""
    if not comparison.with_masks:
        name, values = comparison.image_scores
        of_runs = {run.name: each for run, each in zip(comparison.runs, values, strict=True)}
        return [plots.histogram(f"{name} of images", name, of_runs)]
    return [
        plots.histogram(
            f"{name} of images",
            name,
            {run.name: run.image_scores.get(name) for run in comparison.runs},
        )
        for name in _SCORES_OF_IMAGES
    ]


def size_figures(comparison: Comparison) -> list[Figure]:
    """Scores by size and by density; at least one run must have masks."""
    sizes, densities = _size_tables(comparison), _density_tables(comparison)
    by_density = plots.line_plot(
        "bPQ by density",
        f"nuclei in {_DENSITY_AREA:,} px of the image",
        "bPQ",
        _columns(densities, "density", "score"),
        of_scores=True,
    )
    by_size = [
        plots.size_plot(f"{key} by size", key, _columns(sizes, "area", key))
        for key in ("PQ", "found", "IoU")
    ]
    return [*by_size, by_density]


def calibration_figures(comparison: Comparison) -> list[Figure]:
    """Predicted IoU against actual IoU, and its distribution; a run must have masks."""
    rows_of_runs = {name: rows or None for name, rows in _calibration_tables(comparison).items()}
    return [plots.calibration_plot(rows_of_runs), plots.score_bars(rows_of_runs)]


def empty_plots(figures: Sequence[Figure]) -> str:
    """A sentence about plots that are left out, or ""."""
    titles = [each.axes[0].get_title() for each in figures if plots.is_empty(each)]
    return f"Not drawn, as no run has a value: {', '.join(titles)}." if titles else ""


def _training_figures(runs: Sequence[Run]) -> list[Figure]:
    names = {name for run in runs for line in run.curves for name in line}
    losses = sorted(name for name in names if "loss" in name)
    others = dict.fromkeys(["lr", *(run.best_metric for run in runs)])
    return [
        plots.line_plot(
            curve_name(name), "iteration", "", {run.name: _curve(run, name) for run in runs}
        )
        for name in (*losses, *others)
        if name in names
    ]


def _curve(run: Run, name: str) -> plots.Curve | None:
    # After a resumption, iterations come again; the last value counts.
    values = {line["iteration"]: line[name] for line in run.curves if name in line}
    return tuple(np.array(sorted(values.items())).T) if values else None


def _size_tables(comparison: Comparison) -> TablesOfRuns:
    return comparison.of_masks(lambda run, outlines: size_table(outlines))


def _density_tables(comparison: Comparison) -> TablesOfRuns:
    densities = np.array(
        [
            _DENSITY_AREA * len(image["annotations"]) / (image["height"] * image["width"])
            for image in comparison.dataset.images
        ]
    )
    return comparison.of_masks(lambda run, _: density_table(densities, run.image_scores["bPQ"]))


def _calibration_tables(comparison: Comparison) -> TablesOfRuns:
    return comparison.of_masks(
        lambda run, outlines: calibration_table(outlines.scores, outlines.ious)
    )


def _columns(rows_of_runs: TablesOfRuns, x: str, y: str) -> dict[str, plots.Curve | None]:
    return {name: _column_pair(rows or (), x, y) for name, rows in rows_of_runs.items()}


def _column_pair(rows: Sequence[Row], x: str, y: str) -> plots.Curve | None:
    """Two columns of numbers, without rows in which the second one is undefined."""
    known = [(row[x], row[y]) for row in rows if not np.isnan(row[y])]
    return tuple(np.array(known).T) if known else None


def _plots(figures: Sequence[Figure]) -> str:
    content = "".join(plots.inline_svg(each) for each in figures if not plots.is_empty(each))
    missing = empty_plots(figures)
    return (f'<div class="plots">{content}</div>' if content else "") + (
        f"<p>{html.escape(missing)}</p>" if missing else ""
    )


def _numbers(named_rows: Iterable[tuple[str, Sequence[Row] | None]]) -> str:
    content = "".join(tables.row_table(name, rows) for name, rows in named_rows if rows)
    if not content:
        return ""
    return f'<details><summary>Numbers</summary><div class="tables">{content}</div></details>'
