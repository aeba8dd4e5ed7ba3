"""One nucleus in JSON: what stands there, and that COCO's own tools read it."""

import json

import numpy as np
from pycocotools import mask as mask_utils

from cfrsam_d2.structures.coco import coco_annotation
from cfrsam_d2.structures.masks import BoxMask

MASK = BoxMask(3, 2, np.array([[True, True, False], [False, True, True]]))


def test_all_that_is_known() -> None:
    record = coco_annotation(MASK, 1, (8, 10), point=(4.0, 2.5), score=0.75)
    keys = ["category_id", "bbox", "area", "segmentation", "point", "score", "iscrowd"]
    assert list(record) == keys
    segmentation = record.pop("segmentation")
    assert record == {
        "category_id": 2,
        "bbox": [3, 2, 3, 2],
        "area": 4,
        "point": [4, 2.5],
        "score": 0.75,
        "iscrowd": 0,
    }
    np.testing.assert_array_equal(mask_utils.decode(segmentation), MASK.frame(8, 10))
    assert mask_utils.toBbox(segmentation).tolist() == record["bbox"]
    json.dumps(record)


def test_a_point_alone() -> None:
    record = coco_annotation(None, 0, (8, 10), point=(4.0, 2.5))
    assert record == {"category_id": 1, "point": [4.0, 2.5]}


def test_a_mask_alone() -> None:
    keys = ["category_id", "bbox", "area", "segmentation", "iscrowd"]
    assert list(coco_annotation(MASK, 0, (8, 10))) == keys
