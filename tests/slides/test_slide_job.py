"""The passes over a slide: the same whatever the order, batch, readers and kills."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import torch
from damage import damage_tile
from finders import contents, finder
from PIL import Image

from cfrsam_d2.apps.slides import SlideOptions, segment_slide
from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.mask_head.class_head import ClassHead
from cfrsam_d2.slides.lattice import Chunk, Lattice
from cfrsam_d2.slides.parts import Parts
from cfrsam_d2.slides.points import points_of_tile
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_svs


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> SlideOptions:
    """Tissue where four chunks meet."""
    mask = tmp_path_factory.mktemp("mask") / "spot.png"
    pixels = np.zeros((64, 64), np.uint8)  # 32 px each
    pixels[23:25, 23:25] = 255
    Image.fromarray(pixels).save(mask)
    return SlideOptions(mask=mask, as_json=True)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.lattice.CHUNK", 768)
    monkeypatch.setattr("cfrsam_d2.slides.parts.PAUSES", ())


@pytest.fixture(scope="module")
def undisturbed(
    weights: Path,
    slide: Path,
    options: SlideOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The files of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "large"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cfrsam_d2.slides.lattice.CHUNK", 768)
        assert segment_slide(finder(weights), slide, folder, options).status == "done"
    return folder


def test_batches_and_readers_do_not_matter(
    weights: Path, slide: Path, options: SlideOptions, undisturbed: Path, tmp_path: Path
) -> None:
    other = finder(weights, "MODEL.SLIDING_WINDOW.BATCH", "1", "SLIDE.READERS", "4")
    segment_slide(other, slide, tmp_path / "large", options)
    assert contents(tmp_path / "large") == contents(undisturbed)


def test_killed_in_each_pass_it_goes_on_to_the_same_bytes(
    weights: Path,
    slide: Path,
    options: SlideOptions,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor, write = finder(weights), Parts.write
    for of_pass in ("points", "candidates", "nuclei"):
        parts = 0

        def dying(self: Parts, chunk: Chunk, table: pa.Table, of_pass: str = of_pass) -> None:
            nonlocal parts
            parts += self.folder.name == of_pass
            if parts > 2:
                raise KeyboardInterrupt
            write(self, chunk, table)

        monkeypatch.setattr(Parts, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            segment_slide(predictor, slide, tmp_path / "large", options)
        assert len(list((tmp_path / "large" / "parts" / of_pass).glob("*.parquet"))) >= 2
        assert not (tmp_path / "large" / "nuclei.parquet").exists()
    monkeypatch.setattr(Parts, "write", write)
    # In another order: what is missing of a pass may lie before what is there.
    sorted((tmp_path / "large" / "parts" / "candidates").iterdir())[0].unlink()
    segment_slide(predictor, slide, tmp_path / "large", options)
    assert contents(tmp_path / "large") == contents(undisturbed)
    assert json.loads((tmp_path / "large" / "summary.json").read_bytes())["resumed"]


def test_tiles_have_the_points_of_the_same_pixels_as_one_image(
    weights: Path, tissue_pixels: np.ndarray
) -> None:
    size = (900, 700)
    pixels = SyntheticPlane(tissue_pixels, size, glass=None).read(0, 0, *size)
    model = finder(weights).model
    found = []
    for tile, halo in ((1024, 256), (256, 128)):
        lattice = Lattice(*size, tile, halo, model.sliding_window)
        tiles = [each for chunk in lattice.chunks() for each in lattice.tiles(chunk)]
        tables = []
        for each in tiles:
            x0, y0, x1, y1 = each.region
            tables.append(points_of_tile(model, each, pixels[y0:y1, x0:x1]))
        table = pa.concat_tables(tables).to_pandas()
        found.append(table.sort_values(["y", "x"], key=lambda column: column // 8))
    whole, tiled = found
    assert len(whole) == len(tiled) == 113 * 88
    places = ["x", "y", "score"]
    assert np.abs(whole[places].to_numpy() - tiled[places].to_numpy()).max() < 1e-3
    assert (whole["class_id"].to_numpy() == tiled["class_id"].to_numpy()).mean() > 0.99


def test_a_slide_has_the_nuclei_of_the_same_pixels_as_one_image(
    weights: Path, tissue_pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.lattice.CHUNK", 3840)  # one tile, else bits differ
    size = (640, 448)
    plane = SyntheticPlane(tissue_pixels, size, glass=None)
    pixels = plane.read(0, 0, *size)
    write_svs(tmp_path / "small.svs", plane, compression="deflate", tile=256)
    predictor = finder(weights, "SLIDE.TILE", "1024")
    segment_slide(predictor, tmp_path / "small.svs", tmp_path / "small", SlideOptions(whole=True))
    table = pq.read_table(tmp_path / "small" / "nuclei.parquet")
    whole = predictor(pixels)
    boxes = {tuple(box) for box in whole.pred_masks.boxes.tolist()}
    found = shapely.bounds(shapely.from_wkb(table["geometry"].to_numpy())).astype(int).tolist()
    assert len(table) == len(whole) > 20
    assert {tuple(box) for box in found} == boxes
    points = np.column_stack([table[axis].to_numpy() - 0.5 for axis in ("x", "y")])
    order, there = np.lexsort(points.T), np.lexsort(whole.pred_points.numpy().T)
    assert np.abs(points[order] - whole.pred_points.numpy()[there]).max() < 1e-3
    assert (table["class_id"].to_numpy()[order] == whole.pred_classes.numpy()[there]).all()


def test_a_slide_has_the_classes_that_stage_2_corrects(
    weights: Path, tissue_pixels: np.ndarray, tmp_path: Path
) -> None:
    """The second pass gives them to the third, and an image has the same."""
    plane = SyntheticPlane(tissue_pixels, (288, 256), glass=None)
    write_svs(tmp_path / "small.svs", plane, compression="deflate", tile=256, levels=(1,))
    pixels = plane.read(0, 0, 288, 256)
    predictor = finder(weights, "SLIDE.TILE", "1024")
    model = predictor.model
    with torch.no_grad():
        (stage1,) = model.propose([model.normalize(torch.from_numpy(pixels).permute(2, 0, 1))])
    torch.manual_seed(0)
    class_head = ClassHead(model.proposal_generator.num_classes)
    torch.nn.init.normal_(class_head.mlp[-1].weight, std=10.0)  # sure of itself
    model.mask_head.class_head = class_head.eval()
    model.proposal_generator.gives_class_probs = True
    whole = predictor(pixels)
    segment_slide(predictor, tmp_path / "small.svs", tmp_path / "small", SlideOptions(whole=True))
    table = pq.read_table(tmp_path / "small" / "nuclei.parquet")
    points = np.column_stack([table[axis].to_numpy() for axis in ("x", "y")])
    order, there = np.lexsort(points.T), np.lexsort(whole.pred_points.numpy().T)
    classes = whole.pred_classes.numpy()[there]
    assert len(table) == len(whole) > 4
    assert table["class_id"].to_numpy()[order].tolist() == classes.tolist()
    names = table["class"].to_pylist()
    assert [names[row] for row in order] == [predictor.classes[each] for each in classes]
    assert set(stage1.proposal_classes.tolist()) == {0} != set(classes.tolist())


def test_what_is_there_is_not_made_again_and_what_is_missing_is(
    weights: Path,
    slide: Path,
    options: SlideOptions,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*_: object) -> None:
        raise AssertionError("a pass was run")

    before, summary = contents(undisturbed), (undisturbed / "summary.json").read_bytes()
    monkeypatch.setattr("cfrsam_d2.apps.slides.SlideJob", nothing)
    (undisturbed / "nuclei.geojson.gz").unlink()
    assert segment_slide(finder(weights), slide, undisturbed, options).status == "done"
    assert contents(undisturbed) == before
    assert (undisturbed / "summary.json").read_bytes() == summary


def test_another_run_in_the_folder_is_refused(
    weights: Path, slide: Path, options: SlideOptions, undisturbed: Path
) -> None:
    other = finder(weights, "MODEL.CFRSAM.NMS_THRESH", "0.3")
    with pytest.raises(UserError, match=r"run\.yaml.*MODEL\.CFRSAM\.NMS_THRESH.*another --output"):
        segment_slide(other, slide, undisturbed, options)
    with pytest.raises(UserError, match=r"another mpp"):
        segment_slide(finder(weights), slide, undisturbed, replace(options, mpp=0.26))


def test_what_works_on_whole_images_alone_is_refused(weights: Path) -> None:
    for key, value in (("MERGE_OVERLAP", "0.5"), ("MIN_BORDER_AREA", "20")):
        with pytest.raises(UserError, match=rf"^MODEL\.CFRSAM\.{key} is {value}: .* set it to 0$"):
            finder(weights, f"MODEL.CFRSAM.{key}", value)


def test_progress_is_told_in_mm2(
    weights: Path, tissue_pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_svs(tmp_path / "s.svs", SyntheticPlane(tissue_pixels, (720, 480)))
    options = SlideOptions(as_json=True)
    segment_slide(finder(weights), tmp_path / "s.svs", tmp_path / "large", options)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    last = {line["pass"]: line for line in lines}
    tissue = json.loads((tmp_path / "large" / "summary.json").read_bytes())["tissue_mm2"]
    assert list(last) == ["points", "masks", "nuclei"]
    for line in last.values():
        assert line["mm2"] == line["of_mm2"] == pytest.approx(tissue, rel=0.05)
        assert line["seconds_left"] == 0


def test_tissue_without_nuclei_is_empty(
    weights: Path, tissue_pixels: np.ndarray, tmp_path: Path
) -> None:
    predictor = finder(weights)
    head = predictor.model.proposal_generator.classification_head[-1]
    torch.nn.init.constant_(head.bias[-1:], 99)  # all is background
    write_svs(tmp_path / "s.svs", SyntheticPlane(tissue_pixels, (480, 480)))
    folder = tmp_path / "out"
    assert segment_slide(predictor, tmp_path / "s.svs", folder, SlideOptions()).status == "empty"
    summary = json.loads((folder / "summary.json").read_bytes())
    assert summary["nuclei_per_mm2"] == 0 < summary["tissue_mm2"]
    assert set(contents(folder)) >= {"nuclei.parquet", "nuclei.geojson.gz", "overview.jpg"}


def test_few_damaged_tiles_make_a_slide_partial_and_many_fail_it(
    weights: Path, tissue_pixels: np.ndarray, tmp_path: Path
) -> None:
    write_svs(tmp_path / "whole.svs", SyntheticPlane(tissue_pixels, (480, 480), glass=None))
    slide = damage_tile(tmp_path / "whole.svs", tmp_path / "damaged.svs", 3)
    predictor = finder(weights, "SLIDE.HALO", "0")
    strict = SlideOptions(whole=True, as_json=True)
    with pytest.raises(UserError, match=r"damaged\.svs has 1 tiles that .* --max-bad-tiles"):
        segment_slide(predictor, slide, tmp_path / "out", strict)
    # Parts of before stand, and what they could not read is not forgotten.
    for folder in (tmp_path / "out", tmp_path / "anew"):
        assert (
            segment_slide(predictor, slide, folder, replace(strict, most_bad=0.5)).status
            == "partial"
        )
        summary = json.loads((folder / "summary.json").read_bytes())
        assert summary["unreadable_tiles"] == [[240, 240, 480, 480]]
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")
