"""What image files say of themselves, on the way into a dataset: orientation and magnification."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from custom_labels import SIZES, write_labels
from PIL import Image

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.image import read_rgb


def test_images_are_written_upright(prepare: Callable, work: Path) -> None:
    write_labels("geojson", work / "labels")
    path = work / "images" / "tile.1.tif"
    upright = read_rgb(str(path))
    turned = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    turned.save(path, tiffinfo={274: 6})
    records = {Path(each["file_name"]).name: each for each in prepare()}
    record = records["tile.1.png"]
    assert (record["height"], record["width"]) == SIZES["tile.1"]
    np.testing.assert_array_equal(read_rgb(record["file_name"]), upright)


def test_without_a_magnification_that_of_the_files_counts(
    prepare: Callable, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = work / "images" / "tile.1.tif"
    Image.fromarray(read_rgb(str(path))).save(path, dpi=(50_800, 50_800))  # 0.5 µm
    for form in ("png", "coco"):
        write_labels(form, work / form)
        records = prepare(labels=form)
        magnifications = {Path(each["file_name"]).name: each["magnification"] for each in records}
        assert magnifications == {"tile.1.png": 20, "deep_empty.png": 40}
    assert not caplog.records
    prepare("--magnification", "40", labels="png")
    assert "tile.1.tif is of 20× as the file states, but --magnification says 40" in caplog.text


def test_a_json_without_magnification_takes_what_files_state(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = []
    for number in (1, 2):
        Image.new("RGB", (8, 8)).save(work / f"{number}.png", dpi=(50_800, 50_800))
        images.append({"id": number, "file_name": f"{number}.png", "height": 8, "width": 8})
    data = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "nucleus"}]}
    (work / "nuclei.json").write_text(json.dumps(data))
    records = load_nucleus_json(work / "nuclei.json", work)
    assert {each["magnification"] for each in records} == {20}
    for image in images:
        image["magnification"] = 40
    (work / "nuclei.json").write_text(json.dumps(data))
    assert not caplog.records
    records = load_nucleus_json(work / "nuclei.json", work)
    assert {each["magnification"] for each in records} == {40}
    (warning,) = caplog.records
    assert "1.png is of 20× as the file states" in warning.getMessage()
    assert "nuclei.json says 40, which counts" in warning.getMessage()
