import numpy as np
import pytest

from cfrsam_d2.data.magnification import (
    check_magnification,
    rescaled_size,
    resize_image,
    resize_mask,
)
from cfrsam_d2.errors import UserError


@pytest.mark.parametrize("value", [0, 0.25, -40, "40x", None, float("nan"), float("inf")])
def test_what_is_no_magnification_is_refused(value):
    with pytest.raises(UserError, match=r"of a\.png is .*: give the objective's, such as 40 or 20"):
        check_magnification("of a.png", value)


def test_sizes():
    check_magnification("of a.png", 20.04)
    assert rescaled_size((30, 51), 20, 0) == (30, 51)
    assert rescaled_size((30, 51), 40, 40) == (30, 51)
    assert rescaled_size((30, 51), 20, 40) == (60, 102)
    assert rescaled_size((30, 51), 40, 20) == (15, 26)
    assert rescaled_size((1, 500), 40, 1) == (1, 12)
    with pytest.raises(UserError, match=r"^wanted is -20: give the objective's"):
        rescaled_size((30, 51), 20, -20)


def test_what_has_the_wanted_size_stays_itself():
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    mask = np.zeros((4, 5), dtype=bool)
    assert resize_image(image, (4, 5)) is image
    assert resize_mask(mask, (4, 5)) is mask


def test_a_pixel_becomes_four_and_one_again():
    mask = np.random.default_rng(0).random((9, 13)) < 0.5
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(resize_mask(mask, (18, 26)), doubled)
    square = np.zeros((20, 20), dtype=bool)
    square[4:10, 6:12] = True
    np.testing.assert_array_equal(resize_mask(square, (10, 10)), square[::2, ::2])


def centroid(weights):
    axes = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return (axes * weights.astype(float)).sum(axis=(1, 2)) / weights.sum()


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.7, 1.7, 2])
def test_images_and_masks_are_not_shifted_and_keep_their_area(factor):
    rng = np.random.default_rng(0)
    shifts, areas = [], []
    for y, x in rng.uniform(50, 90, (40, 2)):
        disc = np.hypot(*(np.mgrid[:140, :141] - np.array([[[y]], [[x]]]))) < 30
        size = rescaled_size(disc.shape, 40, 40 * factor)
        mask = resize_mask(disc, size)
        image = resize_image(np.repeat(disc[..., None] * np.uint8(200), 3, axis=2), size)
        assert image.shape == (*size, 3)
        assert (image.dtype, mask.dtype) == (np.uint8, bool)
        center = (centroid(disc) + 0.5) * np.array(size) / disc.shape - 0.5
        np.testing.assert_allclose(centroid(image[..., 0]), center, atol=0.02)
        shifts.append(centroid(mask) - center)
        areas.append(mask.sum() / (disc.sum() * factor**2))
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0, atol=0.03)
    assert np.abs(shifts).max() < 0.2
    assert np.mean(areas) == pytest.approx(1, abs=0.02)
