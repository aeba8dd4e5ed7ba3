"""The page without a browser: places of clicks, what steps do, and a port that is taken."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from disc_predictor import RADIUS, image

pytest.importorskip("uvicorn", reason="uvicorn is not installed: `pip install -e '.[annotate]'`")

from cfrsam_d2.apps.annotate import AnnotationSession
from cfrsam_d2.apps.annotate.page import AnnotationPage, listening, svg_path
from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.errors import UserError
from cfrsam_d2.export.outlines import signed_area
from cfrsam_d2.predictor import NucleusPredictor
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import decode_mask


@pytest.fixture
def page(predictor: Callable[..., NucleusPredictor], tmp_path: Path) -> AnnotationPage:
    """Of an image of 100×72 px, without nuclei."""
    session = AnnotationSession(predictor(discs=True), image(72, 100), "tile.tiff")
    session.nuclei = session.nuclei[:0]
    return AnnotationPage(session, tmp_path)


def test_a_click_is_where_it_is_seen(page: AnnotationPage) -> None:
    for place, point in (
        ((30.5, 40.5), [30, 40]),  # the middle of a pixel
        ((30, 40), [29.5, 39.5]),  # its corner
        ((0, 0), [0, 0]),  # the outermost half of a pixel counts as its middle
        ((100, 72), [99, 71]),
    ):
        page.do("click", {"x": place[0], "y": place[1]})
        assert page.session.nuclei.pred_points.tolist() == [point]
        assert page.do("undo", {})["nuclei"] == []


def test_an_answer_has_all_nuclei_and_what_was_done(page: AnnotationPage) -> None:
    assert page.do("show", {}) == {
        "nuclei": [],
        "can_undo": True,  # the fixture has taken the nuclei away
        "can_redo": False,
        "done": "",
    }
    answer = page.do("click", {"x": 30.5, "y": 40.5, "class": 1})
    (nucleus,) = answer["nuclei"]
    assert nucleus | {"path": ""} == {"path": "", "class": 1, "score": 0.75, "point": [30, 40]}
    assert nucleus["path"].startswith("M")
    assert answer["done"].startswith(f"Added a nucleus of class {page.session.classes[1]}")
    changed = page.do("click", {"x": 32, "y": 40, "class": 2, "changes_class": True})
    assert changed["nuclei"][0]["class"] == 2
    assert page.do("click", {"x": 32, "y": 40, "changes_class": True})["done"].startswith("Choose")
    assert page.do("undo", {})["can_redo"]


def test_a_path_surrounds_the_pixels_and_leaves_out_holes() -> None:
    frame = np.zeros((8, 8), bool)
    frame[1:6, 2:7] = True
    frame[3, 4] = False
    path = svg_path(BoxMask.of_frame(frame))
    rings = [
        np.array([point.split() for point in ring.rstrip("Z").split("L")], float)
        for ring in path.split("M")[1:]
    ]
    assert sorted(len(ring) for ring in rings) == [4, 4]
    assert sorted(signed_area([*ring, ring[0]]) for ring in rings) == [-1, 25]


def test_nuclei_come_back_from_an_export(page: AnnotationPage, tmp_path: Path) -> None:
    before = page.do("click", {"x": 30.5, "y": 40.5, "class": 1})["nuclei"]
    assert page.do("export", {})["done"] == f"Wrote 1 nuclei: {tmp_path}/tile.geojson and others."
    page.do("reset", {})
    read = page.do("read", {"text": (tmp_path / "tile.geojson").read_text()})
    assert read["done"] == "Read 1 nuclei."
    assert read["nuclei"][0]["path"] == before[0]["path"]
    for text in ("no GeoJSON", '{"type": "FeatureCollection"}'):
        done = page.do("read", {"text": text})["done"]
        assert done.startswith("Not done: the file"), done
        assert len(page.session.nuclei) == 1


def test_corrected_images_make_a_data_set(page: AnnotationPage, tmp_path: Path) -> None:
    page.do("click", {"x": 30.5, "y": 40.5, "class": 1})
    page.do("save", {})
    page.do("click", {"x": 70.5, "y": 40.5, "class": 2})
    folder = tmp_path / "dataset"
    said = f"Saved 2 nuclei of tile.png in {folder / 'nuclei.json'}."
    assert page.do("save", {})["done"] == said
    page.session.file_name = "other.png"
    page.do("save", {})
    first, second = load_nucleus_json(folder / "nuclei.json", folder / "images")
    assert [Path(each["file_name"]).name for each in (first, second)] == ["tile.png", "other.png"]
    for record in (first, second):
        assert [each["category_id"] for each in record["annotations"]] == [1, 2]
        mask = decode_mask(record["annotations"][0]["segmentation"])
        assert mask.box == (30 - RADIUS, 40 - RADIUS, 31 + RADIUS, 41 + RADIUS)
        pixels = cv2.cvtColor(cv2.imread(record["file_name"]), cv2.COLOR_BGR2RGB)
        np.testing.assert_array_equal(pixels, page.session.image)
    data = json.loads((folder / "nuclei.json").read_text())
    data["categories"][0]["name"] = "dust"
    (folder / "nuclei.json").write_text(json.dumps(data))
    done = page.do("save", {})["done"]
    assert done.startswith(f"Not done: {folder / 'nuclei.json'} has the classes dust")


def test_a_failed_export_says_why(page: AnnotationPage, tmp_path: Path) -> None:
    page.output = tmp_path / "file"
    page.output.write_text("")
    assert page.do("export", {})["done"].startswith(f"Not done: cannot write {page.output}")


def test_a_port_that_is_taken_is_named() -> None:
    with listening(None) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken: let --port name a free one"):
            listening(port)
        assert other.family == socket.AF_INET
