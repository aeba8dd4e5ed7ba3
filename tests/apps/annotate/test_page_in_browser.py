"""tools/annotate.py in a browser: clicks change the nuclei, and nothing leaves this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from browser import Tab, needs_chromium, visit
from disc_predictor import CONFIG, image
from PIL import Image
from tiny_demo import TINY

pytest.importorskip("gradio", reason="gradio is not installed: `pip install -e '.[annotate]'`")
pytestmark = needs_chromium

ROOT = Path(__file__).resolve().parents[3]
# As the command, with a mask head that cuts out discs; with addresses noted that it connects to.
SCRIPT = """
import runpy, socket, sys
connect = socket.socket.connect
def noted(self, address):
    with open({noted!r}, "a") as file:
        print(address[0], file=file)
    return connect(self, address)
socket.socket.connect = noted
sys.path[:0] = {folders!r}
import cfrsam_d2.predictor
from disc_predictor import with_discs
class Predictor(cfrsam_d2.predictor.NucleusPredictor):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        with_discs(self)
        self.model.proposal_generator.keep_on_mask_only = False
        self.model.proposal_generator.suppression_radius = 1000.0  # one nucleus
cfrsam_d2.predictor.NucleusPredictor = Predictor
sys.argv[0] = "annotate.py"
runpy.run_path({tool!r}, run_name="__main__")
"""


class Server(NamedTuple):
    address: str
    port: int
    folder: Path
    process: subprocess.Popen

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def pictures(self) -> list[Path]:
        """What Gradio keeps on disk."""
        return [path for path in (self.folder / "shown").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("annotated")
    Image.fromarray(image(96, 128)).save(folder / "tile.png")
    folders = [
        str(folder) for folder in (Path(__file__).parent, ROOT / "tests", ROOT / "benchmarks")
    ]
    tool = str(ROOT / "tools" / "annotate.py")
    script = SCRIPT.format(folders=folders, tool=tool, noted=str(folder / "connected.txt"))
    command = [sys.executable, "-u", "-c", script, str(folder / "tile.png"), "--no-browser"]
    command += ["--config-file", str(CONFIG), "--output", str(folder / "out")]
    command += [*TINY, "MODEL.WEIGHTS", str(weights)]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "shown")}
    environment.pop("NO_ALBUMENTATIONS_UPDATE", None)  # set by this process
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"http://127.0.0.1:(\d+)/", line):
            break
    assert found, said
    yield Server(found[0], int(found[1]), folder, process)
    process.terminate()
    process.wait()


@pytest.fixture
def tab(server: Server) -> Iterator[Tab]:
    with visit(server.address, "--window-size=1200,900") as tab:
        tab.wait_for("document.querySelector('#picture img')?.naturalWidth > 0")
        tab.wait_for("document.querySelector('#legend') !== null")
        yield tab


def click_at(tab: Tab, x: float, y: float) -> None:
    """On a place of the image of 128×96 px."""
    left, top, width, height = tab.value(
        "(() => { const r = document.querySelector('#picture img').getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height]; })()"
    )
    assert width / height == pytest.approx(128 / 96, rel=0.02)
    tab.click(left + (x + 0.5) * width / 128, top + (y + 0.5) * height / 96)


def button(tab: Tab, name: str) -> None:
    buttons = "[...document.querySelectorAll('button')]"
    tab.value(f"{buttons}.find(e => e.textContent.trim() === '{name}').click()")


def status_is(tab: Tab, text: str) -> None:
    tab.wait_for(f"document.querySelector('#status').innerText.includes({json.dumps(text)})")


NUCLEI = (
    "[...document.querySelectorAll('#legend li')]"
    ".reduce((sum, e) => sum + Number(e.textContent.split(': ')[1]), 0)"
)


def test_clicks_change_the_nuclei_and_the_picture(tab: Tab, server: Server) -> None:
    button(tab, "Reset")
    status_is(tab, "Back to what the model finds")
    before = tab.value(NUCLEI)
    source = "document.querySelector('#picture img').src"
    first = tab.value(source)
    corner = (120, 88)
    click_at(tab, *corner)
    status_is(tab, "Added a nucleus of class")
    assert tab.value(NUCLEI) == before + 1
    assert tab.value(source) != first
    button(tab, "Export")
    status_is(tab, f"Wrote {before + 1} nuclei")
    features = json.loads((server.output / "tile.geojson").read_text())["features"]
    assert len(features) == before + 1
    (x0, y0), (x1, y1) = bounds(features[-1]["geometry"]["coordinates"])
    assert ((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5) == pytest.approx(corner, abs=0.5)
    assert (server.output / "tile_overlay.png").is_file()
    click_at(tab, corner[0] + 3, corner[1])
    status_is(tab, "Removed a nucleus of class")
    assert tab.value(NUCLEI) == before
    assert tab.errors == []


def bounds(rings: list) -> tuple[tuple[float, float], tuple[float, float]]:
    xs, ys = zip(*(point for ring in rings for point in ring), strict=True)
    return (min(xs), min(ys)), (max(xs), max(ys))


def test_of_fast_clicks_none_is_lost(tab: Tab) -> None:
    before = tab.value(NUCLEI)
    for x in (20, 50, 80):
        click_at(tab, x, 88)
    tab.wait_for(f"{NUCLEI} === {before + 3}")
    button(tab, "Reset")
    status_is(tab, "Back to what the model finds")


def test_a_failed_export_says_why(tab: Tab, server: Server) -> None:
    moved = server.output.rename(server.folder / "moved") if server.output.exists() else None
    server.output.write_text("")
    button(tab, "Export")
    status_is(tab, f"Not exported: cannot write {server.output}")
    server.output.unlink()
    if moved:
        moved.rename(server.output)


def test_the_nuclei_can_be_hidden(tab: Tab) -> None:
    source = "document.querySelector('#picture img').src"
    first = tab.value(source)
    tab.value("document.querySelector('#outlined input').click()")
    tab.wait_for(f"{source} !== {json.dumps(first)}")


def test_nothing_leaves_this_machine(tab: Tab, server: Server) -> None:
    assert tab.requests
    hosts = {re.match(r"(?:data:|blob:|\w+://([^/:]*))", each)[1] for each in tab.requests}
    assert hosts - {None} == {"127.0.0.1"}
    assert set((server.folder / "connected.txt").read_text().split()) == {"127.0.0.1"}
    for family, address in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with (
            socket.socket(family) as other,
            pytest.raises(OSError, match=r"refused|unreach|assign"),
        ):
            other.connect((address, server.port))


def test_no_picture_is_left_when_it_is_interrupted(tab: Tab, server: Server) -> None:
    """The last test, as it ends the server."""
    assert server.pictures
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=600) == 0
    assert server.pictures == []
