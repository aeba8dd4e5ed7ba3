"""Which images a run takes, and that no result can overwrite an image or another result."""

from pathlib import Path

import pytest

from cfrsam_d2.data.image_files import find_images
from cfrsam_d2.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_walked_in_order_and_files_taken_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "in/b.PNG", "in/a.v1.jpeg", "in/deep/a.tif", "in/.hidden.png", "in/notes.txt")
    touch(tmp_path, "in/out/b_overlay.png", "other.bmp")
    images = find_images([tmp_path / "in", tmp_path / "other.bmp"], tmp_path / "in" / "out")
    assert [image.name for image in images] == ["a.v1", "b", str(Path("deep/a")), "other"]
    assert images[2].path == tmp_path / "in" / "deep" / "a.tif"
    assert images[2].relative == Path("deep/a.tif")


def test_results_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "in/A.jpg")
    with pytest.raises(UserError, match=r"A.jpg and .*a.png would both be named a: rename one"):
        find_images([tmp_path / "in"], tmp_path / "out")


def test_an_output_folder_of_images_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.tiff")
    for path, output in (("in", "in"), ("in/a.tiff", "in"), ("in", ".")):
        with pytest.raises(UserError, match=r"holds the input .*, which results could overwrite"):
            find_images([tmp_path / path], tmp_path / output)


def test_missing_and_empty_inputs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone.png does not exist: name image files or folders"):
        find_images([tmp_path / "gone.png"], tmp_path / "out")
    touch(tmp_path, "in/notes.txt")
    with pytest.raises(UserError, match=r"in has no images: put .png, .jpg"):
        find_images([tmp_path / "in"], tmp_path / "out")
