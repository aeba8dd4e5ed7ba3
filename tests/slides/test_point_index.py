"""Which points of a slide lie in a box."""

import numpy as np

from cfrsam_d2.slides.lattice import Box
from cfrsam_d2.slides.points import PointIndex


def test_a_point_between_two_pixels_lies_in_one_of_two_boxes_that_meet():
    """Windows are read where their core has a point: none may fall between two cores."""
    for x in (63.0, 63.5, 63.999, 64.0, 64.5):
        index = PointIndex(np.array([[x, 10.25]]), 32)
        assert index.has(Box(0, 0, 64, 20)) == (x < 64)
        assert index.has(Box(64, 0, 128, 20)) == (x >= 64)
        assert not index.has(Box(0, 11, 128, 20))
        assert index.has(Box(0, 10, 128, 11))


def test_no_points_lie_nowhere():
    index = PointIndex(np.zeros((0, 2)), 32)
    assert not index.has(Box(0, 0, 1000, 1000))
    assert index.inside(Box(0, 0, 1000, 1000)).tolist() == []
