"""CFR-SAM in LazySlide: the lines of docs/lazyslide.md, by LazySlide's own functions."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lazyslide", reason="pip install 'cfrsam_d2[lazyslide]'")
pytest.importorskip("openslide", reason="pip install 'cfrsam_d2[lazyslide]'")
pytest.importorskip("imagecodecs", reason="pip install 'cfrsam_d2[lazyslide]'")
import cv2
import pyarrow as pa
import shapely
import torch
import wsidata
from detectron2.structures import Instances
from disc_slides import CONFIG, OVERRIDES, disc_predictor, lines_of, nuclei_of, write_slide
from slide_nuclei import NONE, chunks

from cfrsam_d2.integrations import lazyslide
from cfrsam_d2.integrations.lazyslide import CFRSAMSegmentation, add_nuclei
from cfrsam_d2.slides.table import FEATURES
from cfrsam_d2.slides.writers.parquet import write_parquet
from cfrsam_d2.structures.masks import BoxMask, BoxMasks

SIDE = 256  # of the tile: one window
pytestmark = pytest.mark.filterwarnings("ignore")  # of its dependencies


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's lines run, with a model that finds discs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lazyslide, "slide_predictor", disc_predictor)
    return tmp_path


def filled(polygon: shapely.Polygon) -> bytes:
    """The pixels that a contour of OpenCV, from centre to centre, encloses."""
    corners = np.array(polygon.exterior.coords, np.int32)
    return cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [corners], 1).astype(bool).tobytes()


def is_clear_of_the_edge(mask: bytes) -> bool:
    """Whether LazySlide keeps it: it drops what comes within 2 px."""
    x0, y0, x1, y1 = BoxMask.of_frame(np.frombuffer(mask, bool).reshape(SIDE, SIDE)).box
    return min(x0, y0) > 2 and max(x1, y1) < SIDE - 1


def test_the_page_finds_the_nuclei_of_the_same_pixels(folder: Path, weights: Path) -> None:
    pixels = write_slide(folder / "slide.svs", (SIDE, SIDE))
    names: dict = {}
    exec(lines_of("lazyslide.md", 0, weights, OVERRIDES).replace("512", str(SIDE)), names)
    cells = names["wsi"].shapes["cells"]
    described = zip(cells["class"], cells["prob"], strict=True)
    found = dict(zip(map(filled, cells.geometry), described, strict=True))
    wanted = nuclei_of(pixels, weights)
    assert len(found) > 5
    assert found == {mask: each for mask, each in wanted.items() if is_clear_of_the_edge(mask)}


def test_the_page_adds_the_nuclei_of_a_slide(folder: Path, weights: Path) -> None:
    write_slide(folder / "slide.svs", (256, 256))
    write_parquet(chunks(), folder / "nuclei" / "slide" / "nuclei.parquet")
    names: dict = {}
    exec(lines_of("lazyslide.md", 1, weights, OVERRIDES), names)
    cells, nuclei = names["wsi"].shapes["cells"], pa.concat_tables(chunks())
    outlines = shapely.from_wkb(nuclei["geometry"].to_numpy())
    assert shapely.equals(cells.geometry.to_numpy(), outlines).all()
    for column, name in {"cell_id": "id", "class": "class", "prob": "score"}.items():
        assert cells[column].tolist() == nuclei[name].to_pylist()
    assert set(FEATURES) < set(cells.columns)

    write_parquet(NONE, folder / "none.parquet")
    assert add_nuclei(names["wsi"], folder / "none.parquet", "none") == 0
    assert "none" not in names["wsi"].shapes
    names["wsi"].write(folder / "slide.zarr")
    assert len(wsidata.open_wsi(folder / "slide.svs").shapes["cells"]) == len(nuclei)


def test_tiles_of_a_batch_may_have_no_nuclei(weights: Path) -> None:
    model = CFRSAMSegmentation(CONFIG, weights, OVERRIDES)
    masks = BoxMasks.from_box_masks(
        [BoxMask(2, 1, np.ones((2, 3), bool)), BoxMask(3, 0, np.ones((2, 3), bool))], (4, 6)
    )
    two = Instances(
        (4, 6),
        pred_masks=masks,
        pred_classes=torch.tensor([1, 0]),
        scores=torch.tensor([0.75, 0.5]),
    )
    tiles = iter([two, two[two.scores > 1]])
    model.model = lambda inputs: [{"instances": next(tiles)} for _ in inputs]
    output = model.segment(torch.zeros(2, 3, 4, 6, dtype=torch.uint8))
    rows = [[0, 0, 0, 2, 2, 2], [0, 0, 1, 1, 1, 2], [0, 0, 1, 1, 1, 0], [0] * 6]
    assert output.instance_map.tolist() == [rows, [[0] * 6] * 4]
    assert output.classes == model.classes
    by_class = output.probability_map
    assert by_class.shape == (2, len(model.classes), 4, 6)
    labels = output.instance_map
    assert torch.equal(by_class[:, 1], 0.75 * (labels == 1))
    assert torch.equal(by_class[:, 0], 0.5 * (labels == 2))
    assert not by_class[:, 2:].any()
