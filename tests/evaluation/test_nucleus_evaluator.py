"""The evaluator from registered ground truth and model outputs to numbers and files."""

import csv
import json
import logging
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import print_csv_format
from detectron2.structures import Instances

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.errors import UserError
from cfrsam_d2.evaluation import NucleusEvaluator, evaluator
from cfrsam_d2.evaluation.predictions import read_predictions
from cfrsam_d2.structures.masks import BoxMask, BoxMasks
from cfrsam_d2.structures.rle import decode_mask, encode_mask

NAME = "evaluator_test"
SIZE = (30, 40)
BOXES = [(0, 0, 10, 10), (10, 20, 20, 30)]  # y0, x0, y1, x1: 100 px each


def image(image_id: int | str, classes: list[int], tissue: str | None = "Colon") -> dict[str, Any]:
    """One nucleus a class, in the places of BOXES."""
    annotations = [
        {"segmentation": encode_mask(_rectangle(box), *SIZE), "category_id": class_id}
        for box, class_id in zip(BOXES, classes, strict=False)
    ]
    fields = {"file_name": f"{image_id}.png", "image_id": image_id, "magnification": 40}
    if tissue:
        fields["tissue"] = tissue
    return {**fields, "height": SIZE[0], "width": SIZE[1], "annotations": annotations}


def _rectangle(box: tuple[int, int, int, int]) -> BoxMask:
    y0, x0, y1, x1 = box
    return BoxMask(x0, y0, np.ones((y1 - y0, x1 - x0), dtype=bool))


def prediction(
    boxes: list[tuple[int, int, int, int]],
    classes: list[int],
    scores: list[float] | None = None,
    size: tuple[int, int] = SIZE,
) -> dict[str, Instances]:
    instances = Instances(size)
    instances.pred_masks = BoxMasks.from_box_masks([_rectangle(box) for box in boxes], size)
    instances.pred_points = torch.zeros(len(boxes), 2)  # masks go before points
    instances.pred_classes = torch.tensor(classes, dtype=torch.int64)
    instances.scores = torch.tensor(scores or [0.9] * len(boxes))
    return {"instances": instances}


def points(xy: list[tuple[float, float]], classes: list[int]) -> dict[str, Instances]:
    instances = Instances(SIZE)
    instances.pred_points = torch.tensor(xy, dtype=torch.float32).reshape(-1, 2)
    instances.pred_classes = torch.tensor(classes, dtype=torch.int64)
    instances.scores = torch.ones(len(xy))
    return {"instances": instances}


DATASET = [
    image(10, [0, 1]),
    image(11, [0], "Bile-duct"),
    image(12, [], "Bile-duct"),
]
OUTPUTS = [
    prediction(BOXES, [0, 0]),  # the second nucleus is found, but of the wrong class
    prediction([(0, 0, 10, 8)], [0]),  # IoU .8
    prediction([BOXES[1]], [1]),  # nothing is there
]


def register(
    images: list[dict[str, Any]], tissues: tuple[str, ...] = ("Bile-duct", "Colon")
) -> None:
    DatasetCatalog.register(NAME, lambda: images)
    MetadataCatalog.get(NAME).set(thing_classes=["round", "long"], tissues=list(tissues))


@pytest.fixture(autouse=True)
def _empty_catalog() -> Iterator[None]:
    yield
    if NAME in DatasetCatalog.list():
        DatasetCatalog.remove(NAME)
    if NAME in MetadataCatalog.list():
        MetadataCatalog.remove(NAME)


def process(scorer: NucleusEvaluator, indices: list[int]) -> NucleusEvaluator:
    inputs = [{"image_id": DATASET[index]["image_id"]} for index in indices]
    scorer.process(inputs, [OUTPUTS[index] for index in indices])
    return scorer


