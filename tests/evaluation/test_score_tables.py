"""Averages by hand, NaN conventions included."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from known_shapes import record

from cfrsam_d2.evaluation.image_scores import ImageScores
from cfrsam_d2.evaluation.panoptic_quality import PanopticQuality
from cfrsam_d2.evaluation.tables import image_table, summarize, tissue_table
from cfrsam_d2.evaluation.writers import dataset_tables, format_tables, write_scores

NOTHING = PanopticQuality(0, 0, 0, 0.0)
FREE = PanopticQuality(0, 3, 0, 0.0)  # false positives where the ground truth is empty
CLASSES = ("round", "long-cell")


def pq(value: float) -> PanopticQuality:
    """Counts of a great many matches, so that PQ is `value` to 1e-9."""
    return PanopticQuality(1000, 0, 0, 1000 * value)


@pytest.fixture
def images() -> list[ImageScores]:
    confusion = [[2, 0, 1], [0, 1, 0], [1, 0, 0]]
    return [
        record(1, "Colon", pq(0.8), pq(0.6), pq(0.2), confusion=confusion, aji=0.7),
        record(2, "Colon", pq(0.4), pq(0.4), NOTHING, confusion=confusion, aji=0.3),
        record(3, "Bile-duct", pq(0.2), FREE, pq(0.1), aji=0.2),
        record(4, "Bile-duct", FREE, NOTHING, FREE, aji=math.nan),
        record(5, "Lung", FREE, FREE, NOTHING, aji=math.nan),
    ]


def test_tissues_are_averaged_without_weights(images: list[ImageScores]):
    scores = summarize(images, CLASSES, ("Bile-duct", "Skin", "Colon"))
    # Colon: bPQ (.8 + .4) / 2, mPQ (.4 + .4) / 2; Bile-duct: its one image with nuclei.
    segmentation = scores["segmentation"]
    assert segmentation["bPQ"] == pytest.approx((0.6 + 0.2) / 2)
    assert segmentation["mPQ"] == pytest.approx((0.4 + 0.1) / 2)
    assert segmentation["bPQ_image"] == pytest.approx((0.8 + 0.4 + 0.2) / 3)
    assert segmentation["mPQ_image"] == pytest.approx((0.4 + 0.4 + 0.1) / 3)
    assert segmentation["AJI"] == segmentation["AJI_plus"] == pytest.approx((0.7 + 0.3 + 0.2) / 3)
    assert segmentation["DQ"] == 1
    # Sample deviation, as in Table 1: of two numbers it is their difference over sqrt(2).
    assert segmentation["bPQ_std"] == pytest.approx(0.4 / math.sqrt(2))
    assert segmentation["mPQ_std"] == pytest.approx(0.3 / math.sqrt(2))


def test_classes_of_one_map_are_averaged_apart():
    images = [
        record(1, "Colon", pq(0.5), pq(0.8), pq(0.6), by_class_one_map=(pq(0.4), pq(0.2))),
        record(2, "Lung", pq(0.5), pq(0.5), NOTHING, by_class_one_map=(pq(0.1), NOTHING)),
    ]
    scores = summarize(images, CLASSES)
    assert scores["segmentation"]["mPQ"] == pytest.approx((0.7 + 0.5) / 2)
    assert scores["segmentation"]["mPQ_one_map"] == pytest.approx((0.3 + 0.1) / 2)
    # All else follows the classes painted by themselves.
    assert scores["segmentation"]["mPQ_image"] == pytest.approx((0.7 + 0.5) / 2)
    assert scores["tissue_mpq"] == pytest.approx({"Colon": 0.7, "Lung": 0.5})
    for score in ("bPQ", "mPQ"):
        lost = sum(scores[f"lost_{score.lower()}"].values())
        assert lost == pytest.approx(1 - scores["segmentation"][score])
    assert scores["class_pq"] == pytest.approx({"round": 0.65, "long_cell": 0.6})
    rows = image_table(images, CLASSES)
    assert [row["mPQ"] for row in rows] == pytest.approx([0.7, 0.5])
    assert [row["mPQ_one_map"] for row in rows] == pytest.approx([0.3, 0.1])


def test_tissues_come_in_the_given_order_and_others_after_them(images: list[ImageScores]):
    rows = tissue_table(images, ("Bile-duct", "Skin", "Colon"))
    assert [row["tissue"] for row in rows] == ["Bile-duct", "Skin", "Colon", "Lung"]
    assert [row["images"] for row in rows] == [2, 0, 2, 1]
    np.testing.assert_allclose([row["bPQ"] for row in rows], [0.2, np.nan, 0.6, np.nan])


def test_one_tissue_has_no_deviation(images: list[ImageScores]):
    scores = summarize(images[:2], CLASSES)["segmentation"]
    assert scores["bPQ"] == pytest.approx(0.6)
    assert math.isnan(scores["bPQ_std"])


def test_class_means_and_pooled_classes(images: list[ImageScores]):
    scores = summarize(images, CLASSES)
    assert scores["class_pq"] == {
        "round": pytest.approx((0.6 + 0.4) / 2),
        "long_cell": pytest.approx((0.2 + 0.1) / 2),
    }
    # Pooled: 2000 matches and 6 false positives; 2000 matches and 3.
    expected = [2000 / 2003 * 0.5, 2000 / 2001.5 * 0.15]
    assert scores["segmentation"]["mPQ_plus"] == pytest.approx(np.mean(expected))


def test_detection_is_pooled_over_images(images: list[ImageScores]):
    scores = summarize(images, CLASSES)
    assert scores["detection"] == {"P": 6 / 8, "R": 6 / 8, "F1": 12 / 16}
    assert scores["classification"] == {
        "F1_round": 8 / 12,
        "F1_long_cell": 1,
        "P_round": 4 / 6,
        "P_long_cell": 1,
        "R_round": 4 / 6,
        "R_long_cell": 1,
    }


def test_names_of_metrics_have_no_hyphen(images: list[ImageScores]):
    scores = summarize(images, CLASSES)
    assert (
        list(scores["tissue_bpq"]) == list(scores["tissue_mpq"]) == ["Colon", "Bile_duct", "Lung"]
    )
    assert not [name for group in scores.values() for name in group if "-" in name]
    assert all(isinstance(value, float) for group in scores.values() for value in group.values())


def test_a_dataset_without_any_nucleus_scores_nan():
    images = [record(1, "unknown", NOTHING, NOTHING, aji=math.nan)]
    scores = summarize(images, ("nucleus",))
    assert all(math.isnan(value) for group in scores.values() for value in group.values())


def test_image_rows(images: list[ImageScores]):
    first, *_, last = image_table(images, CLASSES)
    assert ",".join(first) == (
        "image_id,file_name,tissue,bPQ,mPQ,mPQ_one_map,DQ,SQ,AJI,AJI+,n_gt,n_pred,"
        "PQ_round,PQ_long-cell"
    )
    assert (first["n_gt"], first["n_pred"]) == (4, 4)
    assert first["mPQ"] == pytest.approx(0.4)
    assert all(math.isnan(last[name]) for name in ("bPQ", "mPQ", "DQ", "SQ", "AJI", "PQ_round"))


def test_files_hold_every_number_and_no_nan(images: list[ImageScores], tmp_path: Path):
    metrics = summarize(images, CLASSES)
    tables = dataset_tables(images, CLASSES, ())
    write_scores(tmp_path / "new", metrics, tables, images, CLASSES)
    names = {path.name for path in (tmp_path / "new").iterdir()}
    written = ("tissues", "classes", "lost", "detection", "intervals", "images")
    assert names == {"metrics.json", *(f"{name}.csv" for name in written)}
    stored = json.loads((tmp_path / "new/metrics.json").read_text())
    assert stored["tissue_bpq"]["Lung"] is None
    assert stored["segmentation"] == metrics["segmentation"]
    with open(tmp_path / "new/tissues.csv") as file:
        rows = {row["tissue"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["Colon", "Bile-duct", "Lung", "Average", "Std"]
    assert rows["Lung"] == {
        "tissue": "Lung",
        "images": "1",
        "bPQ": "",
        "mPQ": "",
        "mPQ_one_map": "",
    }
    assert float(rows["Average"]["bPQ"]) == metrics["segmentation"]["bPQ"]
    with open(tmp_path / "new/images.csv") as file:
        assert [row["image_id"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5"]


def test_printed_tables_name_every_tissue_and_class(images: list[ImageScores]):
    text = format_tables(summarize(images, CLASSES), dataset_tables(images, CLASSES, ()))
    for name in ("Bile-duct", "Average", "Std", "long-cell", "mPQ_plus", "0.6667"):
        assert name in text
