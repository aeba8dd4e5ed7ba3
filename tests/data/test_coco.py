import json
import logging

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode

from cfrsam_d2.data.coco import load_nucleus_json, metadata_from_json, read_nucleus_json
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import decode_mask, encode_mask

NAME = "coco_test"
SQUARE = np.zeros((10, 12), dtype=bool)
SQUARE[2:5, 3:7] = True
SQUARE_RLE = encode_mask(BoxMask.of_frame(SQUARE), 10, 12)
SQUARE_POLYGON = [3, 2, 7, 2, 7, 5, 3, 5]
SQUARE_RUNS = [32, 3, 7, 3, 7, 3, 7, 3, 55]  # columns first


def small_data():
    """Two images, the second without nuclei; three nuclei; category ids with gaps."""
    return {
        "images": [
            {
                "id": 7,
                "file_name": "a.png",
                "height": 10,
                "width": 12,
                "tissue": "Liver",
                "magnification": 20,
            },
            {"id": 3, "file_name": "b/c.png", "height": 5, "width": 6},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 40, "segmentation": [SQUARE_POLYGON]},
            {"id": 2, "image_id": 7, "category_id": 2, "segmentation": SQUARE_RLE},
            {
                "id": 5,
                "image_id": 7,
                "category_id": 11,
                "segmentation": {"size": [10, 12], "counts": SQUARE_RUNS},
                "point": [3.5, 2],
            },
        ],
        "categories": [
            {"id": 40, "name": "tumour"},
            {"id": 2, "name": "stroma"},
            {"id": 11, "name": "immune"},
        ],
    }


@pytest.fixture
def write(tmp_path):
    def write_json(data):
        path = tmp_path / "nuclei.json"
        path.write_text(json.dumps(data))
        return path

    return write_json


@pytest.fixture
def metadata():
    yield MetadataCatalog.get(NAME)
    MetadataCatalog.remove(NAME)


def test_outlines_of_every_form_become_the_same_nucleus(write):
    first, _ = load_nucleus_json(write(small_data()), "root")
    assert len(first["annotations"]) == 3
    for nucleus in first["annotations"]:
        mask = decode_mask(nucleus["segmentation"])
        np.testing.assert_array_equal(mask.frame(10, 12), SQUARE)
        assert nucleus["segmentation"] == SQUARE_RLE
        assert (nucleus["bbox"], nucleus["bbox_mode"]) == ([3, 2, 4, 3], BoxMode.XYWH_ABS)
        assert nucleus["iscrowd"] == 0


def test_category_ids_with_gaps_become_contiguous(write):
    first, _ = load_nucleus_json(write(small_data()), "root")
    assert [nucleus["category_id"] for nucleus in first["annotations"]] == [2, 0, 1]
    metadata = metadata_from_json(small_data())
    assert metadata["thing_classes"] == ["stroma", "immune", "tumour"]
    assert metadata["thing_dataset_id_to_contiguous_id"] == {2: 0, 11: 1, 40: 2}
    assert len(metadata["thing_colors"]) == 3


def test_images_keep_their_order_and_get_what_they_lack(write):
    first, second = load_nucleus_json(write(small_data()), "root")
    del first["annotations"]
    assert first == {
        "file_name": "root/a.png",
        "image_id": 7,
        "height": 10,
        "width": 12,
        "tissue": "Liver",
        "magnification": 20,
    }
    assert second == {
        "file_name": "root/b/c.png",
        "image_id": 3,
        "height": 5,
        "width": 6,
        "tissue": "unknown",
        "magnification": 40,
        "annotations": [],
    }
    assert metadata_from_json(small_data())["tissues"] == ["Liver", "unknown"]


def test_a_point_that_is_missing_is_the_mask_s(write):
    first, _ = load_nucleus_json(write(small_data()), "root")
    assert [nucleus["point"] for nucleus in first["annotations"]] == [[4.5, 3], [4.5, 3], [3.5, 2]]


def test_crowds_and_empty_outlines_are_left_out_and_counted(write, caplog):
    data = small_data()
    data["annotations"][0]["iscrowd"] = 1
    data["annotations"][1]["segmentation"] = [[1, 1, 2, 2]]
    data["annotations"][2]["segmentation"] = {"size": [10, 12], "counts": [120]}
    with caplog.at_level(logging.WARNING, logger="cfrsam_d2.data.coco"):
        first, _ = load_nucleus_json(write(data), "root")
    assert first["annotations"] == []
    assert "left out 1 crowd regions" in caplog.text
    assert "left out 2 outlines without a pixel" in caplog.text


