"""tools/annotate.py in a browser: clicks change the nuclei, and nothing leaves this machine."""

import json
import os
import re
import runpy
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser import Tab, needs_chromium, visit
from disc_predictor import CONFIG, image, with_discs
from PIL import Image
from tiny_demo import TINY

from cfrsam_d2 import predictor
from cfrsam_d2.predictor import NucleusPredictor

pytest.importorskip("uvicorn", reason="uvicorn is not installed: `pip install -e '.[annotate]'`")
pytestmark = needs_chromium

ROOT = Path(__file__).resolve().parents[3]


class Server(NamedTuple):
    address: str
    port: int
    folder: Path
    process: BaseProcess

    @property
    def output(self) -> Path:
        return self.folder / "out"


class Predictor(NucleusPredictor):
    """Its mask head cuts out discs, and it finds one nucleus."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with_discs(self)
        self.model.proposal_generator.keep_on_mask_only = False
        self.model.proposal_generator.suppression_radius = 1000.0


def serve(folder: Path, weights: Path, output: int) -> None:
    """The command, which says into a pipe what it says, and notes addresses that it connects to."""
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        with (folder / "connected.txt").open("a") as file:
            print(address[0], file=file)
        return connect(self, address)

    socket.socket.connect = noted
    predictor.NucleusPredictor = Predictor
    sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)
    os.environ.pop("NO_ALBUMENTATIONS_UPDATE", None)
    sys.argv = ["annotate.py", str(folder / "tile.png"), "--no-browser"]
    sys.argv += ["--config-file", str(CONFIG), "--output", str(folder / "out")]
    sys.argv += [*TINY, "MODEL.WEIGHTS", str(weights)]
    runpy.run_path(str(ROOT / "tools" / "annotate.py"), run_name="__main__")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    """In a process that is forked, and so has imported all that takes seconds."""
    folder = tmp_path_factory.mktemp("annotated")
    Image.fromarray(image(96, 128)).save(folder / "tile.png")
    reader, writer = os.pipe()
    process = get_context("fork").Process(target=serve, args=(folder, weights, writer))
    process.start()
    os.close(writer)
    said = ""
    with open(reader) as lines:
        for line in lines:
            said += line
            if found := re.search(r"http://127.0.0.1:(\d+)/", line):
                break
        assert found, said
        yield Server(found[0], int(found[1]), folder, process)
        process.terminate()
        process.join()


@pytest.fixture
def tab(server: Server) -> Iterator[Tab]:
    with opened(server, 1400) as tab:
        yield tab


@contextmanager
def opened(server: Server, width: int) -> Iterator[Tab]:
    """The page in a window so many px wide, with the nuclei that the model finds."""
    with visit(server.address) as tab:
        tab.resize(width, 900)
        tab.wait_for("document.querySelectorAll('#nuclei path').length > 0")
        press_button(tab, "reset")
        says(tab, "Back to what the model finds")
        yield tab


def press_button(tab: Tab, name: str) -> None:
    tab.value(f"document.querySelector('#{name}').click()")


def says(tab: Tab, text: str) -> None:
    tab.wait_for(f"document.querySelector('#status').textContent.includes({json.dumps(text)})")


def count(tab: Tab) -> int:
    return tab.value(COUNT)


COUNT = "document.querySelectorAll('#nuclei path').length"
VIEW = "document.querySelector('#picture').getAttribute('viewBox').split(' ').map(Number)"
# Where a place of the image of 128×96 px is seen, as the browser itself has it.
SEEN = """(() => {{
  const shown = document.querySelector("#picture").getScreenCTM();
  const p = new DOMPoint({x}, {y}).matrixTransform(shown);
  return [p.x, p.y];
}})()"""
PLACE = SEEN.replace("(shown)", "(shown.inverse())")  # the other way round


def seen_at(tab: Tab, x: float, y: float) -> tuple[float, float]:
    """In px of the window, the middle of a pixel of the image."""
    left, top = tab.value(SEEN.format(x=x + 0.5, y=y + 0.5))
    return left, top


def click_at(tab: Tab, x: float, y: float) -> None:
    tab.click(*seen_at(tab, x, y))


def test_clicks_change_the_nuclei(tab: Tab, server: Server) -> None:
    before = count(tab)
    corner = (120, 88)
    click_at(tab, *corner)
    says(tab, "Added a nucleus of class")
    assert count(tab) == before + 1
    press_button(tab, "export")
    says(tab, f"Wrote {before + 1} nuclei")
    features = json.loads((server.output / "tile.geojson").read_text())["features"]
    assert len(features) == before + 1
    (x0, y0), (x1, y1) = bounds(features[-1]["geometry"]["coordinates"])
    assert ((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5) == pytest.approx(corner, abs=0.5)
    assert (server.output / "tile_overlay.png").is_file()
    click_at(tab, corner[0] + 3, corner[1])
    says(tab, "Removed a nucleus of class")
    assert count(tab) == before
    press_button(tab, "undo")
    says(tab, f"Undone: {before + 1} nuclei")
    press_button(tab, "redo")
    says(tab, f"Done again: {before} nuclei")
    assert tab.value("document.querySelector('#redo').disabled")
    press_button(tab, "save")
    says(tab, f"Saved {before} nuclei of tile.png")
    assert (server.output / "dataset" / "nuclei.json").is_file()
    assert tab.errors == []


def bounds(rings: list) -> tuple[tuple[float, float], tuple[float, float]]:
    xs, ys = zip(*(point for ring in rings for point in ring), strict=True)
    return (min(xs), min(ys)), (max(xs), max(ys))


def test_what_is_under_the_pointer_is_said_and_its_class_changed(tab: Tab) -> None:
    click_at(tab, 120, 88)
    says(tab, "Added")
    name = tab.value("document.querySelector('#class1').closest('label').textContent")
    press_button(tab, "class1")
    tab.value("document.querySelector('[value=class]').click()")
    click_at(tab, 120, 88)
    says(tab, "Class ")
    tab.point(*seen_at(tab, 5, 5))
    tab.point(*seen_at(tab, 121, 88))
    said = tab.value("document.querySelector('#pointer').textContent")
    assert said == f"{name.rstrip('0123456789')}, estimated IoU 0.75"
    counts = "[...document.querySelectorAll('.count')].map(each => Number(each.textContent))"
    assert sum(tab.value(counts)) == count(tab)
    assert tab.value(counts)[1] >= 1


def test_the_image_is_zoomed_and_moved(tab: Tab) -> None:
    """A place stays under the pointer while it is zoomed, and clicks mean what is seen."""
    whole = tab.value(VIEW)
    assert whole[2] >= 128
    assert whole[3] >= 96
    x, y = (round(each) for each in seen_at(tab, 100, 70))  # as the wheel's place is rounded
    there = tab.value(PLACE.format(x=x, y=y))
    for _ in range(6):
        tab.wheel(x, y, -100)
    tab.wait_for(f"{VIEW}[2] < {whole[2] / 3}")
    assert tab.value(PLACE.format(x=x, y=y)) == pytest.approx(there, abs=0.01)
    place = seen_at(tab, 100, 70)
    tab.drag(place, (place[0] + 60, place[1] + 30))
    tab.wait_for(f"Math.abs({SEEN.format(x=100.5, y=70.5)}[0] - {place[0] + 60}) < 1")
    before = count(tab)
    click_at(tab, 100, 70)
    tab.wait_for(f"{COUNT} !== {before}")
    tab.value("document.activeElement.blur()")
    tab.press("0")
    tab.wait_for(f"{VIEW}[2] === {whole[2]}")
    assert tab.errors == []


def test_the_keyboard_does_it_all(tab: Tab) -> None:
    before = count(tab)
    tab.value("document.querySelector('#picture').focus()")
    tab.press("1")
    assert tab.value("document.querySelector('#class0').checked")
    for key in ("ArrowRight", "ArrowDown"):
        for _ in range(30):
            tab.press(key)
    assert not tab.value("document.querySelector('#cursor').hasAttribute('hidden')")
    tab.press("Enter")
    tab.wait_for(f"{COUNT} !== {before}")
    tab.press("z", control=True)
    tab.wait_for(f"{COUNT} === {before}")
    tab.press("y", control=True)
    tab.wait_for(f"{COUNT} !== {before}")
    width = tab.value(VIEW)[2]
    tab.press("+")
    assert tab.value(VIEW)[2] < width
    reached = set()
    for _ in range(24):
        tab.press("Tab")
        reached.add(tab.value("document.activeElement.id || document.activeElement.name"))
    assert {"closer", "mode", "class0", "undo", "read", "save", "export"} <= reached


def test_of_fast_clicks_none_is_lost_and_work_is_shown(tab: Tab) -> None:
    before = count(tab)
    tab.value(
        "new MutationObserver(() => window.wasBusy ||= document.body.classList.contains('busy'))"
        ".observe(document.body, {attributes: true})"
    )
    for x in (20, 50, 80):
        click_at(tab, x, 88)
    tab.wait_for(f"{COUNT} === {before + 3}")
    tab.wait_for("window.wasBusy && !document.body.classList.contains('busy')")


def test_a_narrow_window_shows_all_of_it(server: Server) -> None:
    with opened(server, 390) as tab:
        tab.wait_for("innerWidth === 390")
        assert tab.value("document.documentElement.scrollWidth <= innerWidth")
        box = "document.querySelector('#picture').getBoundingClientRect()"
        assert 300 < tab.value(f"{box}.width") <= tab.value("innerWidth")
        before = count(tab)
        click_at(tab, 120, 88)
        tab.wait_for(f"{COUNT} === {before + 1}")


def test_the_nuclei_can_be_hidden(tab: Tab) -> None:
    press_button(tab, "outlined")
    assert tab.value("getComputedStyle(document.querySelector('#nuclei')).display") == "none"


def test_nothing_leaves_this_machine(tab: Tab, server: Server) -> None:
    assert tab.requests
    hosts = {re.match(r"(?:data:|blob:|\w+://([^/:]*))", each)[1] for each in tab.requests}
    assert hosts - {None} == {"127.0.0.1"}
    connected = server.folder / "connected.txt"
    assert not connected.exists() or set(connected.read_text().split()) == {"127.0.0.1"}
    for family, address in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with (
            socket.socket(family) as other,
            pytest.raises(OSError, match=r"refused|unreach|assign"),
        ):
            other.connect((address, server.port))


def test_it_ends_when_it_is_interrupted(tab: Tab, server: Server) -> None:
    """The last test, as it ends the server, although a browser has the page open."""
    assert server.process.pid
    os.kill(server.process.pid, signal.SIGINT)
    server.process.join(60)
    assert server.process.exitcode == 0
