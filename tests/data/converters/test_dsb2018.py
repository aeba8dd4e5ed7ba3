"""The Data Science Bowl's tissue: nuclei of unknown class, magnifications guessed by their size."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.converters.dsb2018 import convert_dsb2018
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.coco import UNKNOWN_CLASS

CLASSES = ("a", "b")


def write_source(folder: Path, **sides: int) -> Path:
    """An image for each name with two square nuclei of that side; none of side 0."""
    for name, side in sides.items():
        ids = np.zeros((128, 160), np.uint16)
        ids[4 : 4 + side, 4 : 4 + side] = 1
        ids[70 : 70 + side, 70 : 70 + side] = 7
        for part, pixels in (("images", np.zeros((128, 160, 3), np.uint8)), ("labels", ids)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{name}.png")
    return folder


def test_large_nuclei_are_those_of_a_higher_magnification(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", small=20, large=50, empty=0)
    summary = convert_dsb2018(source, tmp_path / "out", CLASSES)
    assert "2 images taken for 40×\n1 images taken for 80×" in summary
    train = tmp_path / "out" / "train"
    records = load_nucleus_json(train / "nuclei.json", train / "images", "of a test")
    found = {Path(each["file_name"]).stem: each for each in records}
    assert {name: each["magnification"] for name, each in found.items()} == {
        "small": 40,
        "large": 80,
        "empty": 40,
    }
    assert {name: len(each["annotations"]) for name, each in found.items()} == {
        "small": 2,
        "large": 2,
        "empty": 0,
    }
    classes = {nucleus["category_id"] for each in records for nucleus in each["annotations"]}
    assert classes == {UNKNOWN_CLASS}


def test_a_folder_without_both_parts_is_refused(tmp_path: Path) -> None:
    write_source(tmp_path / "source", one=20, two=20)
    (tmp_path / "source" / "labels" / "one.png").unlink()
    with pytest.raises(UserError, match=r"one\.png"):
        convert_dsb2018(tmp_path / "source", tmp_path / "out", CLASSES)
    with pytest.raises(UserError, match=r"no folder images/"):
        convert_dsb2018(tmp_path, tmp_path / "out", CLASSES)
    assert not (tmp_path / "out" / "train" / "nuclei.json").exists()


def test_the_command_writes_it_for_the_classes_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_source(tmp_path / "source", small=20)
    datasets = Path(__file__).resolve().parents[3] / "datasets"
    classes = datasets / "pannuke_classes.yaml"
    main = runpy.run_path(str(datasets / "prepare.py"))["main"]
    main(["dsb2018", str(source), "--classes", str(classes), "--output", str(tmp_path / "all")])
    assert (tmp_path / "all" / "dsb2018" / "train" / "nuclei.json").is_file()
    assert "unknown" in capsys.readouterr().out
