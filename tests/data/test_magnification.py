import numpy as np
import pytest
from PIL import Image

from cfrsam_d2.data.magnification import (
    check_magnification,
    rescaled_size,
    resize_image,
    resize_mask,
)
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.masks import BoxMask


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
    mask = BoxMask(1, 2, np.ones((2, 2), dtype=bool))
    assert resize_image(image, (4, 5)) is image
    assert resize_mask(mask, (4, 5), (4, 5)) is mask


def resized(frame, size):
    """A mask of the whole image, resized in its box."""
    return resize_mask(BoxMask.of_frame(frame), frame.shape, size).frame(*size)


def test_a_pixel_becomes_four_and_one_again():
    mask = np.random.default_rng(0).random((9, 13)) < 0.5
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(resized(mask, (18, 26)), doubled)
    square = np.zeros((20, 20), dtype=bool)
    square[4:10, 6:12] = True
    np.testing.assert_array_equal(resized(square, (10, 10)), square[::2, ::2])


def test_a_mask_in_its_box_becomes_what_pil_makes_of_its_frame():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = rng.integers(1, 120, 2)
        frame = np.zeros((height, width), dtype=bool)
        y, x = rng.integers(height), rng.integers(width)
        part = frame[y : y + rng.integers(1, 40), x : x + rng.integers(1, 40)]
        part[:] = rng.random(part.shape) < rng.uniform(0.1, 1)
        new_size = tuple(int(side) for side in rng.integers(1, 240, 2))
        image = Image.fromarray(frame * np.uint8(255))
        covered = np.asarray(image.resize(new_size[::-1], Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(resized(frame, new_size), covered > 128)


def test_a_mask_costs_the_same_in_the_largest_image():
    mask = BoxMask(90_000, 70_000, np.ones((20, 30), dtype=bool))
    halved = resize_mask(mask, (100_000, 100_000), (50_000, 50_000))
    assert (halved.box, halved.area) == ((45_000, 35_000, 45_015, 35_010), 150)
    nothing = BoxMask(0, 0, np.zeros((0, 0), dtype=bool))
    assert resize_mask(nothing, (100_000, 100_000), (50_000, 50_000)).area == 0


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
        mask = resized(disc, size)
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
