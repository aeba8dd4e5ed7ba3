"""The plots of the report, as matplotlib figures; several runs are lines of one plot.

Every function takes what it draws of each run by the run's name, or None where there is nothing. A
run has the same colour, dash and marker in all plots, so that none depends on colour alone. A
figure in which no run has anything `is_empty`, and is not to be rendered.
"""

import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from ...data.palette import line_colors
from ...evaluation.tables import Row

# Of text and axes; in the page, whose text may be light, this very colour is replaced by its own.
_INK = "#101014"
_DASHES = ("-", "--", "-.", ":")
_MARKERS = "os^DvP"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "report",  # the same figure gives the same file
    "text.parse_math": False,  # names are no formulas
    "font.size": 9,
    "legend.frameon": False,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color", "axes.titlecolor"), _INK),
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.8,
}

Curve = tuple[np.ndarray, np.ndarray]  # x and y


def line_plot(
    title: str,
    x_label: str,
    y_label: str,
    curves: Mapping[str, Curve | None],
    *,
    of_scores: bool = False,
) -> Figure:
    """A line for each run, with markers where there are few points.

    Args:
        title: of the plot.
        x_label, y_label: of the axes.
        curves: of the runs by name.
        of_scores: the y axis is from 0 to 1.
    """
    with _axes(title, x_label, y_label) as (figure, axes):
        for name, (x, y), style in _styled(curves):
            marker = style["marker"] if len(x) <= 30 else None
            axes.plot(x, y, label=name, **{**style, "marker": marker})
        if of_scores:
            axes.set_ylim(0, 1)
        _legend(axes, curves)
    return figure


def size_plot(title: str, y_label: str, curves: Mapping[str, Curve | None]) -> Figure:
    """A score, 0..1, against the area of nuclei on a logarithmic axis."""
    figure = line_plot(title, "area of the nucleus, px", y_label, curves, of_scores=True)
    (axes,) = figure.axes
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    return figure


def histogram(title: str, x_label: str, values: Mapping[str, np.ndarray | None]) -> Figure:
    """How many images have which score, 0..1; NaN are left out."""
    with _axes(title, x_label, "images") as (figure, axes):
        edges = np.linspace(0, 1, 21)
        for name, scores, style in _styled(values):
            known = scores[~np.isnan(scores)]
            if not known.size:
                continue
            counts, _ = np.histogram(known, edges)
            color = style["color"]
            axes.stairs(counts, edges, fill=True, color=color, alpha=0.25)
            axes.stairs(counts, edges, color=color, linestyle=style["linestyle"], label=name)
        axes.set_xlim(0, 1)
        axes.set_ylim(0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes, values)
    return figure


def calibration_plot(tables: Mapping[str, Sequence[Row] | None]) -> Figure:
    """Predicted against actual IoU (of `calibration_table`), beside the diagonal."""
    with _axes("Predicted and actual IoU", "predicted IoU", "actual IoU") as (figure, axes):
        for name, rows, style in _styled(tables):
            predicted = [row["predicted"] for row in rows]
            axes.plot(predicted, [row["actual"] for row in rows], label=name, **style)
        axes.axline((0, 0), slope=1, color=_INK, linewidth=1, alpha=0.5, zorder=1)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        _legend(axes, tables)
    return figure


def score_bars(tables: Mapping[str, Sequence[Row] | None]) -> Figure:
    """How many predictions have which score, the runs side by side in each tenth."""
    with _axes("Predictions", "predicted IoU", "predicted nuclei") as (figure, axes):
        width = 0.08 / len(tables)
        for index, (name, rows, style) in enumerate(_styled(tables)):
            left = np.array([row["from"] for row in rows]) + 0.01 + index * width
            counts = [row["nuclei"] for row in rows]
            axes.bar(left, counts, width, align="edge", color=style["color"], label=name)
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes, tables)
    return figure


def is_empty(figure: Figure) -> bool:
    """Whether no run has anything in a figure of one of the functions above."""
    (axes,) = figure.axes
    return not axes.get_legend_handles_labels()[1]


def inline_svg(figure: Figure) -> str:
    """A figure as an SVG element, which takes the text colour of the page.

    Args:
        figure: of one of the functions above; a page has no two of one title.
    """
    label = figure.axes[0].get_title()
    text = _rendered(figure, "svg").decode()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # Ids would be those of the other figures on the page, too.
    prefix = re.sub(r"\W+", "-", label)
    text = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r'(<svg [^>]*?)\swidth="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg [^>]*?)\sheight="[^"]*"', r"\1", text, count=1)
    # Its style would be that of the whole page; the page has it for plots.
    text = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    role = f'class="plot" role="img" aria-label="{html.escape(label)}"'
    return text.replace("<svg ", f"<svg {role} ", 1)


def figure_file(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a file, dark on a transparent ground.

    Args:
        figure: of one of the functions above.
        kind: "svg" or "pdf".
    """
    return _rendered(figure, kind)


def _rendered(figure: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        # Without a date, the same figure gives the same file.
        date = "Date" if kind == "svg" else "CreationDate"
        figure.savefig(file, format=kind, transparent=True, metadata={date: None})
    return file.getvalue()


@contextmanager
def _axes(title: str, x_label: str, y_label: str) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(axis="y")
        yield figure, axes


def _styled(runs: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, data and style of each run of which there are data."""
    for index, (name, data) in enumerate(runs.items()):
        color = line_colors(index + 1)[index]
        if data is not None:
            style = {
                "color": "#{:02x}{:02x}{:02x}".format(*color),
                "linestyle": _DASHES[index % len(_DASHES)],
                "marker": _MARKERS[index % len(_MARKERS)],
            }
            yield name, data, style


def _legend(axes: Axes, names: Mapping[str, object]) -> None:
    if len(names) > 1 and axes.get_legend_handles_labels()[1]:
        axes.legend()