def test_scores_of_a_small_dataset_by_hand():
    register(DATASET)
    scores = process(NucleusEvaluator(NAME), [0, 1, 2]).evaluate()
    assert scores["tissue_bpq"] == {
        "Bile_duct": pytest.approx(0.8, abs=1e-6),
        "Colon": pytest.approx(1, abs=1e-6),
    }
    # Image 10: class 0 has one match and one false positive, class 1 none.
    mpq = {"Bile_duct": 0.8, "Colon": (1 / 1.5 + 0) / 2}
    assert scores["tissue_mpq"] == pytest.approx(mpq, abs=1e-6)
    assert scores["class_pq"] == pytest.approx({"round": (1 / 1.5 + 0.8) / 2, "long": 0}, abs=1e-6)
    segmentation = scores["segmentation"]
    assert segmentation["bPQ"] == pytest.approx(0.9, abs=1e-6)
    assert segmentation["mPQ"] == pytest.approx(np.mean(list(mpq.values())), abs=1e-6)
    assert segmentation["AJI"] == segmentation["AJI_plus"] == pytest.approx(0.9)
    # Pooled: round 2 matches, 1 false positive; long 1 missed, 1 false positive.
    assert segmentation["mPQ_plus"] == pytest.approx((2 / 2.5 * 0.9 + 0) / 2, abs=1e-6)
    # Class F1 by greedy pairs: round 2 of 3 and 2, long 0 of 1 and 1.
    assert scores["detection"] == {"P": 3 / 4, "R": 1, "F1": 6 / 7, "mean_class_F1": 4 / 5 / 2}
    assert scores["classification"] == {
        "F1_round": 4 / (4 + 2),
        "F1_long": 0,
        "P_round": 2 / (2 + 2),
        "P_long": 0,
        "R_round": 1,
        "R_long": 0,
    }


