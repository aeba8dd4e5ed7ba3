import numpy as np

from cfrsam_d2.data.keypoints import from_keypoints, to_keypoints


def test_points_come_back_in_their_order():
    points = np.array([[3.0, 4.0], [19.25, -0.25], [20.0, 1.0], [np.nan, np.nan], [0.0, 9.0]])
    keypoints = to_keypoints(points, height=10, width=20)
    assert keypoints.tolist() == [[3, 4, 0], [19, 0, 1], [0, 9, 4]]
    back = from_keypoints(keypoints[::-1], len(points))
    expected = [[3, 4], [19, 0], [np.nan] * 2, [np.nan] * 2, [0, 9]]
    np.testing.assert_array_equal(back, expected)


def test_without_points():
    assert to_keypoints(np.zeros((0, 2)), 10, 20).shape == (0, 3)
    assert from_keypoints(np.zeros((0, 2)), 0).shape == (0, 2)
    assert np.isnan(from_keypoints(np.zeros((0, 2)), 3)).all()
