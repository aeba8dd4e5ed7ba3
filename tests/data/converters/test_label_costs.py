"""Labels of small nuclei in a huge image: what is held is the nuclei, never their frames."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cfrsam_d2.data.coco import dataset_dicts_from_json
from cfrsam_d2.data.converters.custom.classes import ClassNames
from cfrsam_d2.data.converters.custom.geojson import geojson_nuclei
from cfrsam_d2.data.converters.instance_map import instance_masks
from cfrsam_d2.data.converters.monuseg import outline_mask
from cfrsam_d2.data.magnification import resize_mask
from cfrsam_d2.data.points import mask_point
from cfrsam_d2.structures.coco import coco_annotation
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import decode_mask

SIZE = (30_000, 30_000)  # px: a frame would have 900 MB
COUNT, SIDE = 200, 4  # squares and their px
CORNERS = 150 * np.arange(COUNT)


@contextmanager
def little_memory() -> Iterator[None]:
    """Refuses a peak of 32 MB, far below one frame."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32e6


def ring(corner: int) -> list[list[int]]:
    low, high = int(corner), int(corner) + SIDE
    return [[low, low], [high, low], [high, high], [low, high]]


def check_squares(masks: list[BoxMask]) -> None:
    assert [mask.box for mask in masks] == [(c, c, c + SIDE, c + SIDE) for c in CORNERS]
    assert {mask.area for mask in masks} == {SIDE**2}


def test_geojson(tmp_path: Path) -> None:
    features = [
        {"geometry": {"type": "Polygon", "coordinates": [ring(corner)]}} for corner in CORNERS
    ]
    (tmp_path / "a.geojson").write_text(json.dumps(features))
    classes = ClassNames(tmp_path / "classes.yaml", {1: "nucleus"})
    with little_memory():
        nuclei = list(geojson_nuclei(tmp_path / "a.geojson", SIZE, classes, Counter()))
    check_squares([mask for mask, _ in nuclei])


def test_coco_there_and_back() -> None:
    masks = [BoxMask(c, c, np.ones((SIDE, SIDE), dtype=bool)) for c in CORNERS.tolist()]
    image = {"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}
    with little_memory():
        annotations = [
            {"id": index, "image_id": 1}
            | coco_annotation(mask, 0, SIZE, point=mask_point(mask) if index % 2 else None)
            for index, mask in enumerate(masks)
        ]
        outlines = [[value for corner in ring(c) for value in corner] for c in CORNERS]
        annotations += [
            {"id": COUNT + index, "image_id": 1, "category_id": 1, "segmentation": [outline]}
            for index, outline in enumerate(outlines)
        ]
        data = {
            "images": [image],
            "annotations": annotations,
            "categories": [{"id": 1, "name": ""}],
        }
        (record,), _ = dataset_dicts_from_json(data, "a.json", "")
        found = [decode_mask(nucleus["segmentation"]) for nucleus in record["annotations"]]
    check_squares(found[:COUNT])
    check_squares(found[COUNT:])
    points = {corner + (SIDE - 1) / 2 for corner in CORNERS.tolist()}
    assert {value for nucleus in record["annotations"] for value in nucleus["point"]} == points


def test_monuseg_and_other_magnifications() -> None:
    with little_memory():
        masks = [outline_mask(np.array(ring(c)) - [0.5, 0.5], *SIZE) for c in CORNERS]
        check_squares(masks)
        halved = [resize_mask(mask, SIZE, (15_000, 15_000)) for mask in masks[::2]]
    assert [mask.left for mask in halved] == (CORNERS[::2] // 2).tolist()
    assert {mask.area for mask in halved} == {SIDE**2 // 4}


def test_label_maps() -> None:
    """The map itself has its size; nothing of that size comes with each nucleus."""
    inst_map = np.zeros((3_000, 3_000), dtype=np.int32)
    corners = CORNERS // 10
    for index, corner in enumerate(corners):
        inst_map[corner : corner + SIDE, corner : corner + SIDE] = 3 * index + 1
    tracemalloc.start()
    nuclei = instance_masks(inst_map)
    found = [next(nuclei)]
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    found += nuclei
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 1e6
    assert [instance_id for instance_id, _ in found] == list(range(1, 600, 3))
    assert all(mask.left == c for (_, mask), c in zip(found, corners, strict=True))
