import math

import numpy as np
import pytest

from cfrsam_d2.data.points import mask_point


def test_the_point_of_a_rectangle_is_its_centre():
    mask = np.zeros((20, 30), dtype=bool)
    mask[3:8, 10:16] = True
    assert mask_point(mask) == (12.5, 5.0)


def test_a_single_pixel_is_its_own_point():
    mask = np.zeros((9, 9), dtype=np.uint8)
    mask[5, 3] = 255
    assert mask_point(mask) == (3.0, 5.0)


def test_a_centroid_outside_gives_way_to_the_deepest_pixel():
    # A hook: a thin bracket with a 7×7 knob at its lower end, whose centre is deepest.
    mask = np.zeros((40, 40), dtype=bool)
    mask[2:35, 2:5] = mask[2:5, 2:30] = mask[32:35, 2:30] = True
    mask[30:37, 26:33] = True
    rows, columns = np.nonzero(mask)
    assert not mask[round(rows.mean()), round(columns.mean())]
    assert mask_point(mask) == (29.0, 33.0)


def test_the_image_border_counts_as_outside():
    # A ring around the image whose right side is 9 px thick, the others 3 px.
    mask = np.ones((41, 41), dtype=bool)
    mask[3:38, 3:32] = False
    x, _ = mask_point(mask)
    assert x == 36.0


@pytest.mark.parametrize("seed", range(20))
def test_points_lie_on_their_masks_however_halves_are_rounded(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        mask = rng.random((12, 12)) < rng.uniform(0.02, 0.5)
        mask[rng.integers(12), rng.integers(12)] = True
        x, y = mask_point(mask)
        assert mask[round(y), round(x)]
        assert mask[math.floor(y + 0.5), math.floor(x + 0.5)]
        assert mask[math.ceil(y - 0.5), math.ceil(x - 0.5)]


def test_the_point_moves_with_the_mask():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = np.zeros((12, 12), dtype=bool)
        mask[:8, :8] = rng.random((8, 8)) < 0.3
        mask[0, 0] = True
        x, y = mask_point(mask)
        moved_x, moved_y = mask_point(np.roll(mask, (1, 3), axis=(0, 1)))
        assert (moved_x - 3, moved_y - 1) == pytest.approx((x, y))


def test_an_empty_mask_has_no_point():
    with pytest.raises(ValueError, match="without pixels"):
        mask_point(np.zeros((4, 4), dtype=bool))
