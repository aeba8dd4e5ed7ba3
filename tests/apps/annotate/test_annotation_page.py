"""The page without a browser: places of clicks, and a port that is taken."""

import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from disc_predictor import image

pytest.importorskip("gradio", reason="gradio is not installed: `pip install -e '.[annotate]'`")

from cfrsam_d2.apps.annotate import AnnotationSession
from cfrsam_d2.apps.annotate.page import AS_NEAREST, AnnotationPage
from cfrsam_d2.errors import UserError
from cfrsam_d2.predictor import NucleusPredictor


@pytest.fixture
def page(predictor: Callable[..., NucleusPredictor], tmp_path: Path) -> AnnotationPage:
    """Of an image of 100×72 px, eight times enlarged, without nuclei."""
    session = AnnotationSession(predictor(discs=True), image(72, 100), "tile.png")
    session.nuclei = session.nuclei[:0]
    return AnnotationPage(session, tmp_path)


@pytest.mark.parametrize(
    ("index", "point"),
    [
        ((244, 324), (30, 40)),  # the middle of a pixel that covers 240 to 248 and 320 to 328
        ((240, 320), (29.5, 39.5)),  # its corner
        ((0, 0), (0, 0)),  # the outermost half of a pixel counts as its middle
        ((799, 575), (99, 71)),
    ],
)
def test_a_click_is_where_it_is_seen(
    page: AnnotationPage, index: tuple[int, int], point: tuple[float, float]
) -> None:
    assert page.scale == 8
    page.click(AS_NEAREST, True, SimpleNamespace(index=list(index)))
    assert page.session.nuclei.pred_points.tolist() == [list(point)]


def test_the_picture_and_the_legend_follow(page: AnnotationPage) -> None:
    before, legend, _ = page.show(True)
    name, color = page.session.classes[1], page.session.colors[1]
    assert f"{name}: 0" in legend
    after, legend, done = page.click(name, True, SimpleNamespace(index=[244, 324]))
    assert before.shape == after.shape == (576, 800, 3)
    assert f"{name}: 1" in legend
    assert done.startswith(f"Added a nucleus of class {name}")
    changed = (before != after).any(axis=2)
    rows, columns = changed.nonzero()
    assert abs(rows.mean() - 324) < 2
    assert abs(columns.mean() - 244) < 2
    assert (after[changed] == color).all(axis=1).sum() > 100


def test_a_port_that_is_taken_is_named(page: AnnotationPage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken: let --port name a free one"):
            page.launch(port, open_browser=False)
