"""Features of shapes whose answers are known, and skimage's for any."""

import numpy as np
import pytest

pytest.importorskip("shapely", reason="shapely is missing: pip install 'cfrsam_d2[slides]'")
pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
from skimage.color import rgb2hed
from skimage.measure import perimeter_crofton, regionprops
from skimage.morphology import convex_hull_image
from slide_nuclei import ellipse, l_with_a_hole

from cfrsam_d2.slides.features import hematoxylin, morphology
from cfrsam_d2.structures.masks import BoxMask, BoxMasks

SIZE = (400, 500)


def disc(radius: float) -> BoxMask:
    y, x = np.mgrid[-60:61, -60:61]
    return BoxMask.of_frame(x**2 + y**2 <= radius**2, 100, 150)


def rectangle(height: int, width: int) -> BoxMask:
    return BoxMask(7, 9, np.ones((height, width), dtype=bool))


def measured(*masks: BoxMask, mpp: float = 1.0) -> dict[str, np.ndarray]:
    return morphology(BoxMasks.from_box_masks(masks, SIZE), mpp)


def random_masks() -> list[BoxMask]:
    rng = np.random.default_rng(0)
    noise = [BoxMask.of_frame(rng.random((9, 14)) < share, 5, 6) for share in (0.1, 0.5, 0.9)]
    ellipses = [ellipse(100, 90, tuple(rng.integers(3, 30, 2).tolist()), 11 * i) for i in range(20)]
    lines = [rectangle(1, 17), rectangle(12, 1), rectangle(1, 1)]
    slanted = BoxMask(3, 3, np.eye(9, dtype=bool))
    return [*noise, *ellipses, *lines, slanted, l_with_a_hole(20, 30)]


def test_a_disc() -> None:
    values = measured(disc(40), mpp=0.25)
    assert values["area_um2"] == pytest.approx(np.pi * 10**2, rel=0.002)
    assert values["perimeter_um"] == pytest.approx(2 * np.pi * 10, rel=0.01)
    assert values["major_axis_um"] == pytest.approx(20, rel=0.002)
    assert values["minor_axis_um"] == pytest.approx(20, rel=0.002)
    assert values["eccentricity"] == pytest.approx(0, abs=1e-6)
    assert values["solidity"] == 1


def test_squares_and_rectangles() -> None:
    values = measured(rectangle(20, 20), rectangle(10, 40), mpp=0.5)
    np.testing.assert_array_equal(values["area_um2"], [100, 100])
    np.testing.assert_array_equal(values["solidity"], [1, 1])
    # The variance of n px in a row is (n² − 1) / 12.
    axes = 4 * np.sqrt((np.array([20, 40, 10]) ** 2 - 1) / 12) * 0.5
    np.testing.assert_allclose(values["major_axis_um"], axes[[0, 1]])
    np.testing.assert_allclose(values["minor_axis_um"], axes[[0, 2]])
    np.testing.assert_allclose(values["perimeter_um"], [40, 50], rtol=0.08)


def test_an_ellipse() -> None:
    y, x = np.mgrid[-60:61, -60:61]
    values = measured(BoxMask.of_frame((x / 50) ** 2 + (y / 30) ** 2 <= 1))
    assert values["major_axis_um"] == pytest.approx(100, rel=0.005)
    assert values["minor_axis_um"] == pytest.approx(60, rel=0.005)
    assert values["eccentricity"] == pytest.approx(0.8, abs=0.005)
    assert values["solidity"] == pytest.approx(1, abs=0.005)


def test_an_l_with_a_hole() -> None:
    values = measured(l_with_a_hole(5, 5))
    assert values["area_um2"] == 560
    # Beyond the hull's slanted side, which runs from arm to arm, 1 + 2 + … + 18 px are missing.
    assert values["solidity"] == pytest.approx(560 / (900 - 18 * 19 / 2))


def test_any_mask_as_skimage_measures_it() -> None:
    masks = random_masks()
    values = measured(*masks)
    for number, mask in enumerate(masks):
        (region,) = regionprops(mask.pixels.astype(np.uint8))
        each = {name: value[number] for name, value in values.items()}
        assert each["area_um2"] == region.area
        assert each["major_axis_um"] == pytest.approx(region.axis_major_length)
        assert each["minor_axis_um"] == pytest.approx(region.axis_minor_length, abs=1e-6)
        assert each["eccentricity"] == pytest.approx(region.eccentricity, abs=1e-6)
        assert each["perimeter_um"] == pytest.approx(perimeter_crofton(mask.pixels, 4))
        if min(mask.pixels.shape) > 1 and region.area > 9:  # skimage finds no hull of a line
            hull = convex_hull_image(mask.pixels, offset_coordinates=False)
            assert each["solidity"] == pytest.approx(region.area / hull.sum())
            assert each["solidity"] == pytest.approx(region.solidity, abs=0.1)
        else:
            assert each["solidity"] == 1


def test_hematoxylin_is_of_the_nucleus_alone() -> None:
    image = np.random.default_rng(0).integers(30, 255, (*SIZE, 3), dtype=np.uint8)
    masks = random_masks()
    mean, deviation = hematoxylin(image, BoxMasks.from_box_masks(masks, SIZE))
    stain = rgb2hed(image)[..., 0]
    inside = [stain[mask.frame(*SIZE)] for mask in masks]
    np.testing.assert_allclose(mean, [each.mean() for each in inside], rtol=1e-5)
    np.testing.assert_allclose(deviation, [each.std() for each in inside], rtol=1e-4, atol=1e-7)
    assert mean.dtype == deviation.dtype == np.float32


def test_no_nuclei() -> None:
    none = BoxMasks.empty(SIZE)
    assert all(value.shape == (0,) for value in morphology(none, 1.0).values())
    for value in hematoxylin(np.zeros((*SIZE, 3), np.uint8), none):
        assert value.shape == (0,)
