"""What files say of their magnification, as microscopes and programs write it."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cfrsam_d2.data.pixel_size import FileMagnifications, stated_magnification

RGB = np.zeros((8, 9, 3), dtype=np.uint8)


def tiff(path: Path, **how: Any) -> float | None:
    tifffile.imwrite(path, RGB, photometric="rgb", **how)
    return stated_magnification(str(path))


@pytest.mark.parametrize(
    ("pixel", "unit", "expected"),
    [
        (0.5, "µm", 20),
        (0.2277, "µm", 40),
        (0.325, "µm", 30.8),
        (250, "nm", 40),
        (0.001, "mm", 10),
        (1.0, "pixel", None),
        (72, "µm", None),
    ],
)
def test_ome(tmp_path: Path, pixel: float, unit: str, expected: float | None) -> None:
    metadata = {"axes": "YXS", "PhysicalSizeX": pixel, "PhysicalSizeXUnit": unit}
    assert tiff(tmp_path / "a.ome.tif", metadata=metadata) == expected


def test_resolution_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for per_unit, unit, expected in (
        (40_000, "CENTIMETER", 40),
        (50_800, "INCH", 20),
        (72, "INCH", None),
        (300, "INCH", None),
        (96, "CENTIMETER", None),
        (4, "NONE", None),
    ):
        assert tiff(path, resolution=(per_unit, per_unit), resolutionunit=unit) == expected
    assert tiff(path) is None
    assert tiff(path, imagej=True, resolution=(4, 4), metadata={"unit": "micron"}) == 40
    assert tiff(path, imagej=True, resolution=(2, 2), metadata={"unit": "um"}) == 20
    assert tiff(path, imagej=True, resolution=(4, 4), metadata={"unit": "inch"}) is None


def test_aperio(tmp_path: Path) -> None:
    text = "Aperio Image Library v11.2.1\r\n9x8 (256x256) JPEG/RGB Q=70|AppMag = 40"
    for more, expected in (("|MPP = 0.4990|Left = 25", 20), ("", 40)):
        assert tiff(tmp_path / "a.svs", description=text + more, metadata=None) == expected


def test_other_files(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.bmp"):
        path = str(tmp_path / name)
        for dpi, expected in ((50_800, 20), (300, None), (72, None)):
            Image.fromarray(RGB).save(path, dpi=(dpi, dpi))
            assert stated_magnification(path) == expected
        Image.fromarray(RGB).save(path)
        assert stated_magnification(path) is None
    (tmp_path / "a.png").write_text("none")
    assert stated_magnification(str(tmp_path / "a.png")) is None
    assert stated_magnification(str(tmp_path / "gone.png")) is None


def test_what_is_given_counts_and_disagreement_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray(RGB).save(path, dpi=(50_800, 50_800))
    magnifications = FileMagnifications()
    assert magnifications.choose(path, None, "") == 20
    assert magnifications.choose(path, 21, "") == 21
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert magnifications.choose(path, 40, "the user says 40×") == 40
    (record,) = caplog.records
    assert "a.png is of 20× as the file states, but the user says 40× (said" in record.getMessage()
    assert magnifications.choose(path, None, "") == 20
