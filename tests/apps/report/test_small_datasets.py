"""A page and figures about hardly anything say what is missing, in place of plots about it."""

import html
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from report_runs import NAME, Nucleus, make_dataset, make_run, rectangle

from cfrsam_d2.apps.report import build_page, read_comparison
from cfrsam_d2.apps.report.figures import comparison_picture, comparison_plots
from cfrsam_d2.apps.report.notes import notes
from cfrsam_d2.data.registration import unregister
from tools import compare_figures

Images = Sequence[Sequence[Nucleus]]
NONE: list[Nucleus] = []
ONE: list[Nucleus] = [(rectangle(4, 4, 16, 16), 0)]
OTHER: list[Nucleus] = [(rectangle(40, 40, 52, 52), 1)]

NO_NUCLEI = f"{NAME} has no nuclei: scores that need some are missing."
NO_LONG = f"{NAME} has no nuclei of long."
NOTHING = "run predicts no nuclei."
NO_MATCH = "No prediction of run matches a nucleus (IoU above 0.5)."
HALF_A_LINE = (
    "1 lines of the metrics.json of run cannot be read and are left out, as a training that is "
    "killed or has no room leaves half of one."
)
OF_IMAGES = ("bPQ of images", "mPQ of images", "AJI of images")
BY_SIZE = ("PQ by size", "found by size", "IoU by size", "bPQ by density")
CALIBRATION = ("Predicted and actual IoU", "Predictions")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    unregister(NAME)


def make(folder: Path, truth: Images, predicted: Images, *, masks: bool) -> Path:
    make_dataset(folder / "data", lambda index: truth[index], len(truth))
    return make_run(
        folder / "run", lambda index: predicted[index], masks=masks, num_images=len(truth)
    )


def page_text(*runs: Path) -> str:
    """The text of the report, without its tags, styles and scripts."""
    page = build_page(read_comparison(runs), 3)
    page = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", page))


@pytest.mark.parametrize(
    ("truth", "predicted", "noted", "missing"),
    [
        ([NONE, NONE], [NONE, NONE], [NO_NUCLEI, NOTHING], [*OF_IMAGES, *BY_SIZE, *CALIBRATION]),
        ([NONE, NONE], [ONE, NONE], [NO_NUCLEI, NO_MATCH], [*OF_IMAGES, *BY_SIZE]),
        ([ONE, NONE], [NONE, NONE], [NO_LONG, NOTHING], [BY_SIZE[2], *CALIBRATION]),
        ([ONE], [OTHER], [NO_LONG, NO_MATCH], [BY_SIZE[2]]),
        ([ONE], [ONE], [NO_LONG], []),
    ],
)
def test_plots_that_would_show_nothing_are_named(
    truth: Images, predicted: Images, noted: list[str], missing: list[str], folder: Path
) -> None:
    comparison = read_comparison([make(folder, truth, predicted, masks=True)])
    assert notes(comparison) == [*noted, HALF_A_LINE]
    figures, sentence = comparison_plots(comparison)
    found = sentence.removeprefix("Not drawn, as no run has a value: ").removesuffix(".")
    assert [title for title in found.split(", ") if title] == list(missing)
    everything = {*OF_IMAGES, *BY_SIZE, *CALIBRATION} - set(missing)
    assert figures.keys() == {title.lower().replace(" ", "_") for title in everything}


def test_a_page_and_figures_of_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(folder, [NONE, NONE], [NONE, NONE], masks=True)
    text = page_text(run)
    for sentence in (NO_NUCLEI, NOTHING, "2 images with 0 nuclei", HALF_A_LINE):
        assert sentence in text
    for titles in (OF_IMAGES, BY_SIZE, CALIBRATION):
        assert f"Not drawn, as no run has a value: {', '.join(titles)}." in text
    capsys.readouterr()
    compare_figures.main([str(run), "--output", str(folder / "figures")])
    printed = capsys.readouterr().out
    for sentence in (NO_NUCLEI, NOTHING, "Not drawn", "Figures are in"):
        assert sentence in printed
    assert [path.name for path in (folder / "figures").iterdir()] == ["nuclei.png"]


def test_points_and_masks_of_nothing(folder: Path) -> None:
    points = make(folder, [ONE, NONE], [NONE, NONE], masks=False)
    masks = make_run(folder / "masks", lambda _: NONE, masks=True, num_images=2)
    text = page_text(points, masks)
    assert "run predicts no nuclei." in text
    assert "masks predicts no nuclei." in text
    assert "undecided" in text


def test_scores_that_are_all_undefined(folder: Path) -> None:
    """As of a run whose tables were emptied: they are dashes, and the plots are left out."""
    run = make(folder, [ONE, OTHER], [ONE, ONE], masks=True)
    scores = run / "inference" / NAME
    header, *rows = (scores / "images.csv").read_text().splitlines()
    count = header.count(",") - 2
    empty = [",".join([*row.split(",")[:3], *[""] * count]) for row in rows]
    (scores / "images.csv").write_text("\n".join([header, *empty]) + "\n")
    metrics = json.loads((scores / "metrics.json").read_text())
    nulls = {group: dict.fromkeys(values) for group, values in metrics.items()}
    (scores / "metrics.json").write_text(json.dumps(nulls))
    text = page_text(run, Path(shutil.copytree(run, folder / "copy")))
    assert f"Not drawn, as no run has a value: {', '.join(OF_IMAGES)}." in text
    assert "Not drawn, as no run has a value: bPQ by density." in text


def test_a_run_without_training(folder: Path) -> None:
    run = make(folder, [ONE], [ONE], masks=True)
    (run / "metrics.json").unlink()
    said = "run has no training curves: its folder has no metrics.json of them."
    assert notes(read_comparison([run])) == [NO_LONG, said]


@pytest.mark.parametrize("masks", [True, False])
def test_nuclei_of_unknown_class_have_a_row_and_a_colour(folder: Path, masks: bool):
    unknown = [(mask, -1) for mask, _ in OTHER]
    run = make(folder, [[*ONE, *unknown], unknown], [[*ONE, *OTHER], NONE], masks=masks)
    comparison = read_comparison([run])
    page = build_page(comparison, 2)
    assert ".c-1{--class:rgb(220, 220, 220)" in page
    assert "unknown in 1.png" in page  # the missed one
    row = re.search(r'<th scope="row">unknown</th>(.*?)</tr>', page)
    assert row is not None
    assert re.findall(r">(\d+)</td>", row[1]) == ["0", "1", "1"]
    (analysis,) = comparison.analyses
    assert analysis.unknown.tolist() == [[0, 1, 0], [0, 0, 1]]
    picture = comparison_picture(comparison, [0, 1])
    assert (picture == (220, 220, 220)).all(axis=-1).any()


def test_unknown_nuclei_alone_are_noted(folder: Path):
    run = make(folder, [[(mask, -1) for mask, _ in ONE]], [ONE], masks=True)
    note, *_ = notes(read_comparison([run]))
    assert note.startswith(f"The nuclei of {NAME} are of unknown class")
