import json
import multiprocessing

import cv2
import numpy as np
import pytest

from cfrsam_d2.data import synthetic
from cfrsam_d2.data.coco import load_nucleus_json, read_nucleus_json
from cfrsam_d2.data.synthetic import (
    SYNTHETIC_CLASSES,
    SYNTHETIC_SPLITS,
    SYNTHETIC_TISSUES,
    make_synthetic_dataset,
)
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.rle import decode_mask

COUNTS = {"train": 30, "val": 4, "test": 4}
FEW = {"train": 1, "val": 1, "test": 1}


def files_in(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "synthetic_he"
    make_synthetic_dataset(folder, COUNTS)
    return folder


@pytest.fixture(scope="module")
def train(dataset):
    """Images with their masks (N, H, W) and class indices (N,)."""
    records = load_nucleus_json(dataset / "train" / "nuclei.json", dataset / "train" / "images")
    result = []
    for record in records:
        nuclei = record["annotations"]
        size = record["height"], record["width"]
        masks = [decode_mask(nucleus["segmentation"]).frame(*size) for nucleus in nuclei]
        classes = np.array([nucleus["category_id"] for nucleus in nuclei], dtype=int)
        result.append((cv2.imread(record["file_name"]), np.array(masks), classes))
    return result


def pairs(train):
    """Pairs of nuclei of one image."""
    for _, masks, _ in train:
        for index, mask in enumerate(masks):
            for other in masks[:index]:
                yield mask, other


def test_the_same_again_byte_by_byte(dataset, tmp_path):
    make_synthetic_dataset(tmp_path / "again", COUNTS)
    assert files_in(tmp_path / "again") == files_in(dataset)


def test_an_image_does_not_depend_on_how_many_there_are(dataset, tmp_path):
    make_synthetic_dataset(tmp_path / "few", FEW)
    for split in FEW:
        name = f"{split}/images/{split}_0000.png"
        assert (tmp_path / "few" / name).read_bytes() == (dataset / name).read_bytes()


def test_counts_tissues_and_classes(dataset, train):
    for split, count in COUNTS.items():
        data = read_nucleus_json(dataset / split / "nuclei.json")
        assert len(data["images"]) == count
        assert {image["tissue"] for image in data["images"]} == set(SYNTHETIC_TISSUES)
        assert [category["name"] for category in data["categories"]] == list(SYNTHETIC_CLASSES)
    counts = np.bincount(np.concatenate([classes for _, _, classes in train]))
    assert len(counts) == len(SYNTHETIC_CLASSES) >= 3
    assert (counts / counts.sum() > 0.15).all()


def test_splits_differ(dataset):
    images = [content for name, content in files_in(dataset).items() if name.endswith(".png")]
    assert len(set(images)) == len(images) == sum(COUNTS.values())


def test_some_images_of_each_tissue_have_no_nucleus(dataset):
    data = read_nucleus_json(dataset / "train" / "nuclei.json")
    filled = {annotation["image_id"] for annotation in data["annotations"]}
    empty = [image["tissue"] for image in data["images"] if image["id"] not in filled]
    assert sorted(empty) == sorted(SYNTHETIC_TISSUES)


def test_nuclei_overlap(train):
    overlaps = [(mask & other).sum() / min(mask.sum(), other.sum()) for mask, other in pairs(train)]
    overlaps = np.array([overlap for overlap in overlaps if overlap])
    assert (overlaps > 0.1).sum() >= 10
    assert overlaps.max() <= 0.4


def test_every_nucleus_stays_visible(train):
    for _, masks, _ in train:
        for index, mask in enumerate(masks):
            visible = mask & ~masks[index + 1 :].any(axis=0)  # later ones lie above
            assert visible.sum() >= max(20, mask.sum() / 2)


def test_nuclei_touch(train):
    def touches(mask, other):
        grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0
        return (grown & other).any() and not (mask & other).any()

    assert sum(touches(mask, other) for mask, other in pairs(train)) >= 10


def test_sizes_differ_by_class_and_within_it(train):
    areas = [[], [], []]
    for _, masks, classes in train:
        for mask, class_index in zip(masks, classes, strict=True):
            if not (mask[[0, -1]].any() or mask[:, [0, -1]].any()):  # whole
                areas[class_index].append(mask.sum())
    epithelial, lymphocyte, _ = (np.array(each) for each in areas)
    assert np.median(epithelial) > 2 * np.median(lymphocyte)
    for of_class in areas:
        assert max(of_class) > 1.5 * min(of_class)


def test_nuclei_are_darker_than_what_is_around_them_and_some_are_faint(train):
    contrasts = []
    for image, masks, _ in train:
        red = image[..., 2].astype(float)
        anywhere = masks.any(axis=0)
        for mask in masks:
            near = cv2.dilate(mask.astype(np.uint8), np.ones((11, 11))) > 0
            contrasts.append(red[near & ~anywhere].mean() - red[mask].mean())
    contrasts = np.array(contrasts)
    assert np.median(contrasts) > 40
    assert 0.03 < (contrasts < 0.4 * np.median(contrasts)).mean() < 0.4


def test_images_look_like_h_and_e(train):
    blue, green, red = np.mean([image.mean(axis=(0, 1)) for image, _, _ in train], axis=0)
    assert green < blue < 255
    assert green < red < 255
    assert {image.shape for image, _, _ in train} == {(128, 128, 3)}


def test_the_default_is_what_the_configs_name():
    assert list(SYNTHETIC_SPLITS) == ["train", "val", "test"]
    assert all(count > synthetic._EMPTY_EVERY for count in SYNTHETIC_SPLITS.values())


def test_it_is_made_once(tmp_path):
    make_synthetic_dataset(tmp_path / "data", FEW)
    before = (tmp_path / "data" / "version.json").stat()
    make_synthetic_dataset(tmp_path / "data", FEW)
    after = (tmp_path / "data" / "version.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("stored", ['{"version": 0, "counts": {}}', "{", ""])
def test_an_older_or_damaged_version_is_made_anew(tmp_path, stored):
    folder = tmp_path / "data"
    make_synthetic_dataset(folder, FEW)
    expected = files_in(folder)
    (folder / "version.json").write_text(stored)
    (folder / "val" / "nuclei.json").unlink()
    (folder / "train" / "images" / "stale.png").touch()
    make_synthetic_dataset(folder, FEW)
    assert files_in(folder) == expected


def test_a_killed_run_leaves_nothing_that_counts(tmp_path):
    partial = tmp_path / ".data.partial"
    (partial / "train").mkdir(parents=True)
    (partial / "train" / "nuclei.json").write_text("{")
    make_synthetic_dataset(tmp_path / "data", FEW)
    assert not partial.exists()
    assert json.loads((tmp_path / "data" / "version.json").read_text())["counts"] == FEW


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").touch()
    with pytest.raises(UserError, match=r"data exists and holds other files .*: move it away"):
        make_synthetic_dataset(tmp_path / "data", FEW)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    message = r"cannot write .*file \(.*\): move away .*, or choose .* DETECTRON2_DATASETS\)"
    with pytest.raises(UserError, match=message):
        make_synthetic_dataset(tmp_path / "file" / "data", FEW)


def make_and_report(folder, barrier, made):
    """In a process of its own: make the dataset, and say which images were drawn here."""
    render = synthetic.render

    def counted(*args):
        made.put(1)
        return render(*args)

    synthetic.render = counted
    barrier.wait()
    make_synthetic_dataset(folder, FEW)


def test_two_processes_at_once_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, made = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=make_and_report, args=(tmp_path / "data", barrier, made))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    drawn = [made.get(timeout=600) for _ in range(sum(FEW.values()))]
    for process in processes:
        process.join(timeout=600)
        assert process.exitcode == 0
    assert len(drawn) == 3
    assert made.empty()
    make_synthetic_dataset(tmp_path / "alone", FEW)
    assert files_in(tmp_path / "data") == files_in(tmp_path / "alone")
