"""Nuclei whose matches and errors are known."""

import numpy as np
from analyzed_nuclei import analyzed
from report_runs import rectangle

from cfrsam_d2.apps.report.error_analysis import Place


def test_an_image_by_hand():
    large, small = rectangle(0, 0, 10, 10), rectangle(0, 20, 5, 25)
    analysis = analyzed(
        [[], [(large, 1), (small, 0)]],
        [
            [(small, 0, 0.5)],
            [(rectangle(0, 0, 10, 8), 0, 0.7), (rectangle(40, 40, 50, 50), 1, 0.6)],
        ],
    )
    # By centroid: the large nucleus is paired with one of class 0, the small one is missed.
    np.testing.assert_array_equal(analysis.confusions[0], [[0, 0, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(analysis.confusions[1], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    found = analysis.outlines
    assert found.gt_areas.tolist() == [100, 25]
    assert found.gt_classes.tolist() == [1, 0]
    assert found.gt_ious.tolist() == [0.8, 0]
    assert found.pred_areas.tolist() == [25, 80, 100]
    assert found.pred_matched.tolist() == [False, True, False]
    assert found.scores.tolist() == [0.5, 0.7, 0.6]
    assert found.ious.tolist() == [0, 0.8, 0]
    assert analysis.errors == {
        "missed": [Place(image=1, nucleus=1, category=0)],
        "false positive": [Place(0, 0, 0), Place(1, 1, 1)],
        "merged": [],
        "split": [],
    }


def test_the_actual_iou_is_that_of_the_whole_prediction():
    nucleus = rectangle(0, 0, 10, 10)
    # The surer prediction covers half of the other one in the map that is scored.
    analysis = analyzed([[(nucleus, 0)]], [[(nucleus, 0, 0.6), (rectangle(0, 0, 5, 10), 0, 0.9)]])
    assert analysis.outlines.ious.tolist() == [1, 0.5]
    assert analysis.outlines.pred_areas.tolist() == [50, 50]


def test_points_have_a_confusion_and_no_outlines():
    nucleus = rectangle(0, 0, 10, 10)
    analysis = analyzed([[(nucleus, 1)], []], [[(nucleus, 0, 0.6)], []], has_masks=False)
    assert analysis.outlines is None
    np.testing.assert_array_equal(
        analysis.confusions.sum(axis=0), [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    )


def test_errors_of_points_are_those_without_a_partner():
    near, far, other = (rectangle(top, 0, top + 10, 10) for top in (0, 20, 40))
    analysis = analyzed(
        [[(other, 0)], [(near, 0), (far, 1)]],
        [[], [(other, 1, 0.9), (near, 1, 0.6), (rectangle(0, 6, 10, 16), 0, 0.5)]],
        has_masks=False,
    )
    assert analysis.errors == {
        "missed": [Place(image=0, nucleus=0, category=0), Place(1, 1, 1)],
        "false positive": [Place(1, 0, 1), Place(1, 2, 0)],
    }