def test_files_and_printed_tables(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    register(DATASET)
    with caplog.at_level(logging.INFO, logger="cfrsam_d2.evaluation"):
        scores = process(NucleusEvaluator(NAME, str(tmp_path)), [0, 1, 2]).evaluate()
    assert "Bile-duct" in caplog.text
    assert json.loads((tmp_path / "metrics.json").read_text()) == scores
    assert not list(tmp_path.glob(".*"))
    rows = {}
    for name in ("tissues", "classes", "detection", "images"):
        with open(tmp_path / f"{name}.csv") as file:
            rows[name] = list(csv.DictReader(file))
    assert [row["tissue"] for row in rows["tissues"]] == ["Bile-duct", "Colon", "Average", "Std"]
    assert [row["class"] for row in rows["classes"]] == ["round", "long"]
    assert [row["nuclei"] for row in rows["detection"]] == ["all", "round", "long"]
    assert [row["image_id"] for row in rows["images"]] == ["10", "11", "12"]
    empty = rows["images"][2]
    assert (empty["file_name"], empty["bPQ"], empty["PQ_long"]) == ("12.png", "", "")
    assert (empty["n_gt"], empty["n_pred"]) == ("0", "1")


def test_print_csv_format_shows_every_number(caplog: pytest.LogCaptureFixture):
    register(DATASET)
    scores = process(NucleusEvaluator(NAME), [0, 1, 2]).evaluate()
    with caplog.at_level(logging.INFO):
        print_csv_format(scores)
    for name in (name for group in scores.values() for name in group):
        assert name in caplog.text


def test_ranks_are_merged_in_the_order_of_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register(DATASET)
    expected = process(NucleusEvaluator(NAME, str(tmp_path / "one")), [0, 1, 2]).evaluate()
    other = process(NucleusEvaluator(NAME, str(tmp_path / "two")), [2, 1])  # 11 is on both ranks
    first = process(NucleusEvaluator(NAME, str(tmp_path / "two")), [1, 0])
    of_other = (other.scores, other.predictions)
    monkeypatch.setattr(evaluator.comm, "gather", lambda data, dst: [data, of_other])
    assert first.evaluate() == expected
    for name in ("images.csv", "metrics.json", "tissues.csv", "predictions.json"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()
    monkeypatch.setattr(evaluator.comm, "is_main_process", lambda: False)
    monkeypatch.setattr(evaluator.comm, "gather", lambda data, dst: [])
    assert other.evaluate() == {}


def test_without_distribution_nothing_is_gathered(monkeypatch: pytest.MonkeyPatch):
    register(DATASET)
    monkeypatch.setattr(evaluator.comm, "gather", lambda data, dst: pytest.fail("gathered"))
    scores = process(NucleusEvaluator(NAME, distributed=False), [0, 1, 2]).evaluate()
    assert scores["detection"]["R"] == 1


def test_what_is_kept_of_an_image_is_small(tmp_path: Path):
    register(DATASET)
    scorer = process(NucleusEvaluator(NAME, str(tmp_path)), [0, 1, 2])
    masks_of_one_image = SIZE[0] * SIZE[1]
    for kept in (scorer.scores, scorer.predictions):
        assert len(pickle.dumps(kept)) / len(DATASET) < masks_of_one_image
    without_folder = process(NucleusEvaluator(NAME), [0, 1, 2])
    assert without_folder.predictions == {}


def test_predictions_are_kept_as_they_are(tmp_path: Path):
    register([image("a", [0, 1]), image("b", [1])])
    scorer = NucleusEvaluator(NAME, str(tmp_path))
    overlapping = [(0, 0, 10, 10), (0, 5, 10, 15), (3, 3, 3, 3)]  # the last one has no pixel
    outputs = [prediction([], []), prediction(overlapping, [1, 0, 1], [0.9, 0.1, 0.5])]
    outputs[1]["instances"].pred_points[0] = torch.tensor([4.125, 4.5])
    scorer.process([{"image_id": "b"}, {"image_id": "a"}], outputs)
    scorer.evaluate()
    read = read_predictions(tmp_path / "predictions.json")
    assert read.class_names == ["round", "long"]
    assert list(read.annotations) == ["a", "b"]
    assert read.annotations["b"] == []
    first, second = read.annotations["a"]
    assert (first["category_id"], second["category_id"]) == (1, 0)
    assert (first["score"], second["score"]) == (0.9, 0.1)
    assert first["point"] == [4.12, 4.5]
    assert (first["bbox"], first["area"]) == ([0, 0, 10, 10], 100)
    for nucleus, box in ((first, overlapping[0]), (second, overlapping[1])):
        whole = decode_mask(nucleus["segmentation"]).frame(*SIZE)
        np.testing.assert_array_equal(whole, _rectangle(box).frame(*SIZE))


def test_predictions_are_coco_instances(tmp_path: Path):
    register(DATASET)
    process(NucleusEvaluator(NAME, str(tmp_path)), [0, 1, 2]).evaluate()
    dicts = load_nucleus_json(tmp_path / "predictions.json", "images")
    assert [each["file_name"] for each in dicts] == [f"images/{i}.png" for i in (10, 11, 12)]
    assert [len(each["annotations"]) for each in dicts] == [2, 1, 1]


def test_points_alone_give_detection_and_classification(tmp_path: Path):
    register(DATASET)
    scorer = NucleusEvaluator(NAME, str(tmp_path))
    # Centroids are (4.5, 4.5) and (24.5, 14.5); 12 px is the radius.
    outputs = [points([(4.5, 16), (24.5, 14.5)], [0, 1]), points([(4.5, 17)], [0]), points([], [])]
    scorer.process([{"image_id": image_id} for image_id in (10, 11, 12)], outputs)
    scores = scorer.evaluate()
    assert list(scores) == ["detection", "classification"]
    # At 3 px only the second one pairs.
    expected = {"P": 2 / 3, "R": 2 / 3, "F1": 4 / 6, "mean_class_F1": (0 + 1) / 2}
    assert scores["detection"] == expected
    assert scores["classification"]["F1_long"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.json",
        "detection.csv",
        "images.csv",
        "intervals.csv",
        "predictions.json",
    }
    annotations = read_predictions(tmp_path / "predictions.json").annotations
    assert [len(nuclei) for nuclei in annotations.values()] == [2, 1, 0]
    assert annotations[10][0]["point"] == [4.5, 16]
    with open(tmp_path / "images.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image_id", "file_name", "tissue", "n_gt", "n_pred"]


def test_magnification_sets_the_radius():
    register([{**image(1, [0]), "magnification": 20}])
    scorer = NucleusEvaluator(NAME)
    scorer.process([{"image_id": 1}], [points([(4.5, 4.5 + 6)], [0])])
    assert scorer.evaluate()["detection"]["F1"] == 1
    scorer.reset()
    scorer.process([{"image_id": 1}], [points([(4.5, 4.5 + 6.5)], [0])])
    assert scorer.evaluate()["detection"]["F1"] == 0


def test_radius_of_the_class_f1_is_given_at_40x():
    register([image(1, [0]), {**image(2, [0]), "magnification": 20}])
    for radius, expected in ((8, 1), (7.9, 1 / 2), (3.9, 0)):
        scorer = NucleusEvaluator(NAME, class_f1_radius=radius)
        outputs = [points([(4.5, 4.5 + 4)], [0])] * 2
        scorer.process([{"image_id": 1}, {"image_id": 2}], outputs)
        assert scorer.evaluate()["detection"]["mean_class_F1"] == expected


def test_names_of_metrics_are_known_before_predictions():
    register(DATASET)
    scores = process(NucleusEvaluator(NAME), [0, 1, 2]).evaluate()
    names = [f"{group}/{name}" for group, values in scores.items() for name in values]
    assert NucleusEvaluator(NAME).metric_names(has_masks=True) == names
    of_points = [name for name in names if name.startswith(("detection", "classification"))]
    assert NucleusEvaluator(NAME).metric_names(has_masks=False) == of_points


def test_masks_are_painted_by_score_and_their_centroids_detected():
    register([image(1, [0])])
    scorer = NucleusEvaluator(NAME)
    # The surer mask covers the ground truth's left half and goes over the exact one.
    boxes = [BOXES[0], (0, 0, 10, 5)]
    scorer.process([{"image_id": 1}], [prediction(boxes, [0, 1], [0.4, 0.8])])
    scores = scorer.evaluate()
    assert scores["segmentation"]["bPQ"] == 0
    assert scores["detection"]["F1"] == 2 / 3
    scorer.reset()
    scorer.process([{"image_id": 1}], [prediction(boxes, [0, 1], [0.8, 0.4])])
    assert scorer.evaluate()["segmentation"]["bPQ"] == pytest.approx(1, abs=1e-6)


def test_nothing_predicted_scores_zero_and_nothing_there_scores_nan():
    register([image(1, [0, 1]), image(2, [], "Lung")], tissues=())
    scorer = NucleusEvaluator(NAME)
    scorer.process([{"image_id": 1}, {"image_id": 2}], [prediction([], []), prediction([], [])])
    scores = scorer.evaluate()
    assert scores["segmentation"]["bPQ"] == scores["segmentation"]["AJI"] == 0
    assert scores["tissue_bpq"]["Colon"] == 0
    assert math.isnan(scores["tissue_bpq"]["Lung"])
    assert math.isnan(scores["detection"]["P"])
    assert scores["detection"]["R"] == 0


def test_images_without_tissue_are_of_an_unknown_one():
    register([image(1, [0], tissue=None), image(2, [1], tissue=None)], tissues=())
    scorer = NucleusEvaluator(NAME)
    outputs = [prediction(BOXES[:1], [0]), prediction(BOXES[:1], [0])]
    scorer.process([{"image_id": 1}, {"image_id": 2}], outputs)
    scores = scorer.evaluate()
    assert list(scores["tissue_bpq"]) == ["unknown"]
    assert scores["segmentation"]["bPQ"] == scores["segmentation"]["bPQ_image"]


def test_scores_in_half_precision_are_read():
    register([image(1, [0])])
    scorer = NucleusEvaluator(NAME)
    output = prediction(BOXES[:1], [0])
    output["instances"].scores = output["instances"].scores.bfloat16()
    scorer.process([{"image_id": 1}], [output])
    assert scorer.evaluate()["segmentation"]["AJI"] == 1


def test_an_image_of_another_dataset_is_refused():
    register(DATASET)
    with pytest.raises(UserError, match=r"image_id 99 is not in evaluator_test: evaluate on"):
        NucleusEvaluator(NAME).process([{"image_id": 99}], [prediction([], [])])


def test_masks_of_another_size_are_refused():
    register(DATASET)
    output = prediction(BOXES[:1], [0], size=(60, 80))
    with pytest.raises(UserError, match=r"\(60, 80\) px for 10.png of \(30, 40\) px: predict in"):
        NucleusEvaluator(NAME).process([{"image_id": 10}], [output])


def test_a_class_that_the_dataset_lacks_is_refused():
    register(DATASET)
    with pytest.raises(
        UserError, match=r"class 2, evaluator_test has 2 classes: set .*NUM_CLASSES"
    ):
        NucleusEvaluator(NAME).process([{"image_id": 10}], [prediction(BOXES[:1], [2])])


def test_images_that_were_not_processed_are_named():
    register(DATASET)
    with pytest.raises(UserError, match=r"2 of 3 images .* first is 10.png \(image_id 10\): run"):
        process(NucleusEvaluator(NAME), [1]).evaluate()


@pytest.mark.parametrize(
    ("images", "message"),
    [([], "has no images: choose"), ([image(1, []), image(1, [0])], "several images of one")],
)
def test_datasets_that_cannot_be_scored_are_refused(images: list[dict], message: str):
    register(images)
    with pytest.raises(UserError, match=message):
        NucleusEvaluator(NAME)
