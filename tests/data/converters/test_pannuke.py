import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pannuke_release import (
    NUM_IMAGES,
    SIDE,
    images_file,
    masks_file,
    small_arrays,
    types_file,
    write_fold,
)

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.converters.dataset_writer import IMAGE_FOLDER, JSON_NAME
from cfrsam_d2.data.converters.pannuke import convert_pannuke_fold, pannuke_masks
from cfrsam_d2.data.converters.pannuke_layout import (
    PANNUKE_CLASSES,
    PANNUKE_TISSUES,
    find_pannuke_fold,
)
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.rle import decode_mask


def convert(source, output, number=1):
    convert_pannuke_fold(find_pannuke_fold(source, number), output)
    return load_nucleus_json(output / JSON_NAME, output / IMAGE_FOLDER)


def images_of(records):
    return [cv2.imread(record["file_name"])[..., ::-1] for record in records]


def masks_of(record):
    nuclei = record["annotations"]
    return pannuke_masks(
        [decode_mask(nucleus["segmentation"]) for nucleus in nuclei],
        [nucleus["category_id"] for nucleus in nuclei],
        record["height"],
        record["width"],
    )


def numbered(masks):
    """The same instances with the ids that `pannuke_masks` gives: 1, 2, … channel by channel."""
    result, last_id = np.zeros(masks.shape, dtype=np.int32), 0
    for channel in range(5):
        for instance_id in np.unique(masks[..., channel])[1:]:
            last_id += 1
            result[masks[..., channel] == instance_id, channel] = last_id
    result[..., 5] = masks[..., 5] > 0
    return result


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "uint16"])
def test_every_pixel_comes_back_whatever_the_type(tmp_path, dtype):
    write_fold(tmp_path, 1, dtype=dtype)
    records = convert(tmp_path, tmp_path / "fold1")
    images, masks, types = small_arrays()
    np.testing.assert_array_equal(images_of(records), images)
    for record, mask in zip(records, masks, strict=True):
        np.testing.assert_array_equal(masks_of(record), numbered(mask))
        assert (record["height"], record["width"], record["magnification"]) == (SIDE, SIDE, 40)
    assert [record["tissue"] for record in records] == types.tolist()


def test_instances_stay_whole_and_empty_images_stay(tmp_path):
    write_fold(tmp_path, 1)
    first, empty, last = convert(tmp_path, tmp_path / "fold1")
    areas = [decode_mask(nucleus["segmentation"]).area for nucleus in first["annotations"]]
    assert areas == [16, 8, 25]
    assert [nucleus["category_id"] for nucleus in first["annotations"]] == [0, 0, 4]
    assert empty["annotations"] == []
    assert [nucleus["point"] for nucleus in last["annotations"]] == [[15.0, 15.0]]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_real_samples_come_back_exactly(tmp_path, shared, number):
    source = shared / "data" / "pannuke_layout"
    records = convert(source, tmp_path / "fold", number)
    fold = source / f"Fold {number}"
    masks = np.load(masks_file(fold))
    np.testing.assert_array_equal(images_of(records), np.load(images_file(fold)))
    assert len(records) == len(masks) == 63
    for record, mask in zip(records, masks, strict=True):
        np.testing.assert_array_equal(masks_of(record), numbered(mask))


@pytest.mark.parametrize("folder", ["Fold {}", "fold {}", "fold_{}", "Fold{}", "fold-{}"])
@pytest.mark.parametrize("inner", ["fold{}", "Fold {}"])
def test_spellings_of_the_release(tmp_path, folder, inner):
    for number in (1, 2):
        write_fold(tmp_path, number, folder=folder, inner=inner)
    fold = find_pannuke_fold(tmp_path, 2)
    assert (fold.number, len(fold)) == (2, NUM_IMAGES)
    assert fold.masks_file == masks_file(tmp_path / folder.format(2))


def test_an_archive_unpacked_into_a_folder_of_its_name(tmp_path):
    write_fold(tmp_path / "fold_1", 1)
    assert len(find_pannuke_fold(tmp_path, 1)) == NUM_IMAGES


