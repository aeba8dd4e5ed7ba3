import cv2
import numpy as np
import pytest
from PIL import Image

from cfrsam_d2.data.image import read_rgb
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


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_samples_are_refused(tmp_path, dtype):
    Image.fromarray(RGB[:, :, 0].astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif has 32-bit samples: save it with 8 or 16"):
        read_rgb(str(tmp_path / "a.tif"))
