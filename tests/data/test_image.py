import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cfrsam_d2.data.image import IMAGE_SUFFIXES, read_rgb
from cfrsam_d2.data.pil_image import rgb_from_pil
from cfrsam_d2.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
GRAY = np.repeat(RGB[:, :, :1], 3, axis=2)


def test_rgb_comes_back_as_written(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    image = read_rgb(str(tmp_path / "a.png"))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RGB)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grayscale_is_repeated(tmp_path, suffix):
    Image.fromarray(RGB[:, :, 0]).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_rgb(str(tmp_path / f"a.{suffix}")), GRAY)


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(str(tmp_path / "a.png")), image.convert("RGB"))


def test_transparency_is_dropped_without_blending(tmp_path):
    alpha = np.full((40, 50, 1), 7, dtype=np.uint8)
    Image.fromarray(np.concatenate([RGB, alpha], axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(str(tmp_path / "a.png")), RGB)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("channels", "expected"), [(1, GRAY), (3, RGB), (4, RGB)])
def test_of_16_bits_the_high_byte_is_kept(tmp_path, suffix, channels, expected):
    samples = np.concatenate([RGB, RGB[:, :, :1]], axis=2)[:, :, 2::-1]  # OpenCV writes BGR
    if channels == 1:
        samples = RGB[:, :, 0]
    elif channels == 4:
        samples = np.concatenate([samples, samples[:, :, :1]], axis=2)
    low_byte = 0x5A
    path = str(tmp_path / f"a.{suffix}")
    assert cv2.imwrite(path, samples.astype(np.uint16) * 256 + low_byte)
    np.testing.assert_array_equal(read_rgb(path), expected)


def test_the_brightest_16_bit_sample_is_255_and_a_dim_image_stays_dim(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, 4095, 65535]], dtype=np.uint16))
    assert read_rgb(str(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 15, 255]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png does not exist: check .* image folder"):
        read_rgb(str(tmp_path / "gone.png"))


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # PIL, before it gives up on the TIFF
def test_a_file_cut_off_is_not_half_read(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=rf"cut\.{suffix} cannot be read .*complete PNG"):
        read_rgb(str(path))


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_file_that_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png cannot be read as an image"):
        read_rgb(str(tmp_path / "a.png"))


def test_32_bit_whole_numbers_are_refused(tmp_path):
    Image.fromarray(RGB[:, :, 0].astype(np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif has int32 samples: save it with 8 or 16"):
        read_rgb(str(tmp_path / "a.tif"))


def test_every_suffix_can_be_read(tmp_path):
    for suffix in set(IMAGE_SUFFIXES) - {".svs", ".btf", ".tf8", ".dib", ".pnm"}:
        path = str(tmp_path / f"a{suffix}")
        Image.fromarray(GRAY).save(path)
        assert np.abs(read_rgb(path).astype(int) - GRAY).mean() < 40  # some lose a little
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK"):
        image = Image.fromarray(RGB).convert(mode)
        path = str(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
        image.save(path)
        with Image.open(path) as written:
            expected = np.asarray(written.convert("RGB"))
        np.testing.assert_array_equal(read_rgb(path), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_turns_the_image(tmp_path, orientation):
    stored = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(stored))
    for name in ("a.png", "a.webp", "a.tif"):
        stored.save(tmp_path / name, exif=exif, lossless=True)
        np.testing.assert_array_equal(read_rgb(str(tmp_path / name)), expected)
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        upright = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(read_rgb(str(tmp_path / "a.jpg")), upright)
    np.testing.assert_array_equal(rgb_from_pil(stored, "stored"), expected)


def test_several_frames_are_named(tmp_path):
    images = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    with pytest.raises(UserError, match=r"a\.gif has 2 frames: save the one image by itself"):
        read_rgb(str(tmp_path / "a.gif"))
    images[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "b.jpg")
    one, of_two = read_rgb(str(tmp_path / "b.jpg")), read_rgb(str(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(of_two, one)


def test_more_than_pillows_limit_is_read(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)  # it refuses twice as many
    np.testing.assert_array_equal(read_rgb(str(tmp_path / "a.png")), RGB)
    assert Image.MAX_IMAGE_PIXELS == 900


def declare(folder, width, height):
    """Write files that declare so many px in a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    bmp = b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, width, height, 1, 24, *[0] * 6)
    (folder / "a.png").write_bytes(png)
    (folder / "a.bmp").write_bytes(bmp)
    tifffile.imwrite(folder / "a.tif", RGB, photometric="rgb")
    with tifffile.TiffFile(folder / "a.tif", mode="r+") as tif:
        for tag, value in (
            ("ImageWidth", width),
            ("ImageLength", height),
            ("RowsPerStrip", height),
        ):
            tif.pages[0].tags[tag].overwrite(value, dtype="I")


def test_more_px_than_memory_or_bytes_can_hold_are_refused_at_once(tmp_path):
    for size, said in (
        ((60_000, 50_000), "has 60000×50000 px, more than 536,870,912: cut it into tiles"),
        ((20_000, 20_000), r"declares 20000×20000 px in only .* bytes, .* or cut it into tiles"),
    ):
        declare(tmp_path, *size)
        for name in ("a.png", "a.bmp", "a.tif"):
            tracemalloc.start()
            with pytest.raises(UserError, match=f"{name} {said}"):
                read_rgb(str(tmp_path / name))
            assert tracemalloc.get_traced_memory()[1] < 2**24
            tracemalloc.stop()


def small_files():
    """Small images of every kind of reader, as bytes."""
    rgb, deep = RGB[:12, :14], RGB[:12, :14].astype(np.uint16) << 8
    for name, how in (("PNG", {}), ("JPEG", {}), ("TIFF", {"compression": "tiff_lzw"})):
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(rgb).save(file, name, exif=exif, **how)
        yield file.getvalue()
    for samples, how in (
        (rgb, {"photometric": "rgb"}),
        (deep.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
        (rgb, {"photometric": "rgb", "compression": "zlib", "rowsperstrip": 5}),
        (rgb.transpose(2, 0, 1), {"photometric": "minisblack", "ome": True}),
        (rgb.transpose(2, 0, 1), {"photometric": "minisblack", "imagej": True}),
    ):
        file = io.BytesIO()
        tifffile.imwrite(file, samples, **how)
        yield file.getvalue()


@pytest.mark.filterwarnings("ignore")  # of Pillow and tifffile, before they give up
@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(data, tmp_path_factory):
    content = bytearray(data.draw(st.sampled_from(SMALL_FILES)))
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[:end])
    image, refusal = None, ""
    try:
        image = read_rgb(str(path))
    except UserError as error:
        refusal = str(error)
    if image is None:
        assert str(path) in refusal
        assert "\n" not in refusal
    else:
        assert image.dtype == np.uint8
        assert image.shape[2:] == (3,)


SMALL_FILES = list(small_files())
