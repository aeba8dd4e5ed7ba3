"""Slides that fail before or in the midst of a run: a sentence each, and the others go on."""

import errno
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import pyarrow.parquet as pq
import zarr
from finders import CONFIG, KEYS, write_weights
from PIL import Image

from cfrsam_d2.apps.slide_fleet import segment_slides
from cfrsam_d2.apps.slides import SlideOptions, slide_folders
from cfrsam_d2.errors import DiskError, UserError
from cfrsam_d2.slides.openslide_backend import OpenSlideBackend
from cfrsam_d2.slides.slide_list import ListedSlide
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_svs


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    weights = tmp_path_factory.mktemp("weights") / "tiny.pth"
    write_weights(weights)
    return [*KEYS, "MODEL.WEIGHTS", str(weights)]


@pytest.fixture
def strip(tissue_pixels: np.ndarray, tmp_path: Path) -> Path:
    write_svs(tmp_path / "strip.svs", SyntheticPlane(tissue_pixels, (960, 240), glass=None))
    return tmp_path / "strip.svs"


@pytest.fixture(autouse=True)
def small_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks of the strip, and no pauses before the next try."""
    monkeypatch.setattr("cfrsam_d2.slides.lattice.CHUNK", 768)
    monkeypatch.setattr("cfrsam_d2.slides.parts.PAUSES", ())
    monkeypatch.setattr("cfrsam_d2.slides.steady.PAUSES", ())


def listed(*paths: Path) -> list[ListedSlide]:
    return [ListedSlide(path) for path in paths]


def test_slides_that_cannot_be_opened_stop_no_other(
    keys: list[str], svs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = {"zero": b"", "text": b"id,age\n1,52\n", "cut": svs.read_bytes()[:5000]}
    bad = [tmp_path / f"{name}.svs" for name in (*contents, "folder")]
    for path, content in zip(bad, contents.values(), strict=False):
        path.write_bytes(content)
    bad[-1].mkdir()
    glass = np.full((256, 256, 3), 242, np.uint8)
    write_svs(tmp_path / "glass.svs", SyntheticPlane(glass, (480, 480)))
    output, slides = tmp_path / "out", listed(*bad, tmp_path / "glass.svs")
    failures = segment_slides(slides, output, str(CONFIG), keys, SlideOptions())
    said = capsys.readouterr()
    assert {row.slide for row in failures} == set(bad)
    reasons = [row.reason for row in failures]
    assert said.err.splitlines()[-5:] == ["error: 4 of 5 slides failed:", *reasons]
    for row in failures:
        assert str(row.slide) in row.reason
        assert "\n" not in row.reason
        assert not list(output.glob(f"{row.slide.stem}/*"))
    assert "glass.svs: empty" in said.out
    _check_empty(output / "glass")


def _check_empty(folder: Path) -> None:
    """All files are there, valid, and without a nucleus."""
    assert pq.read_table(folder / "nuclei.parquet").num_rows == 0
    for name in ("nuclei.geojson.gz", "tissue.geojson"):
        content = (folder / name).read_bytes()
        objects = json.loads(gzip.decompress(content) if name.endswith(".gz") else content)
        assert objects["type"] == "FeatureCollection"
        assert all(each["geometry"]["type"] == "MultiPolygon" for each in objects["features"])
    assert not np.asarray(zarr.open_group(folder / "labels.ome.zarr", mode="r")["0"]).any()
    assert np.asarray(Image.open(folder / "overview.jpg")).mean() > 200
    assert json.loads((folder / "summary.json").read_bytes())["nuclei"] == 0


def test_a_slide_that_is_lost_midway_fails_and_goes_on_when_it_is_back(
    keys: list[str], strip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = OpenSlideBackend.read, 0

    def lost(self: OpenSlideBackend, *args: Any) -> np.ndarray:
        nonlocal reads
        reads += 1
        if reads > 5:  # of the first pass; the second one's follow
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(self, *args)

    def gone(self: OpenSlideBackend) -> OpenSlideBackend:
        if reads > 5:
            raise OSError(errno.ENOENT, "No such file")
        return OpenSlideBackend(self.path)

    options, output = SlideOptions(whole=True, as_json=True), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(OpenSlideBackend, "read", lost)
        patch.setattr(OpenSlideBackend, "reopen", gone)
        (row,) = segment_slides(listed(strip), output, str(CONFIG), keys, options)
    assert "can no longer be read" in row.reason
    assert "run the same command again" in row.reason
    assert len(list((output / "strip" / "parts" / "points").glob("*.parquet"))) == 2
    assert not segment_slides(listed(strip), output, str(CONFIG), keys, options)
    assert json.loads((output / "strip" / "summary.json").read_bytes())["resumed"]


def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    keys: list[str], strip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = pq.write_table, 0

    def full(*args: Any, **kwargs: Any) -> None:
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*args, **kwargs)

    options, output = SlideOptions(whole=True, as_json=True), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        slides = listed(strip, strip.with_stem("other"))
        with pytest.raises(DiskError, match=r"candidates.*No space left.*make room"):
            segment_slides(slides, output, str(CONFIG), keys, options)
    parts = output / "strip" / "parts"
    assert len(list(parts.glob("*/*.parquet"))) == 3
    assert not (output / "other").exists()
    assert not segment_slides(listed(strip), output, str(CONFIG), keys, options)
    assert json.loads((output / "strip" / "summary.json").read_bytes())["resumed"]
    assert not parts.exists()


def test_slides_of_one_name_and_outputs_in_slides_are_refused(tmp_path: Path) -> None:
    slides = listed(tmp_path / "a" / "x.svs", tmp_path / "b" / "x.tif")
    with pytest.raises(UserError, match=r"a/x\.svs, .*b/x\.tif have one name"):
        slide_folders(slides, tmp_path / "out")
    with pytest.raises(UserError, match="lies in the slide"):
        slide_folders(listed(tmp_path / "x.svs"), tmp_path / "x.svs" / "out")


def test_the_folder_of_a_mirax_slide_is_no_place_for_results(tmp_path: Path) -> None:
    """x.mrxs has its pixels in x/, where the results of a slide called x would go."""
    (tmp_path / "x").mkdir()
    for output in (tmp_path, tmp_path / "x" / "out"):
        with pytest.raises(UserError, match=r"--output .* in the slide .*x\.mrxs: name another"):
            slide_folders(listed(tmp_path / "x.mrxs"), output)
    assert slide_folders(listed(tmp_path / "x.svs"), tmp_path)
