"""Names that a spreadsheet would compute are text in every table; numbers stay numbers."""

import csv
from pathlib import Path

from cfrsam_d2.apps.report.run_files import read_image_scores
from cfrsam_d2.csv_cells import text_cell
from cfrsam_d2.evaluation.writers import write_csv

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''-1"]
CELLS = ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "' =1", "''=1", "'''-1"]
NAMES = ["", "a=1", "it's", "'quoted'", "1-2", "Kolon"]


def test_formulas_get_an_apostrophe_and_names_stay() -> None:
    assert [text_cell(name) for name in FORMULAS] == CELLS
    assert [text_cell(name) for name in NAMES] == NAMES


def test_tables_of_an_evaluation(tmp_path: Path) -> None:
    rows = [
        {"image_id": name, "file_name": name, "tissue": name, "n_gt": -3, "bPQ": -0.5}
        for name in (*FORMULAS, *NAMES)
    ]
    write_csv(tmp_path / "images.csv", rows)
    with open(tmp_path / "images.csv", newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    for column in ("image_id", "file_name", "tissue"):
        assert [row[column] for row in written] == CELLS + NAMES
    assert {(row["n_gt"], row["bPQ"]) for row in written} == {("-3", "-0.5")}
    table = read_image_scores(tmp_path / "images.csv", has_masks=False)
    assert table.keys() == {"n_gt", "bPQ"}
    assert table["bPQ"].tolist() == [-0.5] * len(rows)
