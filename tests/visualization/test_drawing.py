"""Contours and points lie where the nuclei are, in the colour of their class."""

import numpy as np
import pytest

from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.visualization.drawing import draw_instances, mask_outlines, upscaling_factor

RED, BLUE = (255, 0, 0), (0, 0, 255)


def square(top: int, left: int, size: int) -> BoxMask:
    return BoxMask(left, top, np.ones((size, size), dtype=bool))


def has_color(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == color).all(axis=2)


def test_contours_follow_the_masks_in_the_colour_of_the_class():
    image = np.full((40, 40, 3), 200, dtype=np.uint8)
    masks = [square(5, 5, 10), square(20, 22, 12)]
    picture = draw_instances(image, masks, [1, 0], None, [RED, BLUE], scale=4)
    assert picture.shape == (160, 160, 3)
    assert (image == 200).all()
    for color, mask in ((BLUE, masks[0]), (RED, masks[1])):
        rows, columns = np.nonzero(has_color(picture, color))
        x0, y0, x1, y1 = mask.box
        for drawn, start, end in ((rows, y0, y1), (columns, x0, x1)):
            assert drawn.min() == pytest.approx(4 * start, abs=3)
            assert drawn.max() == pytest.approx(4 * end - 1, abs=3)
    centre = picture[4 * 10, 4 * 10]  # of the first nucleus: nothing is filled
    assert (centre == 200).all()


def test_points_are_at_pixel_centres():
    image = np.full((20, 20, 3), 200, dtype=np.uint8)
    points = np.array([[3.0, 12.0]])
    picture = draw_instances(image, None, [0], points, [RED], scale=5)
    rows, columns = np.nonzero(has_color(picture, RED))
    assert (rows.mean(), columns.mean()) == pytest.approx((5 * 12 + 2, 5 * 3 + 2), abs=0.5)


def test_nothing_to_draw_leaves_the_image():
    image = np.full((8, 8, 3), 7, dtype=np.uint8)
    picture = draw_instances(image, [], [], np.empty((0, 2)), [RED], scale=2)
    assert (picture == 7).all()
    assert mask_outlines(BoxMask(0, 0, np.zeros((0, 0), dtype=bool)), 2) == []


def test_a_mask_with_a_hole_has_two_outlines():
    mask = square(5, 5, 20)
    mask.pixels[7:13, 7:13] = False
    assert len(mask_outlines(mask, 3)) == 2


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(128, 128, 8), (256, 200, 4), (4000, 9, 1)]
)
def test_large_images_are_enlarged_less(height: int, width: int, factor: int):
    assert upscaling_factor(height, width) == factor
