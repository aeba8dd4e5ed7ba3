import math

import numpy as np
import pytest

from cfrsam_d2.data.points import mask_point, piece_at
from cfrsam_d2.structures.masks import BoxMask


def point_of(frame):
    return mask_point(BoxMask.of_frame(frame))


def test_the_point_of_a_rectangle_is_its_centre():
    assert mask_point(BoxMask(10, 3, np.ones((5, 6), dtype=bool))) == (12.5, 5.0)


def test_a_single_pixel_is_its_own_point():
    pixels = np.zeros((9, 9), dtype=bool)
    pixels[5, 3] = True
    assert mask_point(BoxMask(100_000, 0, pixels)) == (100_003.0, 5.0)


def test_a_centroid_outside_gives_way_to_the_deepest_pixel():
    # A hook: a thin bracket with a 7×7 knob at its lower end, whose centre is deepest.
    mask = np.zeros((40, 40), dtype=bool)
    mask[2:35, 2:5] = mask[2:5, 2:30] = mask[32:35, 2:30] = True
    mask[30:37, 26:33] = True
    rows, columns = np.nonzero(mask)
    assert not mask[round(rows.mean()), round(columns.mean())]
    assert point_of(mask) == (29.0, 33.0)


def test_the_image_border_counts_as_outside():
    # A ring around the image whose right side is 9 px thick, the others 3 px.
    mask = np.ones((41, 41), dtype=bool)
    mask[3:38, 3:32] = False
    x, _ = point_of(mask)
    assert x == 36.0


def test_points_lie_on_their_masks_however_halves_are_rounded():
    rng = np.random.default_rng(0)
    for _ in range(400):
        mask = rng.random((12, 12)) < rng.uniform(0.02, 0.5)
        mask[rng.integers(12), rng.integers(12)] = True
        x, y = point_of(mask)
        assert mask[round(y), round(x)]
        assert mask[math.floor(y + 0.5), math.floor(x + 0.5)]
        assert mask[math.ceil(y - 0.5), math.ceil(x - 0.5)]


def test_the_point_moves_with_the_mask_and_does_not_depend_on_its_box():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pixels = np.zeros((12, 12), dtype=bool)
        pixels[:8, :8] = rng.random((8, 8)) < 0.3
        pixels[0, 0] = True
        x, y = point_of(pixels)
        assert mask_point(BoxMask(0, 0, pixels)) == (x, y)
        moved_x, moved_y = mask_point(BoxMask(3000, 1000, pixels))
        assert (moved_x - 3000, moved_y - 1000) == pytest.approx((x, y))


def test_an_empty_mask_has_no_point():
    with pytest.raises(ValueError, match="without pixels"):
        mask_point(BoxMask(0, 0, np.zeros((4, 4), dtype=bool)))


def test_the_piece_that_a_point_lies_on():
    mask = BoxMask(10, 20, np.array([[1, 1, 0, 0, 1], [1, 1, 0, 0, 1]], dtype=bool))
    for point, box in [
        ((11.4, 20.4), (10, 20, 12, 22)),
        ((13.6, 19.6), (14, 20, 15, 22)),
        ((13.4, 20), mask.box),  # between them
        ((8, 20), mask.box),
        ((11, 25), mask.box),
        ((np.nan, np.nan), mask.box),
    ]:
        assert piece_at(mask, np.array(point)).box == box
    diagonal = BoxMask(0, 0, np.eye(3, dtype=bool))  # pieces that touch at a corner are one
    assert piece_at(diagonal, np.array([2.0, 2.0])).box == diagonal.box
