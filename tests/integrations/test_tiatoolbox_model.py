"""CFR-SAM in TIAToolbox: the lines of docs/tiatoolbox.md, by TIAToolbox's own engine."""

import sqlite3
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tiatoolbox", reason="pip install 'cfrsam_d2[tiatoolbox]'")
pytest.importorskip("openslide", reason="pip install 'cfrsam_d2[tiatoolbox]'")
pytest.importorskip("imagecodecs", reason="pip install 'cfrsam_d2[tiatoolbox]'")
import cv2
import openslide
import pyarrow as pa
import shapely
import torch
from detectron2.structures import Instances
from disc_slides import CONFIG, OVERRIDES, disc_predictor, lines_of, nuclei_of, write_slide
from scipy import ndimage
from slide_nuclei import NONE, chunks
from tiatoolbox.annotation import SQLiteStore
from tiatoolbox.models import MultiTaskSegmentor

from cfrsam_d2.errors import UserError
from cfrsam_d2.integrations import tiatoolbox
from cfrsam_d2.integrations.tiatoolbox import NucleusModel, dense_map, write_annotations
from cfrsam_d2.slides.geometry import mask_within
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_svs
from cfrsam_d2.slides.table import FEATURES
from cfrsam_d2.slides.writers.parquet import write_parquet
from cfrsam_d2.structures.label_map import label_masks
from cfrsam_d2.structures.masks import BoxMask, BoxMasks

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of its dependencies
    pytest.mark.skipif(
        not hasattr(sqlite3.Connection, "enable_load_extension"),
        reason="this Python's SQLite loads no extensions",
    ),
]


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


def find_dark_spots(inputs: list[dict]) -> list[dict[str, Instances]]:
    """In place of a network: what is dark and does not touch the edge, whatever lies around."""
    found = []
    for each in inputs:
        dark = each["image"].float().mean(dim=0).numpy() < 128
        labels = ndimage.label(np.pad(dark, 1, constant_values=True))[0][1:-1, 1:-1] - 1
        masks = BoxMasks.from_box_masks([mask for _, mask in label_masks(labels)], dark.shape)
        spots = Instances(
            dark.shape,
            pred_masks=masks,
            pred_points=masks.centroids().float(),
            pred_classes=torch.zeros(len(masks), dtype=torch.long),
            scores=torch.full((len(masks),), 0.5),
        )
        found.append({"instances": spots})
    return found


def test_nuclei_on_the_seams_of_patches_and_tiles_come_out_whole(
    folder: Path, weights: Path
) -> None:
    """Discs of 17 px in a grid that crosses the seams, of patches each 128 px, of tiles at 256."""
    pixels = np.full((256, 384, 3), 240, np.uint8)
    for x, y in product(range(21, 370, 36), range(20, 250, 36)):
        cv2.circle(pixels, (x, y), 8, (60, 40, 90), cv2.FILLED)
    write_svs(folder / "slide.svs", SyntheticPlane(pixels, (384, 256), glass=None))
    with openslide.OpenSlide(folder / "slide.svs") as slide:
        image = np.asarray(slide.read_region((0, 0), 0, (384, 256)).convert("RGB"))
    (spots,) = find_dark_spots([{"image": torch.from_numpy(image).permute(2, 0, 1)}])
    wanted = {mask.frame(256, 384).tobytes() for mask in spots["instances"].pred_masks}
    assert len(wanted) == 70
    model = NucleusModel(CONFIG, weights, [*OVERRIDES, "SLIDE.TILE", "128", "SLIDE.HALO", "32"])
    model.network.forward = find_dark_spots
    for tile, memory in ((512, 80), (256, 80), (512, 0)):  # at last the map goes to the disk
        out = MultiTaskSegmentor(model=model, verbose=False).run(
            [folder / "slide.svs"],
            patch_mode=False,
            ioconfig=replace(model.ioconfig, tile_shape=(tile, tile), margin=32),
            save_dir=folder / f"out_{tile}_{memory}",
            output_type="annotationstore",
            memory_threshold=memory,
        )
        (path,) = out[folder / "slide.svs"]
        found = [mask_within(each.geometry, 1.0) for each in SQLiteStore(path).values()]
        assert len(found) == len(wanted), tile
        assert {mask.frame(256, 384).tobytes() for mask in found} == wanted


def test_a_slide_may_have_no_nuclei(folder: Path, weights: Path) -> None:
    glass = np.full((256, 256, 3), 240, np.uint8)
    write_svs(folder / "slide.svs", SyntheticPlane(glass, (256, 256), glass=None))
    model = NucleusModel(CONFIG, weights, [*OVERRIDES, "SLIDE.TILE", "256", "SLIDE.HALO", "0"])
    model.network.forward = find_dark_spots
    out = MultiTaskSegmentor(model=model, verbose=False).run(
        [folder / "slide.svs"],
        patch_mode=False,
        ioconfig=model.ioconfig,
        save_dir=folder / "out",
        output_type="annotationstore",
        auto_get_mask=False,
    )
    (path,) = out[folder / "slide.svs"]
    assert len(SQLiteStore(path)) == 0


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


def test_some_pythons_cannot_write_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiatoolbox, "sqlite3", SimpleNamespace(Connection=object))
    with pytest.raises(UserError, match=r"^slide\.db cannot be written, .* take one of conda"):
        write_annotations("nuclei.parquet", "slide.db")
    assert not list(folder.iterdir())