def test_no_images_at_all(write):
    assert load_nucleus_json(write({"images": [], "annotations": [], "categories": []}), "") == []


def test_metadata_are_set_from_the_file(write, metadata):
    load_nucleus_json(write(small_data()), "root", NAME)
    assert metadata.thing_classes == ["stroma", "immune", "tumour"]
    assert metadata.tissues == ["Liver", "unknown"]


def test_known_tissues_keep_their_order(write, metadata):
    metadata.set(tissues=["unknown", "Skin", "Liver"])
    load_nucleus_json(write(small_data()), "root", NAME)
    assert metadata.tissues == ["unknown", "Skin", "Liver"]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"thing_classes": ["a"]}, r"has the classes \['stroma', .*but coco_test has \['a'\]: pre"),
        ({"tissues": ["unknown"]}, r"images of tissue 'Liver', but coco_test has \['unknown'\]: p"),
    ],
)
def test_other_classes_or_tissues_than_registered_are_refused(write, metadata, known, message):
    metadata.set(**known)
    with pytest.raises(UserError, match=message):
        load_nucleus_json(write(small_data()), "root", NAME)


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "nuclei.json"
    with pytest.raises(UserError, match=r"nuclei\.json does not exist: check the path"):
        read_nucleus_json(path)
    with pytest.raises(UserError, match=r"does not exist: check the path"):
        read_nucleus_json(tmp_path)
    for content in (b"", b"{'images': []}", b'{"images": [', b"\x89PNG\r\n\x1a\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"nuclei\.json is not a JSON file .*: export it again"):
            read_nucleus_json(path)


@pytest.mark.parametrize("data", [[], 3, {}, {"images": {}}, {"annotations": []}])
def test_json_of_another_form_is_refused(write, data):
    with pytest.raises(UserError, match=r"has no list `images`: export it as COCO instances"):
        read_nucleus_json(write(data))


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("annotations", "category_id", 3, r"annotation 1 is of category 3, but .*\[2, 11, 40\]: a"),
        ("annotations", "category_id", "40", r"annotation 1 is of category '40', but `categories`"),
        ("annotations", "image_id", 8, r"annotation 1 is of image 8, which `images` does not list"),
        ("annotations", "id", 2, r"id 2 appears twice in `annotations`: make the ids unique"),
        ("images", "id", 3, r"id 3 appears twice in `images`: make the ids unique"),
        ("categories", "id", 2, r"id 2 appears twice in `categories`: make the ids unique"),
        ("images", "id", "7", r"entry 0 of `images` has the id '7': number them with integers"),
        ("annotations", "id", None, r"entry 0 of `annotations` has the id None: number them"),
        ("images", "magnification", "20x", r"magnification of image 7 is '20x': give the object"),
        ("images", "magnification", 0.25, r"magnification of image 7 is 0.25: give the objective"),
        ("annotations", "point", [1], r"annotation 1 has the point \[1\]: write \[x, y\] in px"),
        ("annotations", "point", [1, None], r"annotation 1 has the point \[1, None\]: write"),
        (
            "annotations",
            "segmentation",
            {"size": [12, 10], "counts": [120]},
            r"nuclei\.json: annotation 1 has an RLE of size \[12, 10\] in an image of "
            r"\[height, width\] = \[10, 12\]: export masks and images at one size",
        ),
        ("annotations", "segmentation", None, r"annotation 1 has neither polygons nor RLE"),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(write, table, key, value, message):
    data = small_data()
    data[table][0][key] = value
    with pytest.raises(UserError, match=message):
        load_nucleus_json(write(data), "root")


@pytest.mark.parametrize(
    ("table", "key"),
    [("images", "file_name"), ("images", "height"), ("categories", "name"), ("annotations", "id")],
)
def test_a_missing_key_is_named(write, table, key):
    data = small_data()
    del data[table][0][key]
    with pytest.raises(UserError, match=rf"entry 0 of `{table}` has no `{key}`: export it as COCO"):
        load_nucleus_json(write(data), "root")


def test_boxes_without_outlines_are_refused(write):
    data = small_data()
    data["annotations"][1] = {"id": 2, "image_id": 7, "category_id": 2, "bbox": [3, 2, 4, 3]}
    with pytest.raises(UserError, match=r"entry 1 of `annotations` has no `segmentation`: export"):
        load_nucleus_json(write(data), "root")
