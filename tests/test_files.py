"""Files and folders appear whole or not at all."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cfrsam_d2.errors import UserError
from cfrsam_d2.files import (
    folder_lock,
    replaced_folder,
    write_bytes,
    write_json,
    write_png,
    written_whole,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    write_bytes(tmp_path / "a", b"abc")
    write_json(tmp_path / "b.json", {"c": [1, 2]})
    write_png(tmp_path / "c.png", image)
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert json.loads((tmp_path / "b.json").read_text()) == {"c": [1, 2]}
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "c.png"))[..., ::-1], image)
    assert names(tmp_path) == ["a", "b.json", "c.png"]


def fail_halfway(path: Path, error: BaseException) -> None:
    with written_whole(str(path)) as partial:
        partial.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        raise error


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    for error in (OSError("full"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fail_halfway(path, error)
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["a"]


def test_a_folder_is_replaced_when_its_successor_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for content in ("first", "second"):
        with folder_lock(folder), replaced_folder(folder, made_with="record") as partial:
            assert names(partial) == []
            (partial / "record").write_text(content)
            (partial / content).touch()
        assert names(folder) == sorted(["record", content])
    with pytest.raises(ZeroDivisionError), replaced_folder(folder, made_with="record"):
        _ = 1 / 0
    assert (folder / "record").read_text() == "second"
    assert names(tmp_path) == [".data.lock", "data"]


def test_folders_of_somebody_else_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").touch()
    with (
        pytest.raises(UserError, match=r"data exists and holds other files \(no record\): move"),
        replaced_folder(tmp_path / "data", made_with="record"),
    ):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["data"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"cannot write in .*file \(.*\): set DETECTRON2_DATASETS"),
        folder_lock(tmp_path / "file" / "data"),
    ):
        pytest.fail("the block must not run")
