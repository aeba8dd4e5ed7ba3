"""Both commands about finished runs: what they write, and how they say what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from page_content import read_page
from PIL import Image
from report_runs import CLASSES, NAME

from cfrsam_d2.apps.report import read_comparison
from cfrsam_d2.apps.report.figures import comparison_picture
from cfrsam_d2.data.palette import class_colors
from tools import compare_figures, report


def error_of(main, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_report_is_one_file_in_the_first_folder(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
):
    before = set(runs["poor"].rglob("*"))
    report.main([str(runs["poor"]), str(runs["points"]), "--images", "3"])
    path = runs["poor"] / "report.html"
    assert f"The report is {path}" in capsys.readouterr().out
    assert set(runs["poor"].rglob("*")) == before | {path}
    page = path.read_text(encoding="utf-8")
    assert page.count("Enlarge ") > 3
    assert "Segmentation" in read_page(page).tables
    path.unlink()


def test_the_report_goes_where_it_is_told(runs: dict[str, Path], tmp_path: Path):
    output = tmp_path / "new" / "page.html"
    report.main([str(runs["points"]), "--dataset", NAME, "--output", str(output)])
    assert output.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_report_of_a_bad_folder_is_one_sentence(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = str(runs["good"])
    (tmp_path / "file").touch()
    for arguments, message in (
        ([str(tmp_path)], "config.yaml does not exist: name the OUTPUT_DIR"),
        ([folder, "--dataset", "nowhere"], "'nowhere', which is not registered"),
        ([folder, "--images", "0"], "--images is 0: ask for 1 image or more"),
        ([folder, folder], "named twice"),
        ([folder, "--output", str(tmp_path / "file" / "x.html")], "cannot write"),
    ):
        error = error_of(report.main, arguments, capsys)
        assert error.startswith("error: ")
        assert message in error
        assert "Traceback" not in error


def test_figures_have_a_row_for_each_run_and_a_column_for_each_image(runs: dict[str, Path]):
    one, both = (read_comparison([runs[name] for name in names]) for names in (["good"], runs))
    picture = comparison_picture(one, [3, 8])
    height, width = picture.shape[:2]
    more_rows, more_columns = comparison_picture(both, [3, 8]), comparison_picture(one, [3, 8, 0])
    assert 1024 < more_rows.shape[0] - height < 1124
    assert 512 < more_columns.shape[1] - width < 612
    # Contours of both classes in the rows of ground truth and of the run that found them all.
    for color in class_colors(len(CLASSES)):
        rows = np.flatnonzero((picture == color).all(axis=2).any(axis=1))
        assert np.ptp(rows) > 512


def test_columns_are_the_images_that_are_named(runs: dict[str, Path], tmp_path: Path):
    arguments = [str(runs["points"]), "--images", "3.png", "8.png", "--output", str(tmp_path)]
    compare_figures.main(arguments)
    written = np.asarray(Image.open(tmp_path / "nuclei.png"))
    expected = comparison_picture(read_comparison([runs["points"]]), [3, 8])
    np.testing.assert_array_equal(written, expected)


def test_plots_are_written_as_vectors(runs: dict[str, Path], tmp_path: Path):
    compare_figures.main([str(runs["good"]), str(runs["poor"]), "--output", str(tmp_path)])
    names = {path.name for path in tmp_path.iterdir()}
    plots = {name.removesuffix(".svg") for name in names if name.endswith(".svg")}
    assert {"bpq_of_images", "pq_by_size", "bpq_by_density", "predicted_and_actual_iou"} <= plots
    assert names == {"nuclei.png", *(f"{each}.{kind}" for each in plots for kind in ("svg", "pdf"))}
    for path in tmp_path.glob("*.pdf"):
        assert path.read_bytes().startswith(b"%PDF")


def test_figures_of_points(runs: dict[str, Path], tmp_path: Path):
    compare_figures.main([str(runs["points"]), "--count", "2", "--output", str(tmp_path)])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"nuclei.png", "f1_of_images.svg", "f1_of_images.pdf"}


def test_figures_of_bad_input_are_one_sentence(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = str(runs["good"])
    (tmp_path / "file").touch()
    for arguments, message in (
        ([folder, "--images", "x.png"], "--images has 'x.png', which reported has not: take"),
        ([folder, "--count", "0"], "--count is 0: ask for 1 image or more"),
        ([folder, "--output", str(tmp_path / "file")], "cannot write"),
    ):
        assert message in error_of(compare_figures.main, arguments, capsys)
