"""Label maps, tables, COCO and overlays hold the same nuclei as the prediction."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from export_shapes import CLASSES, SHAPES, SIZE, disc, instances, prediction
from PIL import Image
from pycocotools.coco import COCO

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.export import best_first
from cfrsam_d2.export.coco import coco_part, merge_coco_parts
from cfrsam_d2.export.label_map import label_map, label_npy, label_tiff
from cfrsam_d2.export.overlay import draw_overlay, overlay_png
from cfrsam_d2.export.table import COLUMNS, nucleus_table
from cfrsam_d2.structures.rle import decode_mask

LEFT, RIGHT = disc(14, 20, 8), disc(24, 20, 8)  # they overlap


def test_nuclei_are_numbered_by_score() -> None:
    ordered = best_first(instances([LEFT, RIGHT, SHAPES["ring"]], [0.5, 0.75, 0.5]))
    assert ordered.scores.tolist() == [0.75, 0.5, 0.5]
    assert ordered.pred_classes.tolist() == [1, 0, 2]
    for mask, expected in zip(ordered.pred_masks, (RIGHT, LEFT, SHAPES["ring"]), strict=True):
        np.testing.assert_array_equal(mask.frame(*SIZE), expected)


@pytest.mark.parametrize("scores", [[0.5, 0.75], [0.75, 0.5]])
def test_the_better_scored_nucleus_lies_on_top(scores: list[float]) -> None:
    labels = label_map(prediction([LEFT, RIGHT], scores))
    best, other = (LEFT, RIGHT) if scores[0] > scores[1] else (RIGHT, LEFT)
    assert (best & other).any()
    np.testing.assert_array_equal(labels == 1, best)
    np.testing.assert_array_equal(labels == 2, other & ~best)


def test_label_files_read_back() -> None:
    overlapping = prediction([LEFT, RIGHT])
    expected = label_map(overlapping)
    tiff, npy = label_tiff(overlapping), label_npy(overlapping)
    labels = tifffile.imread(io.BytesIO(tiff))
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(tiff))), expected)
    labels = np.load(io.BytesIO(npy), allow_pickle=False)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, expected)


def test_a_class_that_is_a_formula_is_text() -> None:
    found = dataclasses.replace(prediction([LEFT, RIGHT]), classes=["=1+1", "-long", "odd"])
    rows = list(csv.DictReader(io.StringIO(nucleus_table(found))))
    assert [row["class"] for row in rows] == ["'=1+1", "'-long"]
    points = prediction([LEFT, RIGHT], with_masks=False)
    points.instances.pred_points[:] = -1.5
    rows = list(csv.DictReader(io.StringIO(nucleus_table(points))))
    assert [row["x"] for row in rows] == ["-1.500", "-1.500"]


def test_label_files_without_nuclei() -> None:
    empty = prediction([])
    assert tifffile.imread(io.BytesIO(label_tiff(empty))).shape == SIZE
    assert not np.load(io.BytesIO(label_npy(empty))).any()


def test_table() -> None:
    rows = list(csv.DictReader(io.StringIO(nucleus_table(prediction([LEFT, RIGHT], [0.25, 0.75])))))
    assert rows[0] == {
        "label": "1",
        "class": "long",
        "score": "0.750000",
        "x": "24.000",
        "y": "20.000",
        "area": str(RIGHT.sum()),
    }
    assert rows[1]["class"] == "round"
    assert len(rows) == 2


def test_table_of_points_and_of_nothing() -> None:
    table = nucleus_table(prediction([LEFT], with_masks=False))
    assert table.splitlines()[1] == "1,round,0.900000,3.250,7.500,"
    assert nucleus_table(prediction([])) == ",".join(COLUMNS) + "\n"


def test_coco_reads_back(tmp_path: Path) -> None:
    masks = list(SHAPES.values())
    parts = [coco_part(prediction([])), coco_part(prediction(masks)), coco_part(prediction([LEFT]))]
    for part, name in zip(parts, ("empty", "tile", "left"), strict=True):
        part["image"]["file_name"] = f"slide/{name}.png"
    file = tmp_path / "nuclei.json"
    file.write_text(json.dumps(merge_coco_parts(parts, CLASSES)))

    coco = COCO(str(file))
    assert coco.getImgIds() == [1, 2, 3]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    for annotation, mask in zip(annotations, masks, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == mask.sum()
    assert [coco.cats[each["category_id"]]["name"] for each in annotations[:3]] == CLASSES
    assert annotations[0]["bbox"] == [11, 9, 19, 19]
    assert annotations[0]["score"] == pytest.approx(0.9)

    images = load_nucleus_json(file, tmp_path)
    assert [len(image["annotations"]) for image in images] == [0, len(masks), 1]
    nucleus = images[2]["annotations"][0]
    np.testing.assert_array_equal(decode_mask(nucleus["segmentation"]).frame(*SIZE), LEFT)
    assert images[1]["file_name"] == str(tmp_path / "slide" / "tile.png")


def test_overlay_draws_contours_in_the_colour_of_the_class() -> None:
    empty = draw_overlay(prediction([]))
    one = draw_overlay(prediction([LEFT]))
    points = draw_overlay(prediction([LEFT], with_masks=False))
    yellow = [240, 228, 66]

    def count(picture: np.ndarray) -> int:
        return int((picture == yellow).all(axis=2).sum())

    swatch = count(empty)
    assert swatch > 0  # in the legend
    assert count(one) - swatch > 100
    assert 10 < count(points) - swatch < 100
    png = np.asarray(Image.open(io.BytesIO(overlay_png(prediction([LEFT])))))
    np.testing.assert_array_equal(png, one)
