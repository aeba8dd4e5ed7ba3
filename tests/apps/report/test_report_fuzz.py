"""Files of a run that are changed at random give a page or one sentence, nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from report_runs import NAME

from cfrsam_d2.apps.report import read_comparison
from cfrsam_d2.apps.report.figures import comparison_plots
from cfrsam_d2.apps.report.notes import notes
from cfrsam_d2.apps.report.picture_sections import errors
from cfrsam_d2.apps.report.score_sections import classes, differences, scores
from cfrsam_d2.errors import UserError

SCORES = f"inference/{NAME}"
FILES = ("metrics.json", f"{SCORES}/metrics.json", f"{SCORES}/predictions.json")
BOUNDED = settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 1, 3, 64, 10**400, 2**63]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", "0", "PPP", "=1+1", "\x00", "\ud800"]),
    st.lists(st.integers(-2, 70), max_size=4),
    st.dictionaries(st.sampled_from(["size", "counts", "bPQ"]), st.integers(), max_size=2),
)


@pytest.fixture
def damaged(runs: dict[str, Path], tmp_path: Path) -> Callable[[str, bytes], list[Path]]:
    """A function: a file and its new content to a run with it, and one to compare it with."""
    copied = Path(shutil.copytree(runs["good"], tmp_path / "copied"))

    def damage(name: str, content: bytes) -> list[Path]:
        for file in (*FILES, f"{SCORES}/images.csv"):
            shutil.copy(runs["good"] / file, copied / file)
        (copied / name).write_bytes(content)
        return [copied, runs["poor"]]

    return damage


def read(folders: list[Path]) -> bool:
    """All that a page computes, without rendering its plots; whether it could be."""
    error = ""
    try:
        comparison = read_comparison(folders)
    except UserError as caught:
        error = str(caught)
    if error:
        assert str(folders[0]) in error
        assert "\n" not in error
        return False
    for section in (scores, differences, classes, errors):
        assert "<table" in section(comparison)
    assert comparison_plots(comparison)[0]
    assert all(isinstance(note, str) for note in notes(comparison))
    return True


def change(node: Any, path: list[int], value: Any) -> Any:
    """A copy of parsed JSON with one place replaced, which the numbers of the path lead to."""
    if not path or not isinstance(node, dict | list) or not node:
        return value
    keys = list(node) if isinstance(node, dict) else range(len(node))
    key = keys[path[0] % len(keys)]
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[key] = change(node[key], path[1:], value)
    return copy


@seed(0)
@BOUNDED
@given(
    name=st.sampled_from(FILES),
    path=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    value=VALUES,
)
def test_values_of_other_kinds(damaged, runs, name: str, path: list[int], value: Any) -> None:
    text = (runs["good"] / name).read_text()
    first, *rest = text.splitlines(keepends=True) if name == "metrics.json" else [text]
    changed = json.dumps(change(json.loads(first), path, value)) + "\n"
    read(damaged(name, "".join([changed, *rest]).encode()))


@seed(0)
@BOUNDED
@given(
    name=st.sampled_from([*FILES, f"{SCORES}/images.csv"]),
    place=st.floats(0, 1),
    length=st.integers(0, 40),
    put=st.binary(max_size=8),
)
def test_bytes_that_are_lost_or_others(
    damaged, runs, name: str, place: float, length: int, put: bytes
) -> None:
    content = (runs["good"] / name).read_bytes()
    at = int(place * len(content))
    read(damaged(name, content[:at] + put + content[at + length :]))


@seed(0)
@BOUNDED
@given(
    row=st.integers(0, 9),
    column=st.integers(0, 14),
    cell=st.one_of(st.floats().map(str), st.text(max_size=6), st.sampled_from(["", "1e999", '"'])),
)
def test_cells_of_tables(damaged, runs, row: int, column: int, cell: str) -> None:
    name = f"{SCORES}/images.csv"
    rows = [line.split(",") for line in (runs["good"] / name).read_text().splitlines()]
    rows[row][column % len(rows[row])] = cell
    text = "\n".join(",".join(cells) for cells in rows) + "\n"
    read(damaged(name, text.encode(errors="surrogatepass")))


def test_what_is_not_damaged_is_read(damaged, runs) -> None:
    for name in (*FILES, f"{SCORES}/images.csv"):
        assert read(damaged(name, (runs["good"] / name).read_bytes()))
    assert not read(damaged(f"{SCORES}/metrics.json", b"[]"))
