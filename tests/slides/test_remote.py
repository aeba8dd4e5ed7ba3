"""Slides by URL: by range or as copies, over connections that fail."""

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'cfrsam_d2[remote]'")
pytest.importorskip("aiohttp", reason="aiohttp is missing: pip install 'cfrsam_d2[remote]'")
from range_server import RangeServer, range_server

from cfrsam_d2.errors import UserError
from cfrsam_d2.remote_path import RemotePath, path_or_url
from cfrsam_d2.slides import open_slide
from cfrsam_d2.slides.remote import RemoteFile, look_up
from cfrsam_d2.slides.slide_cache import SlideCache, copied, fetched
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_ome_tiff


@pytest.fixture
def server() -> Iterator[RangeServer]:
    with range_server() as server:
        yield server


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("cfrsam_d2.slides.remote.time.sleep", slept.append)
    return slept


@pytest.fixture(scope="module")
def large(plane: SyntheticPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OME-TIFF of many blocks of `small_blocks`."""
    path = tmp_path_factory.mktemp("large") / "slide.ome.tif"
    write_ome_tiff(path, plane, tile=64, levels=(1, 2, 4), compression="adobe_deflate")
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.quickhash._PIECE", 2**12)
    monkeypatch.setattr("cfrsam_d2.slides.remote._BLOCK", 2**14)


def put(server: RangeServer, name: str, content: bytes) -> RemotePath:
    server.files[name] = content
    return RemotePath(server.url(name))


def test_names_of_urls_are_those_of_files() -> None:
    assert path_or_url("a/b.svs") == Path("a/b.svs")
    signed = path_or_url("https://host/a%20b/c%20d.ome.tif?X-Key=/secret.x")
    assert isinstance(signed, RemotePath)
    assert (signed.name, signed.stem, signed.suffix) == ("c d.ome.tif", "c d.ome", ".tif")
    assert "secret" not in f"{signed}"
    folder = RemotePath("s3://bucket/a?b/")
    assert (str(folder / "c"), (folder / "c").name) == ("s3://bucket/a?b/c", "c")


def test_an_ome_tiff_is_read_by_range_with_the_pixels_of_the_file(
    server: RangeServer, large: Path, tmp_path: Path, small_blocks: None
) -> None:
    content = large.read_bytes()
    remote = put(server, "slide.ome.tif", content)
    cache = SlideCache(tmp_path)
    with (
        open_slide(large, model_mpp=0.25) as local,
        fetched(remote, cache) as slide,
        open_slide(slide, model_mpp=0.25) as reader,
    ):
        assert slide is remote
        before = server.sent
        box = (300, 200, 400, 300)
        assert (reader.reopen().read(*box) == local.read(*box)).all()
        assert server.sent - before < len(content) / 2
        assert (reader.overview(4.0) == local.overview(4.0)).all()
        assert reader.properties == local.properties
        assert (reader.size, reader.mpp) == (local.size, local.mpp)
        assert reader.path.name == local.path.name
    assert not list(tmp_path.iterdir())  # no copy was made


def test_blocks_that_a_handle_keeps_are_bounded(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.remote._BLOCK", 100)
    monkeypatch.setattr("cfrsam_d2.slides.remote._BLOCKS", 3)
    file = RemoteFile(put(server, "bytes", bytes(range(250)) * 4))
    for start, sent in ((0, 100), (50, 100), (100, 200), (200, 300), (10, 300), (300, 400)):
        file.seek(start)
        assert file.read(10) == (bytes(range(250)) * 4)[start : start + 10]
        assert server.sent == sent
    file.seek(120)
    file.read(10)
    assert server.sent == 500  # 100 to 199 was used longest ago


def test_other_slides_are_copied_once_as_long_as_they_are_the_same(
    server: RangeServer, svs: Path, large: Path, tmp_path: Path, small_blocks: None
) -> None:
    cache, content = SlideCache(tmp_path), svs.read_bytes()
    remote = put(server, "a%20slide.svs", content)
    for _ in range(2):
        with fetched(remote, cache) as slide, open_slide(slide, model_mpp=0.25) as reader:
            assert isinstance(slide, Path)
            assert (slide.name, slide.read_bytes()) == ("a slide.svs", content)
            with open_slide(svs, model_mpp=0.25) as local:
                assert reader.properties == local.properties
    sent = server.sent
    with copied(remote, cache) as copy:
        assert server.sent == sent
    with copied(RemotePath(f"{remote.url}?signed=anew"), cache) as again:
        assert (again, server.sent) == (copy, sent)
    server.files["a%20slide.svs"] = content + b"\0"
    with copied(remote, cache) as new:
        assert new.read_bytes() == content + b"\0"
    server.knows_ranges = False
    with fetched(put(server, "slide.ome.tif", large.read_bytes()), cache) as slide:
        assert isinstance(slide, Path)
        assert slide.read_bytes() == large.read_bytes()


def kept(cache: SlideCache) -> list[str]:
    return sorted(path.name for path in (cache.folder / "slides").glob("*-*/*"))


def test_least_recently_used_copies_make_room_unless_in_use(
    server: RangeServer, tmp_path: Path
) -> None:
    cache = SlideCache(tmp_path, most_bytes=350)
    slides = {name: put(server, name, name.encode() * 100) for name in "abcde"}
    for number, name in enumerate("abca"):
        with copied(slides[name], cache) as copy:
            pass
        os.utime(copy.parent, (number, number))
    assert kept(cache) == ["a", "b", "c"]
    with copied(slides["d"], cache):
        assert kept(cache) == ["a", "c", "d"]
    with ExitStack() as stack:
        for name in "acd":
            stack.enter_context(copied(slides[name], cache))
        with pytest.raises(UserError, match="raise --cache-gb"), copied(slides["e"], cache):
            pass
        assert kept(cache) == ["a", "c", "d"]
    larger = put(server, "larger", bytes(400))
    with pytest.raises(UserError, match="takes 4e-07 GB"), copied(larger, cache):
        pass
    with copied(slides["e"], cache) as copy:
        assert copy.read_bytes() == b"e" * 100


def test_two_processes_copy_a_slide_once(server: RangeServer, tmp_path: Path) -> None:
    slide = put(server, "slide.svs", bytes(10_000))
    server.stall = threading.Event()

    def copy_it() -> None:
        with copied(slide, SlideCache(tmp_path)) as copy:
            assert copy.stat().st_size == 10_000

    processes = [multiprocessing.get_context("fork").Process(target=copy_it) for _ in range(2)]
    for process in processes:
        process.start()
    wait_for(lambda: server.gets > 0)
    server.stall.set()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert server.gets == 1


def test_a_copy_that_is_killed_is_made_anew(server: RangeServer, tmp_path: Path) -> None:
    slide, cache = put(server, "slide.svs", bytes(10_000)), SlideCache(tmp_path, 10_000)
    other = put(server, "other.svs", bytes(9_000))
    for next_one in (slide, other):
        server.stall = threading.Event()

        def copy_it() -> None:
            with copied(slide, cache):
                pass

        process = multiprocessing.get_context("fork").Process(target=copy_it)
        process.start()
        wait_for(lambda: bool(list((tmp_path / "slides").glob("*/.slide.svs.partial"))))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert not list((tmp_path / "slides").glob("*/slide.svs"))
        server.stall.set()
        with copied(next_one, cache) as copy:
            assert copy.read_bytes() == bytes(len(server.files[next_one.name]))
        files = (tmp_path / "slides").glob("[!.]*/*")
        assert [path.name for path in files] == [next_one.name]
        shutil.rmtree(copy.parent)


def wait_for(happened, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def test_a_lost_connection_is_tried_again(
    server: RangeServer, tmp_path: Path, pauses: list[float]
) -> None:
    content = np.random.default_rng(0).bytes(5_000)
    remote = put(server, "slide.svs", content)
    file = RemoteFile(remote)
    server.drops = 2
    assert file.read(5_000) == content
    assert pauses == [1, 4]
    pauses.clear()
    server.drops = 3
    with copied(remote, SlideCache(tmp_path)) as copy:
        assert copy.read_bytes() == content
    assert pauses == [1, 4, 16]


def test_a_connection_that_stays_lost_is_no_damage(
    server: RangeServer, large: Path, tmp_path: Path, pauses: list[float], small_blocks: None
) -> None:
    with open_slide(large, model_mpp=0.25) as local:
        whole = local.read(0, 0, *local.size)
    remote = put(server, "slide.ome.tif", large.read_bytes())
    said = rf"{remote} cannot be reached \(.*\): run the same command again"
    reader = open_slide(remote, model_mpp=0.25).reopen()
    server.drops = 10**6
    pauses.clear()
    for _ in range(2):
        with pytest.raises(UserError, match=said):
            reader.read(0, 0, *reader.size)
    assert not reader.damaged
    assert pauses == [1, 4, 16]  # the second time, it is known
    server.files["slide.svs"] = b"x" * 999
    slide = RemotePath(server.url("slide.svs"))
    with pytest.raises(UserError, match=r"cannot be reached"), copied(slide, SlideCache(tmp_path)):
        pass
    assert kept(SlideCache(tmp_path)) == []
    server.drops = 0
    assert (open_slide(remote, model_mpp=0.25).read(0, 0, *reader.size) == whole).all()


def test_what_cannot_be_read_is_said_in_a_sentence(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SlideCache(tmp_path)
    put(server, "empty.svs", b"")
    put(server, "text.svs", b"id,age")
    put(server, "a.mrxs", b"\xff\xd8")
    put(server, "series", bytes(128) + b"DICM")
    for url, said in {
        server.url("none.svs?key=hidden"): "does not exist: check",
        server.url("secret.svs"): r"is refused \(.*403.*\): check the name and your rights",
        server.url("empty.svs"): r"is empty \(0 bytes\)",
        server.url("text.svs"): r"text.svs cannot be opened \(its format is unknown\)",
        server.url("a.mrxs"): "is one file of several",
        server.url("series"): "is one file of several",
        "http://127.0.0.1:1/a.svs": r"cannot be reached \(ClientConnectorError",
        "memory://none/a.svs": "does not exist",
        "ftps3://bucket/a.svs": r"cannot be opened \(Protocol not known: ftps3\): name s3://",
    }.items():
        slide = RemotePath(url)
        with pytest.raises(UserError, match=said) as raised, fetched(slide, cache) as path:
            open_slide(path, model_mpp=0.25)
        message = str(raised.value)
        assert message.startswith(str(slide))
        assert "\n" not in message
        assert "hidden" not in message
    with pytest.raises(UserError, match="is no OME-TIFF"):
        open_slide(server.url("text.svs"), model_mpp=0.25)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(UserError, match=r"pip install 'cfrsam_d2\[remote\]'"):
        look_up(RemotePath("https://host/a.svs"))