CONVERT_AND_PRINT_PEAKS = """
import dataclasses, pathlib, sys
import cfrsam_d2
from cfrsam_d2.data.converters.pannuke import convert_pannuke_fold
from cfrsam_d2.data.converters.pannuke_layout import find_pannuke_fold

def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

source, output, num_images = sys.argv[1:]
libraries = peak()
fold = find_pannuke_fold(pathlib.Path(source), 1)
part = dataclasses.replace(fold, tissues=fold.tissues[: int(num_images)])
convert_pannuke_fold(part, pathlib.Path(output))
print(libraries, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells the peak")
def test_a_fold_of_the_real_size_needs_less_than_1_5_gb(tmp_path):
    """Its 12.5 GB of float64 are sparse files here: zeros that take no space.

    320 of its images show that the peak does not grow with their number: the arrays of 320 alone
    are 1.5 GB, so that they cannot have stayed in memory.
    """
    fold = write_fold(tmp_path, 1)
    for path, channels in ((images_file(fold), 3), (masks_file(fold), 6)):
        np.lib.format.open_memmap(path, "w+", np.float64, (2656, 256, 256, channels)).flush()
    np.save(types_file(fold), np.full(2656, "Liver"))
    command = [sys.executable, "-c", CONVERT_AND_PRINT_PEAKS, tmp_path, tmp_path / "fold1", "320"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert len(list((tmp_path / "fold1" / IMAGE_FOLDER).iterdir())) == 320
    libraries, peak = map(int, done.stdout.split())
    assert peak < 1.5e9
    assert peak - libraries < 0.1e9


def test_converting_again_replaces_the_fold(tmp_path):
    fold, output = write_fold(tmp_path, 1), tmp_path / "out" / "fold1"
    convert(tmp_path, output)
    first = (output / JSON_NAME).read_bytes()
    (output / IMAGE_FOLDER / "stale.png").touch()
    convert(tmp_path, output)
    assert (output / JSON_NAME).read_bytes() == first
    assert len(list((output / IMAGE_FOLDER).iterdir())) == NUM_IMAGES
    # A conversion that fails leaves what was there, and nothing beside it.
    images = np.load(images_file(fold))
    images[-1] = 300
    np.save(images_file(fold), images)
    with pytest.raises(UserError, match="image 2 has values outside"):
        convert(tmp_path, output)
    assert (output / JSON_NAME).read_bytes() == first
    assert sorted(path.name for path in output.parent.iterdir()) == [".fold1.lock", "fold1"]


def test_folders_of_others_are_not_replaced(tmp_path):
    write_fold(tmp_path, 1)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    with pytest.raises(UserError, match=r"thesis exists and holds other files .*: move it away"):
        convert(tmp_path, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_masks_of_nothing_are_background():
    masks = pannuke_masks([], [], 4, 5)
    assert masks.shape == (4, 5, 6)
    assert masks[..., :5].sum() == 0
    assert (masks[..., 5] == 1).all()


def test_classes_and_tissues_are_the_release_s():
    assert len(PANNUKE_CLASSES) == 5
    assert len(set(PANNUKE_TISSUES)) == 19
    assert list(PANNUKE_TISSUES) == sorted(PANNUKE_TISSUES)


# What can be wrong: how to break a fold, and what the message must say.


def resave(path, change):
    np.save(path, change(np.load(path)))


def truncate(path, num_bytes):
    path.write_bytes(path.read_bytes()[:num_bytes])


def set_first(path, value):
    def change(array):
        array[0, 0, 0, 0] = value
        return array

    resave(path, change)


BROKEN = {
    "no masks folder": (
        lambda fold: (fold / "masks").rename(fold / "annotations"),
        r"Fold 1/masks does not exist: unpack the whole release",
    ),
    "no inner folder": (
        lambda fold: (fold / "images" / "fold1").rename(fold / "images" / "first"),
        r"Fold 1/images/fold1 .*does not exist: unpack the whole release",
    ),
    "two spellings": (
        lambda fold: (fold.parent / "fold_1").mkdir(),
        r"holds both 'Fold 1' and 'fold_1': keep one",
    ),
    "no images.npy": (
        lambda fold: images_file(fold).unlink(),
        r"images\.npy does not exist: unpack the whole release",
    ),
    "no masks.npy": (
        lambda fold: masks_file(fold).unlink(),
        r"masks\.npy does not exist: unpack the whole release",
    ),
    "no types.npy": (
        lambda fold: types_file(fold).unlink(),
        r"types\.npy does not exist: unpack the whole release",
    ),
    "truncated images": (
        lambda fold: truncate(images_file(fold), 4000),
        r"images\.npy is damaged or truncated .*: download the release again",
    ),
    "truncated masks": (
        lambda fold: truncate(masks_file(fold), 4000),
        r"masks\.npy is damaged or truncated .*: download the release again",
    ),
    "truncated header": (
        lambda fold: truncate(masks_file(fold), 20),
        r"masks\.npy is damaged or truncated .*: download the release again",
    ),
    "empty types": (
        lambda fold: truncate(types_file(fold), 0),
        r"types\.npy is damaged or truncated .*: download the release again",
    ),
    "fewer images": (
        lambda fold: resave(images_file(fold), lambda images: images[:2]),
        r"images\.npy holds 2 images, masks\.npy 3 masks and types\.npy 3 tissues: take all three",
    ),
    "fewer masks": (
        lambda fold: resave(masks_file(fold), lambda masks: masks[:1]),
        r"images\.npy holds 3 images, masks\.npy 1 masks and types\.npy 3 tissues: take all three",
    ),
    "more types": (
        lambda fold: resave(types_file(fold), lambda types: np.append(types, "Liver")),
        r"images\.npy holds 3 images, masks\.npy 3 masks and types\.npy 4 tissues: take all three",
    ),
    "gray images": (
        lambda fold: resave(images_file(fold), lambda images: images[..., 0]),
        r"images\.npy has shape \(3, 16, 16\) of float64 instead of \(N, H, W, 3\)",
    ),
    "masks without background": (
        lambda fold: resave(masks_file(fold), lambda masks: masks[..., :5]),
        r"masks\.npy has shape \(3, 16, 16, 5\) of float64 instead of \(N, H, W, 6\)",
    ),
    "text for masks": (
        lambda fold: resave(masks_file(fold), lambda masks: masks.astype(str)),
        r"masks\.npy has shape .* of <U32 instead of \(N, H, W, 6\) of numbers: download",
    ),
    "smaller masks": (
        lambda fold: resave(masks_file(fold), lambda masks: masks[:, :8]),
        r"images of \(16, 16\) px, masks\.npy masks of \(8, 16\) px: take both from one release",
    ),
    "numbers for types": (
        lambda fold: resave(types_file(fold), lambda types: np.arange(len(types))),
        r"types\.npy has shape \(3,\) of int64 instead of \(N,\) of text: download",
    ),
    "unknown tissue": (
        lambda fold: resave(types_file(fold), lambda types: np.array(["Breast", "Leaf", "Skin"])),
        r"types\.npy names the tissue 'Leaf': rename it to one of PanNuke's 19",
    ),
    "too bright": (
        lambda fold: set_first(images_file(fold), 256),
        r"images\.npy: image 0 has values outside 0\.\.255: download the release again",
    ),
    "negative": (
        lambda fold: set_first(images_file(fold), -1),
        r"images\.npy: image 0 has values outside 0\.\.255: download the release again",
    ),
    "not a number": (
        lambda fold: set_first(images_file(fold), np.nan),
        r"images\.npy: image 0 has values outside 0\.\.255: download the release again",
    ),
    "scaled": (
        lambda fold: resave(images_file(fold), lambda images: images / 255),
        r"images\.npy: image 0 is scaled to 0\.\.1: multiply the array by 255",
    ),
    "half an id": (
        lambda fold: set_first(masks_file(fold), 0.5),
        r"masks\.npy: mask 0 has values that are no instance ids .*: download the release again",
    ),
    "no id": (
        lambda fold: set_first(masks_file(fold), np.inf),
        r"masks\.npy: mask 0 has values that are no instance ids .*: download the release again",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_release_is_refused_with_the_remedy(tmp_path, name):
    break_fold, message = BROKEN[name]
    break_fold(write_fold(tmp_path / "release", 1))
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "release", tmp_path / "fold1")
    assert not (tmp_path / "fold1").exists()


def test_a_missing_fold_is_named(tmp_path):
    write_fold(tmp_path, 1)
    with pytest.raises(UserError, match=r"Fold 2 \(or a spelling such as .*does not exist: unpack"):
        find_pannuke_fold(tmp_path, 2)
    with pytest.raises(UserError, match=r"nowhere is not a folder: name the folder that holds"):
        find_pannuke_fold(tmp_path / "nowhere", 1)


def test_the_written_json_is_plain_coco(tmp_path):
    write_fold(tmp_path, 1)
    convert(tmp_path, tmp_path / "fold1")
    data = json.loads((tmp_path / "fold1" / JSON_NAME).read_text())
    assert [category["name"] for category in data["categories"]] == list(PANNUKE_CLASSES)
    assert [annotation["category_id"] for annotation in data["annotations"]] == [1, 1, 5, 4]
