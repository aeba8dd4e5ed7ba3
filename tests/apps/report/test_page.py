"""The page says what the files say, of one run and of several, and every name is escaped."""

import json
import re
import shutil
from pathlib import Path

import pytest
from page_content import by_row, read_page
from report_runs import CLASSES, NAME

from cfrsam_d2.apps.report import build_page, read_comparison
from cfrsam_d2.apps.report.names import score_name
from cfrsam_d2.apps.report.score_sections import scores
from cfrsam_d2.evaluation import paper_scores
from cfrsam_d2.evaluation.lost_quality import KINDS

Pages = dict[str, str]


@pytest.fixture(scope="module")
def pages(runs: dict[str, Path]) -> Pages:
    several = {
        "good": ["good"],
        "both": ["good", "poor"],
        "points": ["points"],
        "mixed": list(runs),
    }
    return {
        name: build_page(read_comparison([runs[each] for each in of_page]), 6)
        for name, of_page in several.items()
    }


def metrics(folder: Path) -> dict[str, dict[str, float | None]]:
    return json.loads((folder / "inference" / NAME / "metrics.json").read_text())


def text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def test_every_number_of_metrics_json_is_in_its_table(pages: Pages, runs: dict[str, Path]):
    tables = read_page(pages["both"]).tables
    good, poor = metrics(runs["good"]), metrics(runs["poor"])
    for caption, group in (("Segmentation", "segmentation"), ("PQ of classes", "class_pq")):
        rows = by_row(tables[caption])
        for key, value in good[group].items():
            of_both, name = [value, poor[group][key]], score_name(key)
            # What no run has, is left out.
            assert rows.get(name) == (None if of_both == [None, None] else [*map(text, of_both)])
    tissues = by_row(tables["Tissues"])
    for name in ("Bile_duct", "Colon"):
        groups = ("tissue_bpq", "tissue_mpq")
        assert tissues[name] == [text(run[group][name]) for group in groups for run in (good, poor)]
    detection = by_row(tables["Detection and classification"])
    both = (good, poor)
    assert detection["all"] == [text(r["detection"][s]) for s in ("P", "R", "F1") for r in both]
    for name in CLASSES:
        found = [text(r["classification"][f"{s}_{name}"]) for s in ("P", "R", "F1") for r in both]
        assert detection[name] == found


def test_what_is_lost_adds_up_to_what_is_missing(pages: Pages, runs: dict[str, Path]):
    rows = by_row(read_page(pages["both"]).tables["What is missing to 1"])
    for column, (score, name) in enumerate(
        (s, n) for s in ("bPQ", "mPQ") for n in ("good", "poor")
    ):
        lost = sum(float(rows[kind][column]) for kind in KINDS)
        missing = 1 - metrics(runs[name])["segmentation"][score]
        assert lost == pytest.approx(missing, abs=0.0004)
    assert float(rows["false positive"][0]) == 0
    assert float(rows["false positive"][1]) > 0.1


def test_intervals_hold_the_scores(pages: Pages, runs: dict[str, Path]):
    rows = by_row(read_page(pages["mixed"]).tables["Scores with intervals"])
    for number, name in enumerate(("good", "poor")):
        value, low, high = map(float, re.findall(r"[\d.]+", rows["bPQ"][number]))
        assert value == pytest.approx(metrics(runs[name])["segmentation"]["bPQ"], abs=1e-4)
        assert low <= value <= high
    assert rows["bPQ"][2] == "–"  # of points
    assert "[" in rows["F1 of detection"][2]


def test_seeds_of_one_config_have_a_mean_and_a_deviation(runs: dict[str, Path], tmp_path: Path):
    folders = []
    for seed, name in enumerate(("good", "poor")):
        folders.append(tmp_path / f"seed{seed}")
        shutil.copytree(runs[name], folders[-1])
        config = folders[-1] / "config.yaml"
        config.write_text(f"{config.read_text()}SEED: {seed}\nOUTPUT_DIR: {name}\n")
    tables = read_page(build_page(read_comparison(folders), 2)).tables
    mean, std = by_row(tables["Over 2 seeds: seed0, seed1"])["bPQ"]
    scores = [metrics(folder)["segmentation"]["bPQ"] for folder in folders]
    assert float(mean) == pytest.approx(sum(scores) / 2, abs=1e-4)
    assert float(std) == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5, abs=1e-4)
    # Of one seed, or of another config, there is nothing to average.
    config.write_text(f"{config.read_text()}SOLVER: {{MAX_ITER: 7}}\n")
    page = build_page(read_comparison(folders), 2)
    assert not [caption for caption in read_page(page).tables if caption.startswith("Over")]


def test_differences_are_those_of_the_scores(pages: Pages, runs: dict[str, Path]):
    rows = by_row(read_page(pages["both"]).tables["poor against good"])
    good, poor = metrics(runs["good"]), metrics(runs["poor"])
    names = {
        "bPQ": ("segmentation", "bPQ"),
        "mPQ": ("segmentation", "mPQ"),
        "bPQ, mean over images": ("segmentation", "bPQ_image"),
        "mPQ, mean over images": ("segmentation", "mPQ_image"),
        "AJI": ("segmentation", "AJI"),
        "AJI+": ("segmentation", "AJI_plus"),
        "DQ": ("segmentation", "DQ"),
        "SQ": ("segmentation", "SQ"),
        "PQ of long": ("class_pq", "long"),
        "F1 of detection": ("detection", "F1"),
    }
    for row, (group, name) in names.items():
        first, second, difference, interval, verdict = rows[row]
        assert (first, second) == (text(good[group][name]), text(poor[group][name]))
        assert difference == f"{poor[group][name] - good[group][name]:+.4f}"
        low, high = (float(each) for each in interval.split(" … "))
        assert low <= float(difference) <= high
        assert verdict == ("worse" if high < 0 else "undecided")
    assert rows["AJI"][-1] == "worse"


