"""Pixels of slides: those of the file, of any library, at any resolution, in any pieces."""

import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from damage import damage_tile
from PIL import Image

from cfrsam_d2.slides import open_slide
from cfrsam_d2.slides.backend import Backend, Box
from cfrsam_d2.slides.reader import SlideReader
from cfrsam_d2.slides.steady import BadTile, SteadyBackend
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_ome_tiff, write_svs

pytestmark = pytest.mark.usefixtures("slides_extra")


def level(path: Path, index: int) -> np.ndarray:
    """The pixels of a level, read by tifffile alone."""
    with tifffile.TiffFile(path) as file:
        return file.series[0].levels[index].asarray()


def whole(reader: SlideReader) -> np.ndarray:
    return reader.read(0, 0, *reader.size)


def in_tiles(reader: SlideReader, tile: int) -> np.ndarray:
    """The whole slide, read tile by tile."""
    width, height = reader.size
    pixels = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            box = (x, y, min(x + tile, width), min(y + tile, height))
            pixels[box[1] : box[3], box[0] : box[2]] = reader.read(*box)
    return pixels


def most_different(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


def test_an_svs_has_its_own_pixels(svs: Path) -> None:
    with open_slide(svs, model_mpp=0.25) as reader:
        pixels = level(svs, 0)
        assert (reader.size, reader.level0_size, reader.scale) == ((624, 496), (624, 496), 1)
        assert (reader.mpp, reader.mpp_source, reader.slide_mpp) == (0.25, "file", 0.25)
        assert reader.properties["vendor"] == "aperio"
        assert len(reader.properties["quickhash"]) == 64
        assert most_different(whole(reader), pixels) == 0
        assert most_different(reader.read(230, 470, 500, 490), pixels[470:490, 230:500]) == 0
        assert reader.bad_tiles == []
        with pytest.raises(ValueError, match="not inside"):
            reader.read(0, 0, 625, 10)


def test_all_levels_of_an_ome_tiff_are_seen(ome_tiff: Path) -> None:
    for index, mpp in enumerate((0.25, 0.5, 1.0, 2.0, 4.0)):
        with open_slide(ome_tiff, model_mpp=mpp) as reader:
            assert reader.scale == 2**index
            assert reader.properties["vendor"] == "ome"
            assert (reader.mpp, reader.mpp_source) == (0.25, "file")
            assert most_different(whole(reader), level(ome_tiff, index)) == 0
            x1, y1 = reader.size[0] - 3, reader.size[1] - 1
            part = reader.read(x1 - 30, y1 - 20, x1, y1)
            assert most_different(part, level(ome_tiff, index)[y1 - 20 : y1, x1 - 30 : x1]) == 0


def test_other_tiffs_are_read(plane: SyntheticPlane, tmp_path: Path) -> None:
    pixels = plane.read(0, 0, *plane.size)
    path = tmp_path / "slide.tif"
    kinds: list[dict] = [
        {},
        {"rowsperstrip": 7, "compression": "deflate", "predictor": True},
        {"planarconfig": "separate", "tile": (64, 64), "compression": "lzw"},
        {"tile": (128, 64), "compression": "jpegxl", "compressionargs": {"lossless": True}},
        {"tile": (128, 64), "compression": "zstd"},
    ]
    for kind in kinds:
        array = np.moveaxis(pixels, 2, 0) if "planarconfig" in kind else pixels
        tifffile.imwrite(path, array, photometric="rgb", metadata=None, **kind)
        with open_slide(path, model_mpp=0.25, mpp=0.25) as reader:
            assert most_different(whole(reader), pixels) == 0, kind
            assert most_different(reader.read(60, 70, 200, 71), pixels[70:71, 60:200]) == 0, kind
            assert reader.mpp_source == "--mpp"


def test_an_svs_in_jpeg_xl_is_read(plane: SyntheticPlane, tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, plane, compression="jpegxl")
    with open_slide(path, model_mpp=0.25) as reader:
        assert reader.properties["reader"].startswith("tifffile")
        assert (reader.mpp, reader.properties["objective"]) == (0.25, "40")
        assert most_different(whole(reader), level(path, 0)) == 0
        assert reader._grid.level == 0
    with open_slide(path, model_mpp=1.0) as reader:
        assert most_different(whole(reader), level(path, 1)) == 0


def test_small_images_are_slides(tissue_pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(tissue_pixels).save(path, dpi=(72, 72))
    with open_slide(path, model_mpp=0.25, mpp=0.25) as reader, reader.reopen() as other:
        assert most_different(whole(reader), tissue_pixels) == 0
        assert most_different(whole(other), tissue_pixels) == 0


def test_a_small_image_is_upright(tissue_pixels: np.ndarray, tmp_path: Path) -> None:
    path, exif = tmp_path / "image.png", Image.Exif()
    exif[0x0112] = 6  # its first row is the right side
    Image.fromarray(tissue_pixels).save(path, exif=exif)
    with open_slide(path, model_mpp=0.25, mpp=0.25) as reader:
        assert most_different(whole(reader), np.rot90(tissue_pixels, -1)) == 0


@pytest.mark.parametrize(
    ("kind", "mpp", "model_mpp", "grid_level"),
    [
        ("svs", 0.25, 0.6, 0),
        ("svs", 0.25, 0.125, 0),
        ("svs", 0.25, 1.2, 1),
        ("ome", 0.25, 0.6, 1),
        ("ome", 0.2738, 2.5, 3),
        ("odd", 0.25, 1.2, 0),  # OpenSlide would interpolate its second level
    ],
)
def test_tiles_are_those_of_the_slide_scaled_whole(
    kind: str,
    mpp: float,
    model_mpp: float,
    grid_level: int,
    svs: Path,
    ome_tiff: Path,
    plane: SyntheticPlane,
    tmp_path: Path,
) -> None:
    path = {"svs": svs, "ome": ome_tiff}.get(kind, tmp_path / "odd.svs")
    if kind == "odd":
        write_svs(path, SyntheticPlane(plane.source, (411, 267)))
    with open_slide(path, model_mpp=model_mpp, mpp=mpp) as reader:
        assert reader._grid.level == grid_level
        assert reader.scale == pytest.approx(model_mpp / mpp, rel=1e-3)
        for pixels, size in zip(reader.size, reader.level0_size, strict=True):
            assert -4 <= pixels * reader.scale - size <= 0 or reader.scale > 4
        image = Image.fromarray(level(path, grid_level))
        box = (0, 0, *(side * reader._grid.ratio for side in reader.size))
        expected = image.resize(reader.size, Image.Resampling.BICUBIC, box=box)
        for tile in (37, 128):
            assert most_different(in_tiles(reader, tile), np.array(expected)) == 0
        assert most_different(whole(reader), np.array(expected)) == 0


def test_within_five_percent_a_level_is_taken_as_it_is(ome_tiff: Path) -> None:
    for mpp, model_mpp, scale in (
        (0.262, 0.25, 1),
        (0.2385, 0.25, 1),
        (0.2385, 0.5, 2),
        (0.2275, 0.25, 0.25 / 0.2275),
    ):
        with open_slide(ome_tiff, model_mpp=model_mpp, mpp=mpp) as reader:
            assert reader.scale == pytest.approx(scale, rel=1e-3)
            assert reader.slide_mpp == reader.scale * mpp


def test_what_was_not_scanned_has_the_colour_of_the_background(
    tissue_pixels: np.ndarray, tmp_path: Path
) -> None:
    rgba = np.dstack([tissue_pixels, np.full((256, 256), 255, np.uint8)])
    rgba[10:20, 30:50] = (0, 0, 0, 0)
    rgba[10, 60] = (100, 0, 200, 102)
    for name in ("image.png", "image.tif"):
        Image.fromarray(rgba).save(tmp_path / name)
        with open_slide(tmp_path / name, model_mpp=0.25, mpp=0.25) as reader:
            pixels = whole(reader)
        assert (pixels[10:20, 30:50] == 255).all()
        assert pixels[10, 60].tolist() == [193, 153, 233]
        assert most_different(pixels[:10], tissue_pixels[:10]) == 0


def test_tiles_that_a_file_leaves_out_are_background(plane: SyntheticPlane, tmp_path: Path) -> None:
    class WithHole(SyntheticPlane):
        def tiles(self, tile: int, downsample: int):
            for index, pixels in enumerate(super().tiles(tile, downsample)):
                yield None if index == 1 else pixels

    holey = WithHole(plane.source, plane.size, glass=None)
    writers = {"slide.svs": (write_svs, 240), "slide.ome.tif": (write_ome_tiff, 256)}
    for name, (write, tile) in writers.items():
        write(tmp_path / name, holey)
        with open_slide(tmp_path / name, model_mpp=0.25) as reader:
            pixels = whole(reader)
            assert reader.bad_tiles == []
        assert (pixels[:tile, tile : 2 * tile] == 255).all(), name
        assert not (pixels[:tile, :tile] == 255).all(axis=2).any(), name


def test_a_damaged_tile_is_white_and_listed_and_no_other(
    svs: Path, ome_tiff: Path, tmp_path: Path
) -> None:
    for path, tile in ((svs, 240), (ome_tiff, 256)):
        with open_slide(damage_tile(path, tmp_path / path.name, 4), model_mpp=0.25) as reader:
            expected = level(path, 0)
            x0, x1, y1 = tile, 2 * tile, min(2 * tile, 496)
            expected[x0:y1, x0:x1] = 255
            for pixels in (whole(reader), in_tiles(reader, 100), in_tiles(reader.reopen(), 333)):
                assert most_different(pixels, expected) == 0
            assert reader.bad_tiles == reader.reopen().bad_tiles == [(x0, x0, x1, y1)]
    with open_slide(tmp_path / svs.name, model_mpp=0.625) as reader:
        whole(reader)
        assert reader.bad_tiles == [(96, 96, 192, 192)]


class Noting(SteadyBackend):
    """Notes the boxes that are read."""

    def __init__(self, backend: Backend, bad_tiles: set[BadTile]) -> None:
        super().__init__(backend, bad_tiles)
        self.boxes: list[Box] = []

    def read(self, level: int, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return super().read(level, box)


def test_an_overview_is_the_slide_scaled_whole(
    plane: SyntheticPlane, svs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.reader._BLOCK", 256)
    flat = tmp_path / "flat.svs"
    write_svs(flat, plane, levels=(1,))
    for path, index, downsample in ((flat, 0, 1), (svs, 2, 16)):
        with open_slide(path, model_mpp=0.25) as reader:
            reader._backend = backend = Noting(reader._backend._backend, set())
            overview = reader.overview(8.0)
            assert overview.shape[1::-1] == reader.overview_size(8.0) == (19, 15)
        image = Image.fromarray(level(path, index))
        box = (0, 0, 19 * 32 / downsample, 15 * 32 / downsample)
        expected = np.array(image.resize((19, 15), Image.Resampling.BICUBIC, box=box))
        assert most_different(overview, expected) <= 1
        assert max(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in backend.boxes) <= 256 + 2 * 66


def test_threads_read_with_handles_of_their_own(svs: Path) -> None:
    expected = level(svs, 0)
    results = {}
    with open_slide(svs, model_mpp=0.25) as reader:

        def work(index: int) -> None:
            with reader.reopen() as own:
                results[index] = in_tiles(own, 100 + 50 * index)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 3
    assert max(most_different(pixels, expected) for pixels in results.values()) == 0


def test_a_real_slide(shared: Path) -> None:
    with open_slide(shared / "data/wsi/CMU-1-Small-Region.svs", model_mpp=0.25) as reader:
        assert reader.size == (4431, 5922)
        assert (reader.mpp, reader.properties["objective"]) == (0.499, "20")
        image = Image.fromarray(level(reader.path, 0)[:400, :400])
        box = (0, 0, 700 * reader.scale, 700 * reader.scale)
        expected = image.resize((700, 700), Image.Resampling.BICUBIC, box=box)
        assert most_different(reader.read(100, 200, 700, 700), np.array(expected)[200:, 100:]) == 0
