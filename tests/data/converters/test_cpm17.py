import json

import cv2
import numpy as np
import pytest
from small_release import HEIGHT, WIDTH, inst_map, write_cpm17, write_image, write_mat

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.converters.cpm17 import convert_cpm17
from cfrsam_d2.data.converters.mat import read_mat
from cfrsam_d2.data.converters.release import RELEASE_SPLITS
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.rle import decode_mask


def convert(source, output):
    """Convert; returns dataset dicts by split."""
    convert_cpm17(source, output)
    return load(output)


def load(output):
    return {
        split: load_nucleus_json(output / split / "nuclei.json", output / split / "images")
        for split in RELEASE_SPLITS
    }


def names(records):
    return [record["file_name"].rpartition("/")[2] for record in records]


def masks_of(record):
    """Each nucleus in the whole image, (H, W) bool."""
    size = record["height"], record["width"]
    return [decode_mask(each["segmentation"]).frame(*size) for each in record["annotations"]]


def test_pixels_and_instances_arrive_whole(tmp_path):
    splits = convert(write_cpm17(tmp_path / "cpm17"), tmp_path / "out")
    _, record = splits["test"]
    image = cv2.imread(record["file_name"])[..., ::-1]
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image.sum() == 60
    first, second = masks_of(record)
    np.testing.assert_array_equal(first, inst_map() == 2)
    np.testing.assert_array_equal(second, inst_map() == 7)  # both pieces
    assert record["annotations"][0]["point"] == [2.5, 2.0]
    assert (record["tissue"], record["magnification"]) == ("unknown", 40)
    categories = json.loads((tmp_path / "out" / "test" / "nuclei.json").read_text())["categories"]
    assert categories == [{"id": 1, "name": "nucleus"}]


def test_15_percent_of_train_validate_and_empty_images_stay(tmp_path):
    splits = convert(write_cpm17(tmp_path / "cpm17"), tmp_path / "out")
    held_out = names(splits["val"])
    assert len(held_out) == 1  # of 7
    both = sorted(held_out + names(splits["train"]))
    assert both == [f"image_{number:02d}.png" for number in range(7)]
    assert names(splits["test"]) == ["image_00.png", "image_01.png"]
    counts = [len(record["annotations"]) for record in splits["train"] + splits["val"]]
    assert sorted(counts) == [0, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"train": "Train", "test": "Test", "images": "images", "labels": "labels"},
        {"train": "TRAIN", "test": "TEST", "images": "image", "labels": "label"},
        {"train": "cpm17/train", "test": "cpm17/test"},
        {"train": "CPM-17/CPM_17 train/train", "test": "CPM-17/CPM_17 test"},
        {"train": "training data", "test": "testing_data", "suffix": ".tif"},
        {"images": ".", "labels": ".", "suffix": ".TIFF"},
    ],
)
def test_layouts_found_in_the_wild(tmp_path, layout):
    source = write_cpm17(tmp_path / "downloads", **layout)
    write_image(source / "__MACOSX" / "train" / "Images" / "._image_00.png")
    for folder in source.rglob("image_00*"):
        (folder.parent / f"._{folder.name}").touch()
    splits = convert(source, tmp_path / "out")
    assert [len(splits[split]) for split in RELEASE_SPLITS] == [6, 1, 2]


def test_converting_again_replaces_all_splits(tmp_path):
    source, output = write_cpm17(tmp_path / "cpm17"), tmp_path / "data" / "cpm17"
    first = convert(source, output)
    (output / "val" / "images" / "stale.png").touch()
    assert convert(source, output) == first
    assert not (output / "val" / "images" / "stale.png").exists()
    # A conversion that fails leaves what was there, and nothing beside it.
    write_mat(source / "test" / "Labels" / "image_01.mat", other=inst_map())
    with pytest.raises(UserError, match=r"image_01\.mat has no `inst_map`: export the label map"):
        convert(source, output)
    assert load(output) == first
    assert sorted(path.name for path in output.parent.iterdir()) == [".cpm17.lock", "cpm17"]


def test_the_release_itself_is_not_replaced(tmp_path):
    source = write_cpm17(tmp_path / "cpm17")
    with pytest.raises(UserError, match=r"cpm17 exists and holds other files .*: move it away"):
        convert(source, source)
    assert len(list((source / "train" / "Images").iterdir())) == 7


