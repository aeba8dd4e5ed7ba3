"""The paper's tables from scores that are known."""

from statistics import fmean, stdev
from typing import Any

import pytest

from cfrsam_d2.data.converters.pannuke_layout import PANNUKE_CLASSES, PANNUKE_TISSUES
from cfrsam_d2.evaluation import paper_scores
from cfrsam_d2.evaluation.cross_validation import format_paper_tables, paper_tables

TISSUES = [name.replace("-", "_") for name in PANNUKE_TISSUES]


def metrics(value: float, **tissue_bpq: float | None) -> dict[str, dict[str, float | None]]:
    """A metrics.json of which bPQ is `value`, mPQ half of it, and class k's PQ, P, R, F1 higher."""
    by_class = {name: value + k / 100 for k, name in enumerate(PANNUKE_CLASSES)}
    scores: dict[str, Any] = {
        "segmentation": {"bPQ": value, "mPQ": value / 2, "AJI": value / 4},
        "tissue_bpq": {**dict.fromkeys(TISSUES, value), **tissue_bpq},
        "tissue_mpq": dict.fromkeys(TISSUES, value / 2),
        "class_pq": by_class,
        "detection": {"P": value, "R": value / 2, "F1": value / 4},
    }
    scores["classification"] = {
        f"{score}_{name}": pq / divisor
        for score, divisor in (("P", 1), ("R", 2), ("F1", 4))
        for name, pq in by_class.items()
    }
    return scores


MASKS = [metrics(0.3), metrics(0.6, Colon=0.0, Liver=None), metrics(0.6, Colon=0.9, Liver=None)]
POINTS = [metrics(0.1), metrics(0.2), metrics(0.3)]


@pytest.fixture
def tables() -> dict[str, list[dict[str, Any]]]:
    return paper_tables("b", MASKS, POINTS)


def test_tissues_are_averaged_over_splits_where_known(tables: dict) -> None:
    rows = {row["tissue"]: row for row in tables["table_1"]}
    assert list(rows) == [*TISSUES, "Average", "Std"]
    assert rows["Breast"] == {
        "tissue": "Breast",
        "bPQ": pytest.approx(0.5),
        "bPQ paper": 0.6781,
        "mPQ": pytest.approx(0.25),
        "mPQ paper": 0.5261,
    }
    assert rows["Colon"]["bPQ"] == pytest.approx(0.4)
    assert rows["Liver"]["bPQ"] == pytest.approx(0.3)
    # The average is the splits' own; the deviation is over the tissues of the averaged splits.
    assert rows["Average"]["bPQ"] == pytest.approx(0.5)
    assert rows["Std"]["bPQ"] == pytest.approx(stdev([0.5] * 17 + [0.4, 0.3]))
    assert rows["Std"]["mPQ"] == pytest.approx(0, abs=1e-12)


def test_deviation_of_the_whole_is_over_splits(tables: dict) -> None:
    of_paper, here = tables["table_2"]
    assert of_paper["model"] == "CFR-SAM-B, paper"
    assert (of_paper["bPQ"], of_paper["bPQ ±"], of_paper["AJI"]) == (0.6923, 0.0020, 0.6865)
    assert here["bPQ"] == pytest.approx(0.5)
    assert here["bPQ ±"] == pytest.approx(stdev([0.3, 0.6, 0.6]))
    assert here["AJI"] == pytest.approx(0.125)


def test_detection_has_masks_and_points(tables: dict) -> None:
    of_paper, masks, points = tables["table_3"]
    assert list(of_paper) == list(masks) == list(points)
    assert list(of_paper)[:7] == ["model", "P", "R", "F1", "N P", "N R", "N F1"]
    assert (of_paper["model"], of_paper["F1"], of_paper["D R"]) == ("CFR-SAM-H, paper", 0.83, 0.42)
    assert (masks["P"], masks["R"], masks["F1"]) == pytest.approx((0.5, 0.25, 0.125))
    # Epithelial is the last of PanNuke's classes, the second of the paper's.
    assert (points["E P"], points["E R"], points["E F1"]) == pytest.approx((0.24, 0.12, 0.06))


def test_class_pq(tables: dict) -> None:
    of_paper, here = tables["table_4"]
    assert of_paper == {
        "model": "CFR-SAM-H, paper",
        "N": 0.599,
        "E": 0.589,
        "I": 0.428,
        "C": 0.433,
        "D": 0.153,
    }
    assert here == pytest.approx(
        {"model": "here", "N": 0.5, "E": 0.54, "I": 0.51, "C": 0.52, "D": 0.53}
    )


def test_text_has_the_digits_of_the_paper(tables: dict) -> None:
    lines = {line.split("  ")[0]: line for line in format_paper_tables(tables).splitlines()}
    assert lines["Breast"].split()[1:] == ["0.5000", "0.6781", "0.2500", "0.5261"]
    assert lines["here, masks"].split()[2:4] == ["0.50", "0.25"]
    assert [name for name in lines if name.startswith("Table")] == [f"Table {n}" for n in "1234"]


def test_a_single_split_has_no_deviation() -> None:
    tables = paper_tables("h", MASKS[:1], POINTS[:1])
    assert tables["table_2"][1]["mPQ ±"] is None
    assert " - " in format_paper_tables(tables)


@pytest.mark.parametrize("model", ["b", "h"])
def test_the_papers_last_rows_follow_from_its_tissues(model: str) -> None:
    assert list(paper_scores.TISSUES) == TISSUES
    for index in (0, 1):
        values = [of_models[model][index] for of_models in paper_scores.TISSUES.values()]
        assert fmean(values) == pytest.approx(paper_scores.AVERAGE[model][index], abs=1e-4)
        assert stdev(values) == pytest.approx(paper_scores.STD[model][index], abs=1e-4)