def test_one_run_has_no_differences_and_several_have(pages: Pages):
    assert 'id="differences"' not in pages["good"]
    assert 'id="differences"' in pages["both"]


def test_confusion_and_errors(pages: Pages):
    tables = read_page(pages["both"]).tables
    first, second = CLASSES
    confusion = by_row(tables["Classes, good"])
    # Twenty nuclei, of which the first and third of an image are of the first class.
    assert (confusion[first], confusion[second]) == (["12", "0", "0"], ["0", "8", "0"])
    assert confusion["false positive"] == ["0", "0"]
    assert by_row(tables["Classes, poor"])["false positive"] == ["0", "9"]
    heads = tables["Nuclei of poor"][0]
    everything = dict(zip(heads, tables["Nuclei of poor"][1], strict=True))
    assert everything["false positive"] == "9"
    assert "poor: false positive (9)" in pages["both"]
    assert "poor: merged (0)" in pages["both"]


def test_names_are_escaped_everywhere(pages: Pages):
    for page in pages.values():
        assert "<b>" not in page
        assert "&lt;b&gt;&amp;&quot;" in page


@pytest.mark.parametrize("name", ["good", "both", "points", "mixed"])
def test_ids_are_unique_links_lead_somewhere_and_nothing_is_fetched(pages: Pages, name: str):
    content = read_page(pages[name])
    assert len(set(content.ids)) == len(content.ids)
    for link in content.links:
        assert link.startswith("data:") or link.removeprefix("#") in content.ids, link
    for _, target in re.findall(r"url\((['\"]?)([^)'\"]*)\1\)", pages[name]):
        assert target.removeprefix("#") in content.ids
    assert pages[name].count("<style") == 1  # one of a plot would be that of the whole page


def test_points_have_no_sections_about_masks(pages: Pages):
    page = pages["points"]
    for section in ("size-and-density", "predicted-iou"):
        assert f'id="{section}"' not in page
    assert "Best by F1" in page
    titles = {"Detection and classification", "Classes, points", "Nuclei of points"}
    titles.add("Scores with intervals")
    assert set(read_page(page).tables) == titles


def test_errors_of_points(pages: Pages):
    """The good run finds every centre; the table counts them, and there are no examples."""
    table = read_page(pages["points"]).tables["Nuclei of points"]
    assert table[0] == ["class", "nuclei", "found", "missed", "predicted", "false positive"]
    assert table[1] == ["all", "20", "20", "0", "20", "0"]
    assert "points: missed (0)" in pages["points"]
    assert "merged" not in pages["points"]


def test_runs_of_both_stages_share_what_they_have(pages: Pages):
    page = pages["mixed"]
    tables = read_page(page).tables
    assert len(by_row(tables["Segmentation"])["bPQ"]) == 2
    assert len(by_row(tables["Detection and classification"])["all"]) == 9
    assert list(by_row(tables["points against good"])) == [
        "score",
        "F1 of detection",
        "mean F1 of classes",
    ]
    assert "Best by mean F1 of the runs" in page


def test_training_is_drawn_where_there_was_one(pages: Pages, runs: dict[str, Path]):
    for title in ("loss, all terms", "loss, auxiliary mask", "learning rate", "validation: bPQ"):
        assert f'aria-label="{title}"' in pages["good"]
    comparison = read_comparison([runs["good"]])
    without = comparison._replace(runs=[_without_curves(comparison.runs[0])])
    assert 'id="training"' not in build_page(without, 3)


def _without_curves(run):
    return type(run)(**{**vars(run), "curves": []})


def test_the_same_runs_give_the_same_page(pages: Pages, runs: dict[str, Path]):
    assert build_page(read_comparison([runs["good"]]), 6) == pages["good"]


def test_the_paper_stands_beside_the_datasets_that_it_has(runs: dict[str, Path]):
    comparison = read_comparison([runs["good"]])
    for name, of_papers in (
        ("cpm17_test", [paper_scores.CPM17["AJI"], 0.740, 0.743]),
        ("monuseg_test", [paper_scores.MONUSEG["AJI"], 0.689]),
    ):
        beside = comparison._replace(dataset=_named(comparison.dataset, name))
        row = by_row(read_page(scores(beside)).tables["Segmentation"])["AJI"]
        assert row[1:] == [f"{aji:.4f}" for aji in of_papers]
    beside = comparison._replace(dataset=_named(comparison.dataset, "pannuke_fold3"))
    tables = read_page(scores(beside)).tables
    assert by_row(tables["Segmentation"])["bPQ"][1:] == ["0.6923", "0.6956", "0.6924", "0.6980"]
    colon = by_row(tables["Tissues"])["Colon"]
    assert colon[1:3] + colon[4:] == ["0.6080", "0.6113", "0.4681", "0.4706"]
    assert by_row(tables["Detection and classification"])["all"][1::2] == [
        "0.8200",
        "0.8400",
        "0.8300",
    ]
    assert len(by_row(read_page(scores(comparison)).tables["Segmentation"])["AJI"]) == 1


def _named(dataset, name: str):
    return type(dataset)(**{**vars(dataset), "name": name})
