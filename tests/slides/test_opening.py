"""Files that are no slides, or broken: one sentence each, that names the file."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cfrsam_d2.errors import UserError
from cfrsam_d2.slides import open_slide
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_ome_tiff, write_svs


def refusal(path: Path, **arguments: Any) -> str:
    """What is said about a file that cannot be opened."""
    with pytest.raises(UserError) as raised:
        open_slide(path, model_mpp=0.25, **arguments)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def write_tiff(path: Path, pixels: np.ndarray, **arguments: Any) -> Path:
    tifffile.imwrite(path, pixels, **({"metadata": None} | arguments))
    return path


def test_without_openslide_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "openslide", None)
    monkeypatch.delitem(sys.modules, "cfrsam_d2.slides.openslide_backend", raising=False)
    with pytest.raises(UserError, match=r"pip install 'cfrsam_d2\[slides\]'"):
        open_slide(path, model_mpp=0.25)


@pytest.mark.usefixtures("slides_extra")
def test_what_is_no_slide_at_all(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.svs")
    assert "is a folder" in refusal(tmp_path)
    for suffix in ("svs", "tif", "png", "mrxs", "ndpi"):
        empty, text = tmp_path / f"empty.{suffix}", tmp_path / f"text.{suffix}"
        empty.touch()
        text.write_text("id,age\n1,52\n")
        assert "is empty (0 bytes)" in refusal(empty)
        assert "cannot be opened" in refusal(text)
    for start in (b"II*\0", b"MM\0+"):
        text.write_bytes(start + b"nothing of a TIFF follows here" * 9)
        assert "cannot be opened" in refusal(text) or "no slide" in refusal(text)


def test_files_that_are_cut_off(svs: Path, ome_tiff: Path, tmp_path: Path) -> None:
    image = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), np.uint8)).save(image)
    strips = write_tiff(tmp_path / "s.tif", np.full((99, 99, 3), 9, np.uint8), photometric="rgb")
    for path in (svs, ome_tiff, image, strips):
        content = path.read_bytes()
        cut = tmp_path / f"cut{path.suffix}"
        for size in (12, 300, len(content) // 3, len(content) * 2 // 3, len(content) - 40):
            cut.write_bytes(content[:size])
            message = refusal(cut)
            assert "cut" in message, (path.name, size)
            assert "it" in message


def test_a_slide_without_true_pixel_size_names_the_option(
    plane: SyntheticPlane, tmp_path: Path, slides_extra: None
) -> None:
    small = SyntheticPlane(plane.source, (240, 240), glass=None)
    slide = tmp_path / "slide.svs"
    write_svs(slide, small, mpp=None, objective=None, levels=(1,))
    assert "give --mpp" in refusal(slide)
    write_svs(slide, small, mpp=0.5, objective=40, levels=(1,))
    assert "its objective of 40x means 0.25: give by --mpp" in refusal(slide)
    write_svs(slide, small, mpp=25.0, objective=None, levels=(1,))
    assert "25 µm/px" in refusal(slide)
    assert "--mpp" in refusal(slide)
    write_svs(slide, small, mpp=None, objective=20, levels=(1,))
    with open_slide(slide, model_mpp=0.25) as reader:
        assert (reader.mpp, reader.mpp_source) == (0.5, "objective")
    ome = tmp_path / "slide.ome.tif"
    write_ome_tiff(ome, small, mpp=(0.25, 0.27), levels=(1,))
    assert "0.25 µm/px in x and 0.27 in y" in refusal(ome)
    assert "give --mpp" in refusal(ome)
    write_ome_tiff(ome, small, mpp=None, levels=(1,))
    assert "--mpp" in refusal(ome)
    pixels = small.read(0, 0, 240, 240)
    resolution = {"resolution": (72, 72), "resolutionunit": "INCH"}
    for tile in ({}, {"tile": (64, 64)}):
        path = write_tiff(tmp_path / "72.tif", pixels, photometric="rgb", **resolution, **tile)
        assert "352.778 µm/px" in refusal(path)
    Image.fromarray(pixels).save(tmp_path / "image.png", dpi=(72, 72))
    assert "give --mpp" in refusal(tmp_path / "image.png")


def test_a_label_or_an_overview_alone_is_no_slide(tmp_path: Path, slides_extra: None) -> None:
    pixels = np.full((463, 387, 3), 200, np.uint8)
    aperio = "Aperio Image Library v11.2.1 \r\n"
    path = tmp_path / "label.svs"
    for name, arguments in {
        "label": {"description": f"{aperio}label 387x463", "subfiletype": 1},
        "macro": {"description": f"{aperio}macro 387x463", "subfiletype": 9},
        "reduced image": {"subfiletype": 1},
    }.items():
        message = refusal(write_tiff(path, pixels, photometric="rgb", **arguments))
        assert f"holds no slide but a {name} of 387 × 463 px" in message
    ome = tmp_path / "label.ome.tif"
    for name in ("label", "Macro", "overview image"):
        metadata = {"axes": "YXS", "Name": name}
        tifffile.imwrite(ome, pixels, photometric="rgb", metadata=metadata, ome=True)
        assert "holds no slide but a" in refusal(ome)


def test_colours_that_are_not_of_h_and_e(tmp_path: Path, slides_extra: None) -> None:
    rng = np.random.default_rng(0)
    tiled = {"tile": (64, 64)}
    path = tmp_path / "slide.tif"
    deep = rng.integers(0, 2**16, (128, 128, 3), np.uint16)
    for arguments in ({}, tiled, {"ome": True, "metadata": {"axes": "YXS"}}):
        message = refusal(write_tiff(path, deep, photometric="rgb", **arguments), mpp=0.25)
        assert "samples of 16 bits" in message
    for arguments in ({}, tiled):
        write_tiff(path, deep[..., 0].astype(np.uint8), photometric="minisblack", **arguments)
        assert "no H&E slide in 8-bit RGB" in refusal(path, mpp=0.25)
    for kind in (np.uint16, np.uint8):
        channels = rng.integers(0, 255, (3, 128, 128), kind)
        metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD3", "CD20"]}}
        write_tiff(path, channels, photometric="minisblack", ome=True, metadata=metadata, **tiled)
        assert "no H&E slide in 8-bit RGB (axes CYX" in refusal(path, mpp=0.25)
    Image.fromarray(deep[..., 0]).save(tmp_path / "deep.png")
    assert "no H&E slide in 8-bit RGB" in refusal(tmp_path / "deep.png", mpp=0.25)


def test_an_unknown_compression_is_named(svs: Path, tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    content = svs.read_bytes()
    with tifffile.TiffFile(svs) as file:
        for page in file.pages:
            at = page.aspage().tags["Compression"].valueoffset
            content = content[:at] + (60_001).to_bytes(2, "little") + content[at + 2 :]
    path.write_bytes(content)
    message = refusal(path)
    assert "60001" in message
    assert "save it with JPEG" in message


def test_what_has_to_be_decoded_whole_must_be_small(
    tmp_path: Path, slides_extra: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.image_backend._MOST_PIXELS", 99)
    monkeypatch.setattr("cfrsam_d2.slides.tiff_backend._LARGEST_SEGMENT", 299)
    pixels = np.full((10, 10, 3), 200, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    assert "save it as tiled TIFF" in refusal(tmp_path / "image.png", mpp=0.25)
    strip = write_tiff(tmp_path / "strip.tif", pixels, photometric="rgb", rowsperstrip=10)
    assert "strips or tiles" in refusal(strip, mpp=0.25)
