"""Intervals of differences that are known."""

import numpy as np
import pytest

from cfrsam_d2.evaluation.bootstrap import (
    NUM_RESAMPLES,
    compare,
    interval,
    mean_over_images,
    mean_over_tissues,
    pooled_f1,
    resamples,
)


def of_one_tissue(num_images: int, seed: int = 0) -> np.ndarray:
    return resamples(["colon"] * num_images, seed)


def test_resamples_draw_as_many_images_as_there_are_and_always_the_same():
    weights = of_one_tissue(7)
    assert weights.shape == (NUM_RESAMPLES, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_array_equal(weights, of_one_tissue(7))
    assert (weights != of_one_tissue(7, seed=1)).any()


def test_each_tissue_is_drawn_as_often_as_it_has_images():
    tissues = ["colon", "skin", "colon", "liver", "skin", "colon"]
    weights = resamples(tissues)
    for tissue, count in (("colon", 3), ("skin", 2), ("liver", 1)):
        assert (weights[:, [each == tissue for each in tissues]].sum(axis=1) == count).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.06)


def test_an_interval_is_that_of_a_normal_mean_within_tissues():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0.2, 0.1, 200), rng.normal(0.8, 0.1, 200)])
    weights = resamples(["colon"] * 200 + ["skin"] * 200)
    value, low, high = interval(mean_over_images(scores), weights)
    assert value == pytest.approx(scores.mean())
    # The two tissues differ by far more than that: it plays no part.
    half = 1.96 * 0.1 / np.sqrt(400)
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.0015)


def test_a_constant_gain_is_certain_and_its_interval_a_point():
    first = np.random.default_rng(0).random(50)
    difference = compare(mean_over_images(first), mean_over_images(first + 0.1), of_one_tissue(50))
    assert difference.value == pytest.approx(0.1)
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
    assert difference.is_certain
    assert difference.first == pytest.approx(first.mean())


def test_the_interval_is_that_of_paired_normal_differences():
    rng = np.random.default_rng(0)
    first = rng.random(400)
    changes = rng.normal(0.02, 0.1, 400)
    difference = compare(
        mean_over_images(first), mean_over_images(first + changes), of_one_tissue(400)
    )
    # Of the changes alone: that images differ by far more than that plays no part.
    half = 1.96 * changes.std() / np.sqrt(400)
    assert difference.low == pytest.approx(changes.mean() - half, abs=0.001)
    assert difference.high == pytest.approx(changes.mean() + half, abs=0.001)
    assert difference.is_certain == (changes.mean() > half)


def test_changes_that_cancel_are_not_certain():
    changes = np.tile([0.1, -0.1], 20)
    difference = compare(
        mean_over_images(np.zeros(40)), mean_over_images(changes), of_one_tissue(40)
    )
    assert difference.low < 0 < difference.high
    assert not difference.is_certain


def test_statistics_by_hand():
    weights = np.array([[1, 1, 1, 1], [2, 0, 2, 0], [0, 0, 0, 4]])
    scores = np.array([0.2, 0.6, np.nan, np.nan])
    np.testing.assert_allclose(mean_over_images(scores)(weights), [0.4, 0.2, np.nan])
    scores = np.array([0.2, 0.4, 1.0, np.nan])
    # One tissue of three images, one of one; in the last resample nothing is defined.
    by_tissue = mean_over_tissues(scores, ["a", "a", "b", "a"])
    np.testing.assert_allclose(by_tissue(weights), [(0.3 + 1) / 2, (0.2 + 1) / 2, np.nan])


def test_f1_is_pooled_over_the_images_that_were_drawn():
    confusions = np.array(
        [
            [[3, 1, 0], [0, 0, 0], [2, 0, 0]],  # four pairs, two false positives
            [[0, 0, 4], [0, 0, 0], [0, 0, 0]],  # four missed
        ]
    )
    weights = np.array([[1, 1], [2, 0], [0, 2]])
    np.testing.assert_allclose(pooled_f1(confusions)(weights), [8 / 14, 8 / 10, 0])
    nothing = np.zeros((1, 3, 3), dtype=int)
    assert np.isnan(pooled_f1(nothing)(np.ones((1, 1)))).all()


def test_a_score_that_is_never_defined_has_no_interval():
    nan = mean_over_images(np.full(3, np.nan))
    difference = compare(nan, nan, of_one_tissue(3))
    assert np.isnan([difference.value, difference.low, difference.high]).all()
    assert not difference.is_certain
