import cv2
import numpy as np
from pycocotools.coco import COCO

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.converters.dataset_writer import NucleusJsonWriter
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import decode_mask

CLASSES = ("round", "long")


def write_two_images(folder):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 9, 3), dtype=np.uint8)
    below, above = np.zeros((2, 8, 9), dtype=bool)
    below[1:5, 1:5] = True
    above[3:8, 4:9] = True  # overlaps the first
    writer = NucleusJsonWriter(folder, CLASSES)
    nuclei = [(BoxMask.of_frame(below), 1), (BoxMask.of_frame(above), 0)]
    writer.add("0.png", images[0], nuclei, tissue="Skin", magnification=20)
    writer.add("1.png", images[1], [], tissue="Liver")
    writer.write()
    return writer, images, (below, above)


def test_what_is_written_is_read(tmp_path):
    _, images, masks = write_two_images(tmp_path)
    records = load_nucleus_json(tmp_path / "nuclei.json", tmp_path / "images")
    for record, image in zip(records, images, strict=True):
        np.testing.assert_array_equal(cv2.imread(record["file_name"])[..., ::-1], image)
    first, second = records
    assert (first["tissue"], first["magnification"]) == ("Skin", 20)
    assert (second["tissue"], second["magnification"]) == ("Liver", 40)
    assert [nucleus["category_id"] for nucleus in first["annotations"]] == [1, 0]
    assert [nucleus["point"] for nucleus in first["annotations"]] == [[2.5, 2.5], [6, 5]]
    for nucleus, mask in zip(first["annotations"], masks, strict=True):
        np.testing.assert_array_equal(decode_mask(nucleus["segmentation"]).frame(8, 9), mask)
    assert second["annotations"] == []


def test_other_tools_of_coco_read_it(tmp_path):
    write_two_images(tmp_path)
    coco = COCO(str(tmp_path / "nuclei.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    (above,) = coco.loadAnns(coco.getAnnIds(catIds=[1]))
    assert (above["bbox"], above["area"]) == ([4, 3, 5, 5], 25)
    assert coco.annToMask(above).sum() == 25


def test_the_json_appears_whole_and_last(tmp_path):
    writer = NucleusJsonWriter(tmp_path / "new" / "split", CLASSES)
    writer.add("0.png", np.zeros((4, 4, 3), dtype=np.uint8), [], tissue="Skin")
    assert not (tmp_path / "new" / "split" / "nuclei.json").exists()
    writer.write()
    names = sorted(path.name for path in (tmp_path / "new" / "split").iterdir())
    assert names == ["images", "nuclei.json"]


def test_the_summary_counts_by_tissue_and_class(tmp_path):
    writer, _, _ = write_two_images(tmp_path)
    lines = [line.split() for line in writer.summary().splitlines()]
    assert lines[0] == ["tissue", "images", "round", "long", "nuclei"]
    assert lines[2:] == [
        ["Liver", "1", "0", "0", "0"],
        ["Skin", "1", "1", "1", "2"],
        ["all", "2", "1", "1", "2"],
        ["images", "without", "nuclei:", "1"],
    ]
