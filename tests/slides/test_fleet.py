"""Many slides: who does what, what is retried, and what is written about it."""

import csv
import json
import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import torch
from finders import contents
from fleet_workers import FOUND_BY_RAY, StubPlan, TinyPlan
from PIL import Image

from cfrsam_d2.apps.slides import SlideOptions
from cfrsam_d2.errors import DiskError, UserError
from cfrsam_d2.slides.bad_tiles import BadTiles
from cfrsam_d2.slides.fleet.local import LocalCrew
from cfrsam_d2.slides.fleet.on_ray import RayCrew, check_places
from cfrsam_d2.slides.fleet.own import OwnCrew
from cfrsam_d2.slides.fleet.schedule import run_fleet
from cfrsam_d2.slides.fleet.table import FleetTable, Row
from cfrsam_d2.slides.fleet.tasks import Crew, Outcome, Task
from cfrsam_d2.slides.parts import Parts
from cfrsam_d2.slides.reader import open_slide
from cfrsam_d2.slides.slide_list import ListedSlide
from cfrsam_d2.slides.steady import BadTile


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As the workers have: with others, sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(crew: Crew, names: list[str], output: Path) -> dict[str, Row]:
    rows: list[Row] = []
    slides = [ListedSlide(Path(f"{name}.svs")) for name in names]
    run_fleet(crew, {slide: output / slide.path.stem for slide in slides}, rows.append)
    return {row.slide.stem: row for row in rows}


def test_failures_and_lost_workers_stop_no_other_slide(tmp_path: Path) -> None:
    with LocalCrew(StubPlan(tmp_path), 2) as crew:
        rows = run(crew, ["fatal", "good", "bad", "hangs", "once", "better"], tmp_path)
    assert {name: (row.status, row.attempts) for name, row in rows.items()} == {
        "fatal": ("failed", 3),
        "good": ("done", 1),
        "bad": ("failed", 1),
        "hangs": ("failed", 3),
        "once": ("done", 2),
        "better": ("done", 1),
    }
    assert "fatal.svs: a worker was killed (SIGKILL)" in rows["fatal"].reason
    assert rows["hangs"].reason == "hangs.svs hangs"
    assert (rows["good"].nuclei, rows["good"].mm2, rows["good"].seconds) == (7, 0.5, 1.0)
    assert not multiprocessing.active_children()


def test_fewer_slides_than_workers_are_shared(tmp_path: Path) -> None:
    with LocalCrew(StubPlan(tmp_path), 2) as crew:
        row = run(crew, ["good"], tmp_path)["good"]
    assert (row.status, row.attempts, row.seconds) == ("done", 1, 5.0)
    # Masks come after the points of both shares, and files after all masks.
    assert (tmp_path / "good").read_text() == "ppmmf"


def test_workers_that_cannot_start_end_the_run(tmp_path: Path) -> None:
    with (
        LocalCrew(StubPlan(tmp_path, fails=True), 1) as crew,
        pytest.raises(UserError, match="config is not there"),
    ):
        run(crew, ["good"], tmp_path)


def test_a_full_disk_ends_the_run_and_is_told_of_its_slide(tmp_path: Path) -> None:
    class Full(StubPlan):
        def __call__(self, task: Task) -> Outcome:
            return Outcome("stopped", reason="cannot write x (No space left)")

    class Plan(StubPlan):
        def build(self, *, alone: bool) -> StubPlan:
            return Full(tmp_path)

    rows: list[Row] = []
    slides = {ListedSlide(Path(name)): tmp_path for name in ("a", "b")}
    with pytest.raises(DiskError, match="No space"):
        run_fleet(OwnCrew(Plan(tmp_path)), slides, rows.append)
    assert [(str(row.slide), row.status) for row in rows] == [("a", "failed")]


