"""Tables as HTML. All text is escaped here."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ...evaluation.bootstrap import Difference, Interval
from ...evaluation.tables import Row
from ...structures.coco import UNKNOWN_NAME

MISSING = "–"


class Column(NamedTuple):
    """A column of scores.

    Attributes:
        group: heading that neighbouring columns share.
        title: heading of the column.
        values: by the name of the row; what is missing or None is shown as a dash.
        is_paper: a number of the paper, which takes no part in what is best here.
    """

    group: str
    title: str
    values: Mapping[str, float | None]
    is_paper: bool = False


def score_table(
    caption: str, corner: str, rows: Sequence[str], columns: Sequence[Column], *, digits: int = 4
) -> str:
    """Scores by row and column; where several runs stand in a group, the best one is bold.

    Args:
        caption: of the table.
        corner: what the rows are.
        rows: their names.
        columns: neighbours with one `group` come under one heading.
        digits: after the point.
    """
    groups: dict[str, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.group, []).append(column)
    heads = "".join(
        f'<th scope="colgroup" colspan="{len(of_group)}">{html.escape(group)}</th>'
        for group, of_group in groups.items()
    )
    titles = "".join(
        f'<th scope="col">{html.escape(column.title)}</th>'
        for of_group in groups.values()
        for column in of_group
    )
    body = "".join(
        f'<tr><th scope="row">{html.escape(row)}</th>'
        + "".join(_score_cells(row, of_group, digits) for of_group in groups.values())
        + "</tr>"
        for row in rows
    )
    head = f'<tr><th rowspan="2" scope="col">{html.escape(corner)}</th>{heads}</tr>'
    return _table(caption, f"{head}<tr>{titles}</tr>", body)


def row_table(caption: str, rows: Sequence[Row]) -> str:
    """A table as it is: texts, whole numbers and scores."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in rows[0])
    body = ""
    for row in rows:
        first, *others = row.values()
        cells = "".join(f"<td>{_text(value)}</td>" for value in others)
        body += f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>'
    return _table(caption, f"<tr>{head}</tr>", body, "plain")


def confusion_table(
    caption: str, confusion: np.ndarray, class_names: Sequence[str], unknown: np.ndarray
) -> str:
    """Counts of paired nuclei; how dark a cell is tells its share of the row.

    Args:
        caption: of the table.
        confusion: (K+1, K+1), see `PairCounts`.
        class_names: K names.
        unknown: (K+1,), see `PairCounts`; a row of its own, unless it is all 0.
    """
    rows = list(zip([*class_names, "false positive"], confusion.tolist(), strict=True))
    rows[-1][1].pop()  # neither there nor predicted
    if unknown.any():
        rows.append((UNKNOWN_NAME, unknown.tolist()))
    titles = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in class_names)
    head = (
        '<tr><th rowspan="2" scope="col">ground truth</th>'
        f'<th scope="colgroup" colspan="{len(class_names) + 1}">predicted</th></tr>'
        f'<tr>{titles}<th scope="col">missed</th></tr>'
    )
    body = ""
    for name, counts in rows:
        total = sum(counts) or 1
        cells = "".join(f'<td style="--share:{count / total:.3f}">{count}</td>' for count in counts)
        body += f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>'
    return _table(caption, head, body, "confusion")


def interval_table(caption: str, of_runs: Mapping[str, Mapping[str, Interval]]) -> str:
    """Each run's scores, and between what they lie."""
    names = dict.fromkeys(name for scores in of_runs.values() for name in scores)
    rows = []
    for name in names:
        row: Row = {"score": name}
        for run, scores in of_runs.items():
            row[run] = _interval(scores[name]) if name in scores else MISSING
        rows.append(row)
    return row_table(caption, rows)


def seed_table(caption: str, of_runs: Sequence[Mapping[str, Interval]]) -> str:
    """The mean of the runs' scores and their standard deviation."""
    rows = []
    for name in of_runs[0]:
        values = [scores[name].value for scores in of_runs]
        rows.append(
            {"score": name, "mean": np.mean(values).item(), "std": np.std(values, ddof=1).item()}
        )
    return row_table(caption, rows)


def _interval(score: Interval) -> str:
    return f"{number(score.value)} [{number(score.low)}, {number(score.high)}]"


def difference_table(
    caption: str, first: str, second: str, differences: Mapping[str, Difference]
) -> str:
    """Scores of two runs, their difference with its interval, and the verdict."""
    head = "".join(
        f'<th scope="col">{html.escape(title)}</th>'
        for title in ("score", first, second, "difference", "95 % interval", "")
    )
    body = ""
    for name, each in differences.items():
        verdict = ("better" if each.value > 0 else "worse") if each.is_certain else "undecided"
        body += (
            f'<tr class="{verdict}"><th scope="row">{html.escape(name)}</th>'
            f"<td>{number(each.first)}</td><td>{number(each.second)}</td>"
            f"<td>{number(each.value, sign=True)}</td>"
            f"<td>{number(each.low, sign=True)} … {number(each.high, sign=True)}</td>"
            f"<td>{verdict}</td></tr>"
        )
    return _table(caption, f"<tr>{head}</tr>", body, "plain")


def number(value: float | None, digits: int = 4, *, sign: bool = False) -> str:
    """A number as text, or a dash for None and NaN."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _score_cells(row: str, columns: Sequence[Column], digits: int) -> str:
    """The cells of a row below one heading."""
    ours = [column.values.get(row) for column in columns if not column.is_paper]
    known = [value for value in ours if value is not None]
    cells = ""
    for column in columns:
        value = column.values.get(row)
        kind = "paper" if column.is_paper else "score"
        if kind == "score" and len(known) > 1 and value == max(known):
            kind = "score" if row.endswith("_std") else "score best"
        cells += f'<td class="{kind}">{number(value, digits)}</td>'
    return cells


def _text(value: object) -> str:
    return number(value) if isinstance(value, float) else html.escape(str(value))


def _table(caption: str, head: str, body: str, kind: str = "") -> str:
    """A table that scrolls by itself where the page is narrow."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(caption)}">'
        f'<table class="{kind}"><caption>{html.escape(caption)}</caption>'
        f"<thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )
