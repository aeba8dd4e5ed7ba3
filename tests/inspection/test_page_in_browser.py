"""tools/inspect.py in a real browser: clicks change the nuclei, and nothing leaves this machine."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from browser import Tab, needs_chromium, visit
from inspected import CONFIG, TINY, image
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed: `pip install -e '.[inspect]'`")
pytestmark = needs_chromium

ROOT = Path(__file__).resolve().parents[2]
# As the command, with a mask head that cuts out discs.
SCRIPT = """
import runpy, sys
sys.path.insert(0, {here!r})
import cfrsam_d2.predictor
from inspected import with_discs
class Predictor(cfrsam_d2.predictor.NucleusPredictor):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        with_discs(self)
        self.model.proposal_generator.keep_on_mask_only = False
        self.model.proposal_generator.suppression_radius = 1000.0  # one nucleus
cfrsam_d2.predictor.NucleusPredictor = Predictor
sys.argv[0] = "inspect.py"
runpy.run_path({tool!r}, run_name="__main__")
"""


class Server(NamedTuple):
    address: str
    output: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("inspected")
    Image.fromarray(image(96, 128)).save(folder / "tile.png")
    script = SCRIPT.format(here=str(Path(__file__).parent), tool=str(ROOT / "tools" / "inspect.py"))
    command = [sys.executable, "-u", "-c", script, str(folder / "tile.png"), "--no-browser"]
    command += ["--config-file", str(CONFIG), "--output", str(folder / "out")]
    command += [*TINY, "MODEL.WEIGHTS", str(weights)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"http://\S+", line):
            break
    assert found, said
    yield Server(found[0], folder / "out")
    process.terminate()
    process.wait()


@pytest.fixture
def tab(server: Server, tmp_path: Path) -> Iterator[Tab]:
    with visit(server.address, tmp_path, "--window-size=1200,900") as tab:
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


def nuclei(tab: Tab) -> int:
    return tab.value(
        "[...document.querySelectorAll('#legend li')]"
        ".reduce((sum, e) => sum + Number(e.textContent.split(': ')[1]), 0)"
    )


def test_clicks_change_the_nuclei_and_the_picture(tab: Tab, server: Server) -> None:
    button(tab, "Reset")
    status_is(tab, "Back to what the model finds")
    before = nuclei(tab)
    source = "document.querySelector('#picture img').src"
    first = tab.value(source)
    corner = (120, 88)
    click_at(tab, *corner)
    status_is(tab, "Added a nucleus of class")
    assert nuclei(tab) == before + 1
    assert tab.value(source) != first
    button(tab, "Export")
    status_is(tab, f"Wrote {before + 1} nuclei")
    features = json.loads((server.output / "tile.geojson").read_text())["features"]
    assert len(features) == before + 1
    (x0, y0), (x1, y1) = bounds(features[-1]["geometry"]["coordinates"])
    assert ((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5) == pytest.approx(corner, abs=1)
    assert (server.output / "tile_overlay.png").is_file()
    click_at(tab, corner[0] + 3, corner[1])
    status_is(tab, "Removed a nucleus of class")
    assert nuclei(tab) == before
    assert tab.errors == []


def bounds(rings: list) -> tuple[tuple[float, float], tuple[float, float]]:
    xs, ys = zip(*(point for ring in rings for point in ring), strict=True)
    return (min(xs), min(ys)), (max(xs), max(ys))


def test_the_nuclei_can_be_hidden(tab: Tab) -> None:
    source = "document.querySelector('#picture img').src"
    first = tab.value(source)
    tab.value("document.querySelector('#outlined input').click()")
    tab.wait_for(f"{source} !== {json.dumps(first)}")


def test_nothing_leaves_this_machine(tab: Tab, server: Server) -> None:
    assert tab.requests
    hosts = {re.match(r"(?:data:|blob:|\w+://([^/:]*))", each)[1] for each in tab.requests}
    assert hosts - {None} == {"127.0.0.1"}
    port = int(server.address.rstrip("/").rpartition(":")[2])
    for family, address in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with (
            socket.socket(family) as other,
            pytest.raises(OSError, match=r"refused|unreach|assign"),
        ):
            other.connect((address, port))
