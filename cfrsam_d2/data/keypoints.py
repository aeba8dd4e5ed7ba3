"""Points as albumentations moves them: with the image, and dropped by the step that loses them.

P points (x, y) in pixel-index units, K of them in the image.
"""

import numpy as np


def to_keypoints(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Number points for their way through an augmentation.

    Args:
        points: (P, 2); those outside the image, or NaN, are left out.
        height: of the image in px.
        width: of the image in px.

    Returns:
        (K, 3) float32: x, y and the number of the point. albumentations keeps what follows x and y.
    """
    size = np.array([width, height])
    inside = ((points > -0.5) & (points < size - 0.5)).all(axis=1)
    keypoints = np.column_stack([points.clip(0, size - 1), np.arange(len(points))])
    return keypoints[inside].astype(np.float32)


def from_keypoints(keypoints: np.ndarray, count: int) -> np.ndarray:
    """Order points as they were before the augmentation.

    Args:
        keypoints: what has come through of `to_keypoints`'.
        count: P.

    Returns:
        (P, 2) float32; NaN for points that have left the image.
    """
    keypoints = keypoints.reshape(-1, 3)  # without any, albumentations forgets their columns
    points = np.full((count, 2), np.nan, dtype=np.float32)
    points[keypoints[:, 2].astype(int)] = keypoints[:, :2]
    return points
