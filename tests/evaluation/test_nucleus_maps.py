"""Label maps painted from masks: what lies on top, and what each class's map keeps."""

import numpy as np
import pytest
from known_shapes import pixels, rectangles

from cfrsam_d2.evaluation.image_scores import score_segmentation
from cfrsam_d2.evaluation.nucleus_maps import ground_truth_maps, pannuke_maps, predicted_maps

SIZE = (1, 8)


def row(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop)


def test_ground_truth_is_painted_by_class_and_stays_whole_in_its_class_map():
    # Listed first, class 1 still lies over class 0.
    nuclei = ground_truth_maps([row(2, 6), row(0, 4)], [1, 0], SIZE, num_classes=3)
    assert nuclei.label_map.tolist() == [[2, 2, 1, 1, 1, 1, 0, 0]]
    assert nuclei.class_maps[:, 0].tolist() == [
        [2, 2, 2, 2, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 1, 0, 0],
        [0] * 8,
    ]
    np.testing.assert_array_equal(nuclei.points, [[3.5, 0], [1.5, 0]])
    assert nuclei.classes.tolist() == [1, 0]


def test_prediction_is_painted_lowest_score_first_and_whole_in_its_class_map():
    nuclei = predicted_maps(
        [row(0, 4), row(2, 6)], np.array([1, 0]), np.array([0.9, 0.3]), SIZE, num_classes=2
    )
    assert nuclei.label_map.tolist() == [[1, 1, 1, 1, 2, 2, 0, 0]]
    assert nuclei.class_maps[:, 0].tolist() == [[0, 0, 2, 2, 2, 2, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]
    visible = [[0, 0, 0, 0, 2, 2, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]
    assert nuclei.visible_class_maps[:, 0].tolist() == visible
    # Centroids are those of whole masks.
    np.testing.assert_array_equal(nuclei.points, [[1.5, 0], [3.5, 0]])
    np.testing.assert_array_equal(nuclei.scores, [0.9, 0.3])


def test_nuclei_of_one_class_cover_each_other_in_its_map_too():
    nuclei = predicted_maps(
        [row(0, 4), row(2, 6)], np.array([1, 1]), np.array([0.9, 0.3]), SIZE, num_classes=2
    )
    assert nuclei.class_maps[1, 0].tolist() == [1, 1, 1, 1, 2, 2, 0, 0]
    np.testing.assert_array_equal(nuclei.visible_class_maps, nuclei.class_maps)


def test_a_mask_without_pixels_is_no_nucleus():
    nuclei = predicted_maps(
        [row(0, 0), row(2, 6)], np.array([1, 0]), np.array([0.9, 0.3]), SIZE, num_classes=2
    )
    assert (nuclei.classes.tolist(), nuclei.scores.tolist()) == ([0], [0.3])
    assert nuclei.visible_class_maps[0, 0].tolist() == [0, 0, 2, 2, 2, 2, 0, 0]
    np.testing.assert_array_equal(nuclei.points, [[3.5, 0]])


def test_images_without_nuclei():
    none = np.zeros(0, dtype=int)
    for nuclei in (
        ground_truth_maps([], [], SIZE, num_classes=2),
        predicted_maps([], none, none.astype(float), SIZE, num_classes=2),
        pannuke_maps(np.zeros((1, 8, 3))),
    ):
        assert nuclei.points.shape == (0, 2)
        assert nuclei.label_map.shape == SIZE
        assert nuclei.class_maps.shape == (2, *SIZE)
        assert not nuclei.class_maps.any()
        assert not nuclei.visible_class_maps.any()


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_pannuke_layout_reads_ids_by_channel_and_not_the_background(dtype: type):
    masks = np.zeros((4, 6, 3), dtype=dtype)
    masks[0, :4, 0] = 7
    masks[3, :, 0] = 300
    masks[0, 2:, 1] = 7  # the same id, another nucleus
    masks[..., 2] = 1
    nuclei = pannuke_maps(masks)
    assert nuclei.classes.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(nuclei.points, [[1.5, 0], [2.5, 3], [3.5, 0]])
    assert nuclei.label_map[0].tolist() == [1, 1, 3, 3, 3, 3]
    assert nuclei.class_maps[0, 0].tolist() == [1, 1, 1, 1, 0, 0]
    assert nuclei.class_maps[0, 3].tolist() == [2] * 6


def test_segmentation_scores_tell_class_and_outline_apart():
    gt_map = rectangles((0, 0, 4, 10), (10, 0, 14, 10))
    gt = ground_truth_maps(pixels(gt_map), [0, 1], gt_map.shape, num_classes=3)
    pred = predicted_maps(
        pixels(gt_map), np.array([0, 2]), np.array([0.5, 0.6]), gt_map.shape, num_classes=3
    )
    scores = score_segmentation(gt, pred)
    assert scores.bpq == pytest.approx(1, abs=1e-6)
    assert scores.aji == scores.aji_plus == 1
    # Class 1 is there and was not found; class 2 is not there: its false positive is free.
    np.testing.assert_allclose(scores.class_pqs, [1, 0, np.nan], atol=1e-6)
    assert scores.by_class[2].fp == 1
