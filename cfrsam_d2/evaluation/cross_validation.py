"""The paper's Tables 1 to 4 from the scores of several splits, with its own numbers beside them."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from tabulate import tabulate

from . import paper_scores
from .tables import Row

Metrics = Mapping[str, Mapping[str, float | None]]  # a metrics.json

# Digits after the point, as the paper prints them.
_DIGITS = {"table_1": 4, "table_2": 4, "table_3": 2, "table_4": 3}


def paper_tables(
    model: str, masks: Sequence[Metrics], points: Sequence[Metrics]
) -> dict[str, list[Row]]:
    """Average the splits and lay them out as the paper does; unknown values are None.

    Args:
        model: "b" or "h", the one of the paper to compare with.
        masks: of each split, the scores of stage 2 on its test fold.
        points: likewise of stage 1, whose points are scored in Table 3.

    Returns:
        "table_1" (tissues), "table_2" (all of it; ± is over the splits here, and over 15
        evaluations in the paper), "table_3" (detection and classification) and "table_4" (PQ by
        class), each a list of rows.
    """
    return {
        "table_1": _tissue_table(model, masks),
        "table_2": _overall_table(model, masks),
        "table_3": _detection_table(masks, points),
        "table_4": _class_table(masks),
    }


def format_paper_tables(tables: Mapping[str, Sequence[Row]]) -> str:
    """The tables as text, with as many digits as in the paper_scores."""
    return "\n\n".join(
        f"{name.replace('_', ' ').capitalize()}\n"
        + tabulate(rows, headers="keys", floatfmt=f".{_DIGITS[name]}f", missingval="-")
        for name, rows in tables.items()
    )


def _tissue_table(model: str, splits: Sequence[Metrics]) -> list[Row]:
    rows = [
        _tissue_row(
            tissue,
            [_mean(split[pq][tissue] for split in splits) for pq in ("tissue_bpq", "tissue_mpq")],
            of_models[model],
        )
        for tissue, of_models in paper_scores.TISSUES.items()
    ]
    average = [_mean(split["segmentation"][name] for split in splits) for name in ("bPQ", "mPQ")]
    std = [_std(row[name] for row in rows) for name in ("bPQ", "mPQ")]
    rows.append(_tissue_row("Average", average, paper_scores.AVERAGE[model]))
    rows.append(_tissue_row("Std", std, paper_scores.STD[model]))
    return rows


def _tissue_row(name: str, scores: Sequence[float | None], of_paper: tuple[float, float]) -> Row:
    (bpq, mpq), (paper_bpq, paper_mpq) = scores, of_paper
    return {
        "tissue": name,
        "bPQ": bpq,
        "bPQ paper": paper_bpq,
        "mPQ": mpq,
        "mPQ paper": paper_mpq,
    }


def _overall_table(model: str, splits: Sequence[Metrics]) -> list[Row]:
    here: Row = {"model": "here"}
    of_paper: Row = {"model": _paper_name(model)}
    for name, (mean, std) in paper_scores.OVERALL[model].items():
        values = [split["segmentation"][name] for split in splits]
        here |= {name: _mean(values), f"{name} ±": _std(values)}
        of_paper |= {name: mean, f"{name} ±": std}
    return [of_paper, here]


def _detection_table(masks: Sequence[Metrics], points: Sequence[Metrics]) -> list[Row]:
    of_paper: Row = {"model": _paper_name("h")}
    for name, scores in {"": paper_scores.DETECTION, **paper_scores.CLASSIFICATION}.items():
        of_paper |= zip(_score_columns(name), scores, strict=True)
    return [
        of_paper,
        _detection_row("here, masks", masks),
        _detection_row("here, points", points),
    ]


def _detection_row(model: str, splits: Sequence[Metrics]) -> Row:
    row: Row = {"model": model}
    scores = ("P", "R", "F1")
    for column, score in zip(_score_columns(""), scores, strict=True):
        row[column] = _mean(split["detection"][score] for split in splits)
    for name in paper_scores.CLASSIFICATION:
        for column, score in zip(_score_columns(name), scores, strict=True):
            row[column] = _mean(split["classification"][f"{score}_{name}"] for split in splits)
    return row


def _score_columns(class_name: str) -> list[str]:
    """Of precision, recall and F1: of detection P, R, F1; of a class with its initial before it."""
    return [f"{class_name[:1].upper()} {score}".strip() for score in ("P", "R", "F1")]


def _class_table(splits: Sequence[Metrics]) -> list[Row]:
    here: Row = {"model": "here"}
    of_paper: Row = {"model": _paper_name("h")}
    for name, pq in paper_scores.CLASS_PQ.items():
        column = name[:1].upper()
        here[column] = _mean(split["class_pq"][name] for split in splits)
        of_paper[column] = pq
    return [of_paper, here]


def _paper_name(model: str) -> str:
    return f"CFR-SAM-{model.upper()}, paper"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _std(values: Iterable[float | None]) -> float | None:
    """Sample standard deviation, as in the paper_scores."""
    known = [value for value in values if value is not None]
    return stdev(known) if len(known) > 1 else None