def test_the_table_is_whole_after_each_slide(tmp_path: Path) -> None:
    table = FleetTable(tmp_path / "fleet.csv")
    table.add(Row(Path("a,b.svs"), "done", 1.23456, 7, 0.5, 1, ""))
    table.add(Row(Path("=c.svs"), "failed", 2, None, None, 3, "it is bad\nreally"))
    with (tmp_path / "fleet.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert list(first) == ["slide", "status", "seconds", "nuclei", "mm2", "attempts", "reason"]
    assert list(first.values()) == ["a,b.svs", "done", "1.235", "7", "0.5", "1", ""]
    assert list(second.values()) == ["'=c.svs", "failed", "2", "", "", "3", "it is bad\nreally"]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> SlideOptions:
    """Tissue where four chunks meet."""
    mask = tmp_path_factory.mktemp("mask") / "spot.png"
    pixels = np.zeros((128, 128), np.uint8)  # 16 px each
    pixels[47:49, 47:49] = 255
    Image.fromarray(pixels).save(mask)
    return SlideOptions(mask=mask)


@pytest.fixture(scope="module")
def alone(
    weights: Path, slide: Path, options: SlideOptions, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The files of the slide, made in one go in this process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cfrsam_d2.slides.lattice.CHUNK", 768)
        patch.setattr(Parts, "write", Parts.write)  # what the plan puts there is taken back
        task = Task(ListedSlide(slide), folder / "large", "files")
        assert TinyPlan(weights, options).build(alone=True)(task).status == "done"
    return contents(folder)


def share(crew: Crew, slide: Path, output: Path) -> tuple[int, dict[str, bytes]]:
    """Attempts, and files of a slide that a crew has shared."""
    rows: list[Row] = []
    run_fleet(crew, {ListedSlide(slide): output / "large"}, rows.append)
    assert [row.status for row in rows] == ["done"], rows
    assert json.loads((output / "large" / "summary.json").read_bytes())["nuclei"] == rows[0].nuclei
    return rows[0].attempts, contents(output)


def test_shared_by_two_of_whom_two_are_killed_it_has_the_same_bytes(
    weights: Path, slide: Path, options: SlideOptions, alone: dict[str, bytes], tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    plan = TinyPlan(weights, options, ("points", "candidates"), notes)
    with LocalCrew(plan, 2) as crew:
        attempts, files = share(crew, slide, tmp_path / "out")
    assert attempts == 3
    assert files == alone


def test_on_ray_with_one_killed_it_has_the_same_bytes(
    weights: Path,
    slide: Path,
    options: SlideOptions,
    alone: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ray", reason="ray is missing: pip install 'cfrsam_d2[fleet]'")
    monkeypatch.setenv("PYTHONPATH", FOUND_BY_RAY)
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # others may fill the machine
    notes = tmp_path / "notes"
    notes.mkdir()
    plan = TinyPlan(weights, options, ("candidates",), notes)
    with RayCrew(plan, "local", 2, cpu=True) as crew:
        attempts, files = share(crew, slide, tmp_path / "out")
    assert attempts == 2
    assert files == alone


def test_without_ray_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"ray is not installed, .* --ray .*\[fleet\]"):
        RayCrew(StubPlan(tmp_path), "local", 2, cpu=True)


def test_tiles_that_one_worker_could_not_read_are_known_to_the_others(
    svs: Path, tmp_path: Path
) -> None:
    tile = BadTile(0, (0, 0, 240, 240))
    for number in (0, 1):
        with open_slide(svs, model_mpp=0.25) as reader:
            found = BadTiles(tmp_path, reader, number)
            assert reader.damaged == (set() if number == 0 else {tile})
            reader.damaged.add(tile._replace(level=number))
            found.check(most_mm2=1)
    with open_slide(svs, model_mpp=0.25) as reader:
        found = BadTiles(tmp_path, reader, 2)
        assert reader.damaged == {tile, tile._replace(level=1)}
        with pytest.raises(UserError, match="2 tiles that cannot be read"):
            found.check(most_mm2=0.001)


def test_places_that_ray_cannot_write_to_are_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write to .*file.\.ray .*set HOME"):
        check_places()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 90)))
    with pytest.raises(UserError, match="set RAY_TMPDIR to a shorter one"):
        check_places()
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    check_places()
