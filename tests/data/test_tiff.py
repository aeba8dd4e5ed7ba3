"""TIFF in the forms that scanners, microscopes and programs write it in."""

import io
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from cfrsam_d2.data.image import read_rgb
from cfrsam_d2.errors import UserError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
PLANES = RGB.transpose(2, 0, 1)
GRAY = RGB[:, :, 0]
RGBA = np.concatenate([RGB, GRAY[:, :, None]], axis=2)
DEEP = RGB.astype(np.uint16) * 256 + 0x5A
LARGE = RNG.integers(0, 256, (300, 280, 3), dtype=np.uint8)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """A function: what tifffile is to write, to the path of the file."""

    def write(samples: np.ndarray, **how: Any) -> str:
        path = tmp_path / ("a.ome.tif" if "ome" in how else "a.tif")
        tifffile.imwrite(path, samples, **how)
        return str(path)

    return write


def assert_reads(path: str, expected: np.ndarray) -> None:
    image = read_rgb(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(image, expected)


def test_rgb_in_all_orders_and_depths(written: Callable[..., str]) -> None:
    rgb, planar = {"photometric": "rgb"}, {"photometric": "rgb", "planarconfig": "separate"}
    tiled = {"tile": (16, 32)}
    for more in ({}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, tiled):
        for byteorder in "<>":
            how = {**more, "byteorder": byteorder}
            assert_reads(written(RGB, **rgb, **how), RGB)
            assert_reads(written(PLANES, **planar, **how), RGB)
            assert_reads(written(DEEP, **rgb, **how), RGB)
            assert_reads(written(DEEP.transpose(2, 0, 1), **planar, **how), RGB)
            assert_reads(written(GRAY, photometric="minisblack", **how), GRAY)
    assert_reads(written(RGB, bigtiff=True), RGB)
    assert_reads(written(RGB, rowsperstrip=7, photometric="rgb"), RGB)
    assert_reads(written(RGBA, photometric="rgb", extrasamples=["unassalpha"]), RGB)
    assert_reads(written(RGBA[:, :, [0, 3]], photometric="minisblack", extrasamples=[2]), GRAY)
    assert_reads(written(RGB, photometric="minisblack", planarconfig="contig"), RGB)
    assert_reads(written(255 - GRAY, photometric="miniswhite"), GRAY)
    assert_reads(written(GRAY > 99, photometric="minisblack"), (GRAY > 99) * np.uint8(255))


def test_floating_point_is_of_0_to_1_or_of_0_to_255(written: Callable[..., str]) -> None:
    for dtype in (np.float32, np.float64):
        assert_reads(written(RGB.astype(dtype), photometric="rgb"), RGB)
        assert_reads(written((RGB / 255).astype(dtype), photometric="rgb"), RGB)
    assert_reads(written((GRAY / 255).astype(np.float32), compression="zlib"), GRAY)
    for wrong, said in ((-1, "from -1 to 255"), (65535, "from 0 to 65535"), (np.nan, "from nan")):
        samples = RGB.astype(np.float32)
        samples[0, 0, 0] = wrong
        with pytest.raises(UserError, match=rf"a\.tif has samples {said}.* 8 or 16 bits"):
            read_rgb(written(samples, photometric="rgb"))


def test_three_gray_pages_or_channels_are_an_rgb(written: Callable[..., str]) -> None:
    gray = {"photometric": "minisblack"}
    assert_reads(written(PLANES, **gray), RGB)
    assert_reads(written(PLANES, metadata=None, **gray), RGB)
    assert_reads(written(PLANES, metadata={"axes": "CYX"}, ome=True, **gray), RGB)
    assert_reads(written(PLANES, imagej=True, **gray), RGB)
    assert_reads(written(PLANES, imagej=True, metadata={"axes": "ZYX"}, **gray), RGB)
    assert_reads(written(DEEP.transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"}), RGB)
    path = written(RGB[:1, :1])
    Image.fromarray(PLANES[0]).save(
        path,
        save_all=True,
        append_images=[Image.fromarray(each) for each in PLANES[1:]],
        compression="tiff_lzw",
    )
    assert_reads(path, RGB)


@pytest.mark.parametrize(
    ("samples", "how", "said"),
    [
        (PLANES[:2], {"photometric": "minisblack"}, "2 pages"),
        (np.concatenate([PLANES, PLANES]), {"photometric": "minisblack"}, "6 pages"),
        (np.stack([RGB, RGB, RGB]), {"photometric": "rgb"}, "3 pages with 3 channels"),
        (PLANES, {"ome": True, "metadata": {"axes": "ZYX"}}, "3 planes"),
        (PLANES, {"ome": True, "metadata": {"axes": "TYX"}}, "3 times"),
        (np.stack([GRAY] * 4), {"ome": True, "metadata": {"axes": "CYX"}}, "4 channels"),
        (np.stack([PLANES] * 2), {"ome": True, "metadata": {"axes": "ZCYX"}}, "2 planes with 3"),
        (PLANES, {"imagej": True, "metadata": {"axes": "TYX"}}, "3 times"),
        (RGBA, {"photometric": "minisblack", "planarconfig": "contig"}, "4 channels"),
    ],
)
def test_other_pages_and_channels_are_named(
    written: Callable[..., str], samples: np.ndarray, how: dict[str, Any], said: str
) -> None:
    how = {"photometric": "minisblack", **how}
    with pytest.raises(UserError, match=rf"\.tif holds {said}.*which are no RGB: save the one ima"):
        read_rgb(written(samples, **how))


def test_the_largest_level_is_read_and_previews_are_not(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tif")
    for ome in (False, True):
        with tifffile.TiffWriter(path, ome=ome) as tif:
            tif.write(LARGE, subifds=2, photometric="rgb", tile=(64, 64))
            for step in (2, 4):
                tif.write(LARGE[::step, ::step], subfiletype=1, photometric="rgb")
        assert_reads(path, LARGE)
    with tifffile.TiffWriter(path) as tif:  # as Aperio's, a preview, a level and a label behind
        for samples in (LARGE, RGB, LARGE[::4, ::4], GRAY):
            tif.write(samples, metadata=None)
    assert_reads(path, LARGE)
    with tifffile.TiffWriter(path) as tif:
        tif.write(RGB, photometric="rgb", metadata=None)
        tif.write(GRAY > 9, photometric="mask", subfiletype=4, metadata=None)
    assert_reads(path, RGB)
    with tifffile.TiffWriter(path) as tif:
        tif.write(RGB, photometric="rgb", metadata=None)
        tif.write(GRAY, metadata=None)
    with pytest.raises(UserError, match=r"a\.tif holds 2 images of one size: save the one image"):
        read_rgb(path)


def test_compressions_and_colours_of_pillow(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tif")
    rgb, gray = Image.fromarray(RGB), Image.fromarray(GRAY)
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate"):
        for image in (rgb, Image.fromarray(RGBA)):
            image.save(path, compression=compression)
            assert_reads(path, RGB)
        gray.save(path, compression=compression)
        assert_reads(path, GRAY)
    for image in (rgb.quantize(16), rgb.convert("CMYK"), gray.convert("1"), gray.convert("LA")):
        for compression in (None, "tiff_lzw"):
            image.save(path, compression=compression)
            assert_reads(path, np.asarray(image.convert("RGB")))
    gray.convert("1").save(path, compression="group4")
    assert_reads(path, np.asarray(gray.convert("1").convert("RGB")))
    Image.fromarray(LARGE).save(path, compression="jpeg", quality=95)
    smooth = cv2.GaussianBlur(LARGE, (0, 0), 9)
    Image.fromarray(smooth).save(path, compression="jpeg", quality=95)
    assert np.abs(read_rgb(path).astype(int) - smooth).max() < 12
    cv2.imwrite(path, DEEP[:, :, ::-1])  # LZW
    assert_reads(path, RGB)
    cv2.imwrite(path, DEEP[:, :, 0])
    assert_reads(path, GRAY)


def test_tiles_of_jpeg_2000(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    padded = np.zeros((320, 320, 3), dtype=np.uint8)
    padded[:300, :280] = LARGE
    corners = [(y, x) for y in range(0, 320, 160) for x in range(0, 320, 160)]
    for compression, atol in ((33005, 0), (34712, 0), (33003, 3)):
        colours = "YCbCr" if compression == 33003 else "RGB"
        stored = np.asarray(Image.fromarray(padded).convert(colours))
        tiles = (encoded(stored[y : y + 160, x : x + 160]) for y, x in corners)
        how: dict[str, Any] = {"shape": LARGE.shape, "dtype": np.uint8, "tile": (160, 160)}
        tifffile.imwrite(path, tiles, compression="zlib", photometric="rgb", **how)
        with tifffile.TiffFile(path, mode="r+") as tif:
            tif.pages.first.tags["Compression"].overwrite(compression)
        np.testing.assert_allclose(read_rgb(str(path)).astype(int), LARGE, atol=atol)


def encoded(tile: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG2000", no_jp2=True, mct=0)
    return file.getvalue()


def test_what_nothing_reads_is_named(written: Callable[..., str]) -> None:
    how = {"photometric": "rgb", "planarconfig": "separate"}
    for samples, compression, said in (
        (DEEP.transpose(2, 0, 1), 5, "16-bit samples in LZW compression, which cannot be read"),
        (PLANES, 22610, "8-bit samples in JPEGXR_NDPI compression, which cannot be read"),
        (PLANES, 12345, "8-bit samples in 12345 compression, which cannot be read: save it with"),
    ):
        path = written(samples, **how)
        with tifffile.TiffFile(path, mode="r+") as tif:
            tif.pages.first.tags["Compression"].overwrite(compression)
        with pytest.raises(UserError, match=said):
            read_rgb(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_turns_the_image(tmp_path: Path, orientation: int) -> None:
    path = str(tmp_path / "a.tif")
    tag = [(274, "H", 1, orientation, True)]
    stored = Image.fromarray(RGB)
    stored.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(stored))
    for samples, how in (
        (RGB, {"photometric": "rgb"}),
        (PLANES, {"photometric": "rgb", "planarconfig": "separate"}),
        (PLANES, {"photometric": "minisblack"}),
    ):
        tifffile.imwrite(path, samples, extratags=tag, **how)
        assert_reads(path, expected)
    stored.save(path, compression="tiff_lzw", tiffinfo={274: orientation})
    assert_reads(path, expected)


def test_missing_and_swollen_pieces(written: Callable[..., str]) -> None:
    for tag, value in (("TileByteCounts", 0), ("TileByteCounts", 65535), ("TileOffsets", 10**9)):
        path = written(LARGE, photometric="rgb", tile=(64, 64))
        with tifffile.TiffFile(path, mode="r+") as tif:
            piece = tif.pages.first.tags[tag]
            piece.overwrite([*piece.value[:-1], value])
        with pytest.raises(UserError, match=r"a\.tif cannot be read .*pieces of it are missing"):
            read_rgb(path)
    bomb = iter([zlib.compress(bytes(2**25))])
    path = written(bomb, shape=(40, 50, 3), dtype=np.uint8, compression="zlib", photometric="rgb")
    tracemalloc.start()
    with pytest.raises(UserError, match="a piece of it is cut off or too large"):
        read_rgb(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
