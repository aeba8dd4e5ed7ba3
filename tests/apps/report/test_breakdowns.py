"""Tables of nuclei whose sizes, scores and errors are known."""

import numpy as np
import pytest
from analyzed_nuclei import analyzed
from report_runs import CLASSES, NUM_IMAGES, gt_nuclei, poor, rectangle

from cfrsam_d2.apps.report.breakdowns import (
    calibration_error,
    calibration_table,
    density_table,
    error_table,
    point_error_table,
    size_table,
)
from cfrsam_d2.apps.report.error_analysis import Outlines

PQ_EPSILON = 1e-6


def outlines(**arrays) -> Outlines:
    empty = {name: np.zeros(0) for name in Outlines.__dataclass_fields__}
    return Outlines(**{**empty, **arrays})


def test_quality_by_size_by_hand():
    table = size_table(
        outlines(
            gt_areas=np.array([10] * 5 + [100] * 5),
            gt_ious=np.array([0, 0, 0.6, 0.6, 0.9, 1, 1, 1, 1, 0]),
            pred_areas=np.array([9, 9, 9, 20, 95, 95, 95, 95, 500]),
            pred_matched=np.array([True] * 3 + [False] + [True] * 4 + [False]),
        )
    )
    assert [row["area"] for row in table] == [10, 100]
    assert [row["nuclei"] for row in table] == [5, 5]
    assert [row["found"] for row in table] == [3 / 5, 4 / 5]
    assert [row["IoU"] for row in table] == pytest.approx([0.7, 1], abs=PQ_EPSILON)
    # A false positive of 20 px counts among the small ones, one of 500 px among the large.
    assert [row["PQ"] for row in table] == pytest.approx([2.1 / 4.5, 4 / 5], abs=1e-5)


def test_sizes_of_few_nuclei_are_one_bin_and_of_none_no_bin():
    areas = np.array([5, 50, 500])
    (row,) = size_table(
        outlines(gt_areas=areas, gt_ious=np.zeros(3), pred_matched=np.zeros(0, bool))
    )
    assert (row["area"], row["found"], row["PQ"]) == (50, 0, 0)
    assert np.isnan(row["IoU"])
    assert size_table(outlines(pred_areas=np.ones(3), pred_matched=np.zeros(3, bool))) == []


def test_scores_by_density_leave_out_images_without_score():
    densities = np.arange(10.0)
    scores = np.array([0.2] * 5 + [0.4] * 4 + [np.nan])
    (row,) = density_table(densities, scores)
    assert row == {"density": 4, "images": 9, "score": pytest.approx((1 + 1.6) / 9)}
    low, high = density_table(np.append(densities, 10.0), np.append(scores, 0.4))
    assert (low["images"], high["images"]) == (5, 5)
    assert (low["score"], high["score"]) == pytest.approx((0.2, 0.4))


def test_calibration_bins():
    scores = np.array([0.05, 0.72, 0.78, 1.0, 1.2])
    ious = np.array([0.0, 0.5, 0.7, 0.9, 0.8])
    rows = calibration_table(scores, ious)
    assert [(row["from"], row["to"], row["nuclei"]) for row in rows] == [
        (0, 0.1, 1),
        (0.7, 0.8, 2),
        (0.9, 1, 2),
    ]
    assert [row["predicted"] for row in rows] == pytest.approx([0.05, 0.75, 1])
    assert [row["actual"] for row in rows] == pytest.approx([0, 0.6, 0.85])
    assert calibration_error(rows) == pytest.approx((0.05 + 2 * 0.15 + 2 * 0.15) / 5)
    assert calibration_table(np.zeros(0), np.zeros(0)) == []
    assert np.isnan(calibration_error([]))


def test_errors_by_class_add_up():
    images = [gt_nuclei(index) for index in range(NUM_IMAGES)]
    analysis = analyzed(images, [[(*each, 0.5) for each in poor(i)] for i in range(NUM_IMAGES)])
    everything, *of_classes = error_table(analysis, CLASSES)
    assert [row["class"] for row in of_classes] == CLASSES
    for column in ("nuclei", "matched", "missed", "split", "predicted", "false positive", "merged"):
        assert everything[column] == sum(row[column] for row in of_classes), column
    # Each of eight images has its first nucleus found; every image has a false positive.
    assert everything["nuclei"] == 20
    assert (everything["matched"], everything["missed"]) == (8, 12)
    assert of_classes[0]["matched"] == 8
    assert (everything["predicted"], everything["false positive"]) == (17, 9)
    assert of_classes[1]["false positive"] == 9


def test_points_without_a_partner_count_for_their_class():
    near, far, other = (rectangle(top, 0, top + 10, 10) for top in (0, 20, 40))
    analysis = analyzed(
        [[(other, 0)], [(near, 0), (far, 1)]],
        [[], [(other, 1, 0.9), (near, 1, 0.6), (rectangle(0, 6, 10, 16), 0, 0.5)]],
        has_masks=False,
    )
    columns = ("nuclei", "found", "missed", "predicted", "false positive")
    rows = point_error_table(analysis, ["a", "b"])
    assert [row["class"] for row in rows] == ["all", "a", "b"]
    assert [[row[column] for column in columns] for row in rows] == [
        [3, 1, 2, 3, 2],
        [2, 1, 1, 1, 1],
        [1, 0, 1, 2, 1],
    ]
