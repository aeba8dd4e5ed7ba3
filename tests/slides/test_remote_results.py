"""Results that are uploaded: in which order, after failures, and what is left alone."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'cfrsam_d2[remote]'")
pytest.importorskip("aiohttp", reason="aiohttp is missing: pip install 'cfrsam_d2[remote]'")
from finders import contents, finder
from fsspec.implementations.memory import MemoryFileSystem
from range_server import range_server

from cfrsam_d2.apps.slides import SlideOptions, segment_slide
from cfrsam_d2.errors import UserError
from cfrsam_d2.remote_path import RemotePath
from cfrsam_d2.slides.slide_cache import SlideCache
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_ome_tiff, write_svs
from cfrsam_d2.slides.uploads import check_output, results_of

FOLDER = RemotePath("memory://bucket/results/slide")
DESCRIPTION = {"slide": "slide.svs", "weights": "0123", "config": {"A": 1}}
SUMMARY = b'{"status": "done", "nuclei": 3, "tissue_mm2": 0.5}'
FILES = {"nuclei.parquet": b"PAR1", "labels.ome.zarr/c/0/0": b"zarr", "labels.ome.zarr/.z": b"{}"}


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    store = MemoryFileSystem()
    yield store
    store.store.clear()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("cfrsam_d2.slides.remote.time.sleep", slept.append)
    return slept


def run(cache: Path, description: dict[str, Any] = DESCRIPTION, folder: Any = FOLDER) -> str:
    """What a run does with its results, less the work."""
    with results_of(folder, cache) as results:
        results.start_record(description)
        if not results.are_there:
            for name, content in {**FILES, ".x.partial": b"half"}.items():
                (results.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (results.folder / name).write_bytes(content)
            (results.folder / "summary.json").write_bytes(SUMMARY)
        return results.found().status


def uploaded(store: MemoryFileSystem) -> dict[str, bytes]:
    root = "/bucket/results/slide/"
    return {name.removeprefix(root): store.cat_file(name) for name in store.find(root)}


def test_the_record_comes_first_and_the_summary_last(
    store: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    put_file = MemoryFileSystem.put_file

    def noted(self: MemoryFileSystem, lpath: str, rpath: str, **arguments: Any) -> None:
        names.append(rpath.removeprefix("/bucket/results/slide/"))
        put_file(self, lpath, rpath, **arguments)

    monkeypatch.setattr(MemoryFileSystem, "put_file", noted)
    assert run(tmp_path) == "done"
    assert (names[0], names[-1]) == ("run.yaml", "summary.json")
    assert sorted(names[1:-1]) == sorted(FILES)
    assert {name: uploaded(store)[name] for name in FILES} == FILES
    assert not list((tmp_path / "results").glob("*/[!.]*"))
    names.clear()
    assert run(tmp_path) == "done"
    assert names == []


def test_a_run_with_other_weights_does_not_touch_what_is_there(
    store: MemoryFileSystem, tmp_path: Path
) -> None:
    run(tmp_path)
    before = uploaded(store)
    said = f"{FOLDER}/run.yaml is of a run with another weights, A: give what that had"
    for summary in (True, False):
        if not summary:
            store.rm_file("/bucket/results/slide/summary.json")
            before.pop("summary.json")
        with pytest.raises(UserError, match=said):
            run(tmp_path, {**DESCRIPTION, "weights": "4567", "config": {"A": 2}})
        assert uploaded(store) == before
    store.pipe_file("/bucket/results/slide/run.yaml", b"\xff")
    with pytest.raises(UserError, match=r"run.yaml is damaged .*: delete its folder"):
        run(tmp_path)


def test_an_upload_that_fails_goes_on_with_what_is_missing(
    store: MemoryFileSystem,
    tmp_path: Path,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_file, names, fails = MemoryFileSystem.put_file, [], 0

    def failing(self: MemoryFileSystem, lpath: str, rpath: str, **arguments: Any) -> None:
        nonlocal fails
        if rpath.endswith("nuclei.parquet") and fails > 0:
            fails -= 1
            raise ConnectionResetError("by peer")
        names.append(Path(rpath).name)
        put_file(self, lpath, rpath, **arguments)

    monkeypatch.setattr(MemoryFileSystem, "put_file", failing)
    fails = 4
    with pytest.raises(UserError, match=rf"{FOLDER} cannot be reached .*by peer.*: run the same"):
        run(tmp_path)
    assert pauses == [1, 4, 16]
    assert "summary.json" not in uploaded(store)
    assert len(list(tmp_path.glob("results/*/slide/nuclei.parquet"))) == 1
    names.clear()
    fails = 2
    assert run(tmp_path) == "done"
    assert names.count("0") == 0  # of labels.ome.zarr: it was there
    assert names[-1] == "summary.json"
    assert not list((tmp_path / "results").glob("*/[!.]*"))


def test_outputs_that_cannot_be_written_to_are_refused_before_the_run(tmp_path: Path) -> None:
    check_output(tmp_path)
    check_output(RemotePath("memory://new/folder"))
    for url, said in {
        "https://host/folder": "cannot be written to: name s3://",
        "ftps3://bucket": "Protocol not known",
    }.items():
        with pytest.raises(UserError, match=said):
            check_output(RemotePath(url))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store with the bucket `bucket`."""
    remedy = "is missing: pip install 'cfrsam_d2[dev]'"
    moto = pytest.importorskip("moto.server", reason=f"moto's server {remedy}")
    s3fs = pytest.importorskip("s3fs", "2023", reason=f"s3fs {remedy}")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem(use_listings_cache=False)
    store.mkdir("bucket")
    yield store
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_from_stores_to_stores_the_bytes_are_the_same(
    s3: Any,
    weights: Path,
    tissue_pixels: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spatial = "cfrsam_d2.slides.writers.spatial"
    monkeypatch.setitem(sys.modules, spatial, None)  # it takes seconds to import
    plane = SyntheticPlane(tissue_pixels, (240, 240), glass=None)
    svs, ome_tiff = tmp_path / "slide.svs", tmp_path / "slide.ome.tif"
    write_svs(svs, plane, levels=(1,))
    write_ome_tiff(ome_tiff, plane, levels=(1,))
    predictor = finder(weights)
    options = SlideOptions(whole=True, as_json=True, cache=SlideCache(tmp_path / "cache"))
    with range_server() as server:
        server.files["slide.ome.tif"] = ome_tiff.read_bytes()
        s3.put_file(str(svs), "bucket/in/slide.svs")
        urls = {svs: "s3://bucket/in/slide.svs", ome_tiff: server.url("slide.ome.tif")}
        for slide, url in urls.items():
            local, remote = (
                tmp_path / "local" / slide.stem,
                RemotePath(f"s3://bucket/out/{slide.stem}"),
            )
            found = segment_slide(predictor, slide, local, options)
            assert segment_slide(predictor, RemotePath(url), remote, options) == found
            assert (found.status, found.nuclei > 0) == ("done", True)
            s3.get(f"bucket/out/{slide.stem}/", str(tmp_path / "got" / slide.stem), recursive=True)
            assert contents(tmp_path / "got" / slide.stem) == contents(local)
            assert segment_slide(predictor, RemotePath(url), remote, options) == found
    copies = list((tmp_path / "cache" / "slides").glob("*-*/*"))
    assert [path.name for path in copies] == ["slide.svs"]
    with pytest.raises(UserError, match=r"s3://none/out does not exist: check the bucket"):
        check_output(RemotePath("s3://none/out"))
    nothing = RemotePath("s3://bucket/none.svs")
    with pytest.raises(UserError, match=r"s3://bucket/none.svs does not exist"):
        segment_slide(predictor, nothing, tmp_path / "none", options)
