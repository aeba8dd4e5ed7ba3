"""Both mPQ of docs/evaluation.md's example, in the evaluator and as the document has them."""

from pathlib import Path

import numpy as np
import pytest
from known_shapes import pixels, rectangles

from cfrsam_d2.evaluation.image_scores import ImageScores, score_detection, score_segmentation
from cfrsam_d2.evaluation.nucleus_maps import ground_truth_maps, predicted_maps
from cfrsam_d2.evaluation.tables import summarize

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text()
SIZE = (10, 20)
CLASSES = ("neoplastic", "inflammatory")


@pytest.fixture
def example() -> ImageScores:
    """Two nuclei of 10 × 10 px side by side; the surer prediction reaches 6 px into the other."""
    gt_map = rectangles((0, 0, 10, 10), (0, 10, 10, 20), size=SIZE)
    gt = ground_truth_maps(pixels(gt_map), [0, 1], SIZE, num_classes=2)
    masks = [
        np.flatnonzero(rectangles((0, start, 10, stop), size=SIZE))
        for start, stop in ((0, 10), (4, 20))
    ]
    pred = predicted_maps(masks, np.array([0, 1]), np.array([0.6, 0.9]), SIZE, num_classes=2)
    confusion = score_detection(gt, pred, num_classes=2, magnification=40).confusion
    return ImageScores(1, "1.png", "Colon", confusion, score_segmentation(gt, pred))


def test_numbers_by_hand(example: ImageScores):
    # Alone, neoplastic is exact; inflammatory has IoU 100 / 160. In one map 4 of 10 columns of
    # neoplastic are left, IoU 0.4: a miss and a false positive.
    assert example.segmentation.class_pqs == pytest.approx([1, 0.625], abs=1e-5)
    assert example.segmentation.class_pqs_one_map == pytest.approx([0, 0.625], abs=1e-5)
    scores = summarize([example], CLASSES)
    assert scores["segmentation"]["mPQ"] == pytest.approx(0.8125, abs=1e-5)
    assert scores["segmentation"]["mPQ_one_map"] == pytest.approx(0.3125, abs=1e-5)
    assert scores["segmentation"]["bPQ"] == pytest.approx(0.3125, abs=1e-5)
    assert scores["tissue_mpq"]["Colon"] == scores["segmentation"]["mPQ"]
    assert scores["class_pq"] == pytest.approx({"neoplastic": 1, "inflammatory": 0.625}, abs=1e-5)


def test_the_document_has_these_numbers(example: ImageScores):
    scores, segmentation = summarize([example], CLASSES)["segmentation"], example.segmentation
    for name, (neoplastic, inflammatory) in (
        ("mPQ", segmentation.class_pqs),
        ("mPQ_one_map", segmentation.class_pqs_one_map),
    ):
        row = f"{neoplastic:.3f} | {inflammatory:.3f} | `{name}` = {scores[name]:.4f} |"
        assert row in TEXT
    assert f"bPQ is {scores['bPQ']:.4f}" in TEXT
