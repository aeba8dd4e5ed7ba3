"""The images that a command takes; no result can overwrite an image or another result."""

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
    with pytest.raises(UserError, match=r"in has no images \(left out 1 of o.*\): put .png, .jpg"):
        find_images([tmp_path / "in"], tmp_path / "out")


def test_every_image_is_taken_and_what_is_left_out_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.bmp", "b.JP2", "c.webp", "d.TIFF", "e.Jpg", "f.svs"]
    touch(tmp_path, *names, "notes.txt", "deep/g.csv", "h.docx", ".hidden.png", ".cache/i.png", "k")
    images = find_images([tmp_path], tmp_path / "out")
    assert [image.path.name for image in images] == names
    (record,) = caplog.records
    message = "left out 4 of other kinds than images): deep/g.csv, h.docx, k, …"
    assert message in record.getMessage()


def test_linked_folders_are_walked_and_files_taken_once(tmp_path: Path) -> None:
    touch(tmp_path, "store/slide/a.png", "store/slide/b.png", "in/c.png", "in/deep/d.png")
    links = {
        "in/a_link": "store/slide",
        "in/again": "store/slide",
        "in/deep/up": "in",
        "in/b_deep": "in/deep",
        "store/slide/round": "in/deep",
        "in/c_link.png": "in/c.png",
        "in/gone": "nowhere",
        "in/itself": "in/itself",
    }
    for link, target in links.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    images = find_images([tmp_path / "in", tmp_path / "in" / "c.png"], tmp_path / "out")
    names = [image.relative.as_posix() for image in images]
    assert names == ["a_link/a.png", "a_link/b.png", "c.png", "deep/d.png"]


def test_results_of_this_program_are_no_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = "MODEL:\n  META_ARCHITECTURE: CFRSAM\n"
    results = ["run/a.tiff", "run/deep/b_overlay.png", "run/a.csv", "a_overlay.png"]
    touch(tmp_path, "in/a.png", "in/own/config.yaml", "in/own/b.tiff", "in/x_overlay.png")
    touch(tmp_path / "in", *results)
    (tmp_path / "in" / "run" / "config.yaml").write_text(record)
    images = find_images([tmp_path / "in"], tmp_path / "in" / "out")
    assert [image.relative.as_posix() for image in images] == [
        "a.png",
        "own/b.tiff",
        "x_overlay.png",
    ]
    assert "1 of other kinds than images and 5 of the results of an earlier run" in caplog.text
    with pytest.raises(UserError, match=r"run has no images \(left out 4 of the results of an ear"):
        find_images([tmp_path / "in" / "run"], tmp_path / "out")


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\): make it readable"):
        find_images([tmp_path], tmp_path / "out")