def remove(*names):
    def change(source):
        for name in names:
            (source / name).unlink()

    return change


BROKEN = {
    "no test folder": (
        lambda source: (source / "test").rename(source / "later"),
        r"release holds no folder of test images .*: unpack the whole release there",
    ),
    "two train folders": (
        lambda source: write_cpm17(source / "copy", test="x"),
        r"release holds both 'copy/train' and 'train': keep one of them",
    ),
    "two image folders": (
        lambda source: (source / "train" / "image").mkdir(),
        r"train holds both 'Images' and 'image': keep one of them",
    ),
    "no images": (
        lambda source: remove("test/Images/image_00.png", "test/Images/image_01.png")(source),
        r"test/Images holds no images: unpack the whole release",
    ),
    "no labels": (
        lambda source: remove("test/Labels/image_00.mat", "test/Labels/image_01.mat")(source),
        r"test/Labels holds no \.mat files: unpack the whole release",
    ),
    "image without label": (
        lambda source: remove("train/Labels/image_03.mat")(source),
        r"train/Images/image_03\.png has no label image_03\.mat: unpack the whole release, or rem",
    ),
    "label without image": (
        lambda source: remove("train/Images/image_03.png")(source),
        r"train/Labels/image_03\.mat has no image of its name: unpack the whole release, or rem",
    ),
    "image twice": (
        lambda source: write_image(source / "train" / "Images" / "image_03.tif"),
        r"train/Images holds both 'image_03\.png' and 'image_03\.tif': keep one of them",
    ),
    "one training image": (
        lambda source: remove(
            *(f"train/Images/image_0{i}.png" for i in range(1, 7)),
            *(f"train/Labels/image_0{i}.mat" for i in range(1, 7)),
        )(source),
        r"release holds 1 training images: unpack the whole release there",
    ),
    "label of another size": (
        lambda source: write_image(source / "train" / "Images" / "image_03.png", width=11),
        r"train/Labels/image_03\.mat: `inst_map` is of \(12, 16\) px, its image of \(12, 11\): "
        r"take both from one release",
    ),
    "no inst_map": (
        lambda source: write_mat(source / "train" / "Labels" / "image_03.mat", label=inst_map()),
        r"train/Labels/image_03\.mat has no `inst_map`: export the label map under this name",
    ),
    "truncated label": (
        lambda source: truncate(source / "train" / "Labels" / "image_03.mat"),
        r"train/Labels/image_03\.mat is damaged or no MATLAB file .*: download or export it again",
    ),
    "truncated image": (
        lambda source: truncate(source / "train" / "Images" / "image_03.png"),
        r"train/Images/image_03\.png cannot be read as an image .*: replace it",
    ),
    "half an id": (
        lambda source: write_mat(
            source / "train" / "Labels" / "image_03.mat", inst_map=inst_map() / 4
        ),
        r"train/Labels/image_03\.mat: `inst_map` has the value 0\.5: write whole numbers",
    ),
}


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_release_is_refused_with_the_remedy(tmp_path, name):
    break_release, message = BROKEN[name]
    source = write_cpm17(tmp_path / "release")
    break_release(source)
    with pytest.raises(UserError, match=message):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"nowhere is not a folder: name the one where the release"):
        convert(tmp_path / "nowhere", tmp_path / "out")


def test_real_samples_come_back_exactly(tmp_path, shared):
    source = shared / "data" / "cpm17_layout"
    splits = convert(source, tmp_path / "out")
    assert [len(splits[split]) for split in RELEASE_SPLITS] == [2, 1, 2]
    for split, records in splits.items():
        folder = source / ("test" if split == "test" else "train")
        for record, name in zip(records, names(records), strict=True):
            expected, _ = read_mat(folder / "Labels" / name.replace(".png", ".mat"))
            ids = np.zeros_like(expected)
            for instance_id, mask in zip(
                np.unique(expected[expected > 0]), masks_of(record), strict=True
            ):
                ids[mask] = instance_id
            np.testing.assert_array_equal(ids, expected)
            image = cv2.imread(str(folder / "Images" / name))
            np.testing.assert_array_equal(cv2.imread(record["file_name"]), image)
