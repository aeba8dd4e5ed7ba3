"""CFR-SAM in TIAToolbox: the lines of docs/tiatoolbox.md, by TIAToolbox's own engine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

for name in ("tiatoolbox", "openslide", "imagecodecs"):
    pytest.importorskip(name, reason=f"{name} is missing: pip install 'cfrsam_d2[tiatoolbox]'")
import pyarrow as pa
import shapely
import torch
from detectron2.structures import Instances
from disc_slides import CONFIG, OVERRIDES, disc_predictor, lines_of, nuclei_of, write_slide
from slide_nuclei import NONE, chunks
from tiatoolbox.annotation import SQLiteStore
from tiatoolbox.models import MultiTaskSegmentor

from cfrsam_d2.integrations import tiatoolbox
from cfrsam_d2.integrations.tiatoolbox import NucleusModel, dense_map, write_annotations
from cfrsam_d2.slides.geometry import mask_within
from cfrsam_d2.slides.table import FEATURES
from cfrsam_d2.slides.writers.parquet import write_parquet
from cfrsam_d2.structures.masks import BoxMask, BoxMasks

pytestmark = pytest.mark.filterwarnings("ignore")  # of its dependencies


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's lines run, with a model that finds discs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tiatoolbox, "slide_predictor", disc_predictor)
    return tmp_path


def test_the_page_finds_the_nuclei_of_the_same_pixels(folder: Path, weights: Path) -> None:
    pixels = write_slide(folder / "slide.svs", (256, 256))
    one_patch = ["SLIDE.TILE", "256", "SLIDE.HALO", "0"]
    exec(lines_of("tiatoolbox.md", 0, weights, [*OVERRIDES, *one_patch]), {})
    found = {}
    for each in SQLiteStore(folder / "out" / "slide.db").values():
        mask = mask_within(each.geometry, 1.0).frame(256, 256).tobytes()
        found[mask] = each.properties["type"], each.properties["prob"]
    assert len(found) > 10
    assert found == nuclei_of(pixels, weights)


def test_nuclei_on_the_seams_of_patches_and_tiles_come_out_whole(
    folder: Path, weights: Path
) -> None:
    write_slide(folder / "slide.svs", (384, 256))
    patches = ["SLIDE.TILE", "128", "SLIDE.HALO", "64"]
    model = NucleusModel(CONFIG, weights, [*OVERRIDES, *patches])
    found = []
    for tile in (512, 256):
        (path,) = MultiTaskSegmentor(model=model, verbose=False).run(
            [folder / "slide.svs"],
            patch_mode=False,
            ioconfig=replace(model.ioconfig, tile_shape=(tile, tile), margin=32),
            save_dir=folder / f"out_{tile}",
            output_type="annotationstore",
        )[folder / "slide.svs"]
        found.append({each.geometry.normalize().wkb for each in SQLiteStore(path).values()})
    whole, tiled = found
    areas = shapely.area(shapely.from_wkb(list(whole)))
    boxes = shapely.bounds(shapely.from_wkb(list(whole)))
    seams = [(boxes[:, axis] < at) & (boxes[:, axis + 2] > at) for axis, at in ((0, 128), (1, 128))]
    assert min(map(np.count_nonzero, seams)) > 1
    assert areas.min() > 0.9 * areas.max()  # none is cut
    assert tiled == whole


def nuclei(size: tuple[int, int], corners: list[tuple[int, int]]) -> Instances:
    """Nuclei of 10×8 px that overlap by a column, the first on top, prompted in their middle."""
    masks = [BoxMask(x, y, np.ones((8, 10), bool)) for x, y in corners]
    count = len(masks)
    return Instances(
        size,
        pred_masks=BoxMasks.from_box_masks(masks, size),
        pred_points=torch.tensor(corners).reshape(-1, 2) + torch.tensor([4.75, 3.5001]),
        pred_classes=torch.arange(count),
        scores=torch.linspace(0.9, 0.6, count),
    )


def test_two_patches_make_one_map() -> None:
    """Of 40×32 px, cut at column 20; the left patch has the core 0..20, the right 20..40."""
    whole = dense_map(nuclei((32, 40), [(16, 10), (7, 10)]))
    left = dense_map(nuclei((32, 32), [(16, 10), (7, 10)]))[:, :20]
    right = dense_map(nuclei((32, 32), [(8, 10)]))[:, 12:]
    joined = torch.cat([left, right], dim=1).numpy()
    assert np.array_equal(joined, whole.numpy())
    (found,) = NucleusModel.postproc([joined], offset=(100, 200))
    labels = np.zeros((32, 40), np.int32)
    labels[10:18, 7:16], labels[10:18, 16:26] = 1, 2
    assert np.array_equal(found["predictions"], labels)
    info = {name: each.tolist() for name, each in found["info_dict"].items()}
    assert info["box"] == [[107, 210, 116, 218], [116, 210, 126, 218]]
    assert info["centroid"] == [[111.5, 214], [121, 214]]
    assert info["type"] == [2, 1]
    assert info["prob"] == pytest.approx([0.6, 0.9])
    assert sorted(info["contours"][0]) == [[107, 210], [107, 218], [116, 210], [116, 218]]


def test_a_map_may_be_empty() -> None:
    (found,) = NucleusModel.postproc([dense_map(nuclei((8, 9), [])).numpy()])
    assert not found["predictions"].any()
    lengths = {name: len(each) for name, each in found["info_dict"].items()}
    assert lengths == dict.fromkeys(("box", "centroid", "contours", "type", "prob"), 0)


def test_the_page_writes_the_nuclei_of_a_slide(folder: Path, weights: Path) -> None:
    write_parquet(chunks(), folder / "nuclei" / "slide" / "nuclei.parquet")
    exec(lines_of("tiatoolbox.md", 1, weights, OVERRIDES), {})
    store, table = SQLiteStore(folder / "slide.db"), pa.concat_tables(chunks())
    outlines = shapely.from_wkb(table["geometry"].to_numpy())
    assert len(store) == len(table)
    for row, outline in zip(table.to_pylist(), outlines, strict=True):
        annotation = store[str(row["id"])]
        assert shapely.equals(annotation.geometry, outline)
        wanted = {"type": row["class"], "prob": row["score"]}
        assert annotation.properties == wanted | {name: row[name] for name in FEATURES}

    write_parquet(NONE, folder / "none.parquet")
    assert write_annotations(folder / "none.parquet", folder / "slide.db") == 0
    assert len(SQLiteStore(folder / "slide.db")) == 0
