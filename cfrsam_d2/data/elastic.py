"""The elastic step of CellViT's augmentation: next to nothing of it is elastic, it tilts the image.

albumentations 1 moved three corners of a square before it deformed the image (`alpha_affine`);
albumentations 2 no longer does.
"""

from typing import Any

import albumentations as A
import cv2
import numpy as np


class Elastic(A.ElasticTransform):
    """An affine step that moves three corners at random, with a slight deformation after it.

    The corners are those of a square of two thirds of the image's shorter side, in its middle.
    """

    def __init__(self, *, corner_shift: float, sigma: float, alpha: float, p: float) -> None:
        """
        Args:
            corner_shift: px that a corner moves at most, in x and in y.
            sigma, alpha: of albumentations' deformation.
            p: probability of the step.
        """
        super().__init__(sigma=sigma, alpha=alpha, border_mode=cv2.BORDER_REFLECT_101, p=p)
        self.corner_shift = corner_shift

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        deformed = super().get_params_dependent_on_data(params, data)
        matrix = self._draw_matrix(*params["shape"][:2])
        (a, b, c), (d, e, f) = cv2.invertAffineTransform(matrix).astype(np.float32)
        x, y = deformed["map_x"], deformed["map_y"]  # where each pixel comes from
        return {"map_x": a * x + b * y + c, "map_y": d * x + e * y + f, "matrix": matrix}

    def _draw_matrix(self, height: int, width: int) -> np.ndarray:
        """Where the affine step moves a point x, y, 1: (2, 3)."""
        reach = min(height, width) // 3
        middle = np.array([width // 2, height // 2])
        corners = middle + reach * np.array([[1, 1], [1, -1], [-1, -1]])
        shifts = self.corner_shift * self.random_generator.uniform(-1, 1, (3, 2))
        moved = (corners + shifts).astype(np.float32)
        return cv2.getAffineTransform(corners.astype(np.float32), moved)

    def apply_to_keypoints(
        self, keypoints: np.ndarray, matrix: np.ndarray, **params: Any
    ) -> np.ndarray:
        """Move points by the affine step; the deformation, below 0.1 px, leaves them.

        Args:
            keypoints: x, y and what else albumentations keeps of each, (K, 2 + n).
            matrix: of the affine step, (2, 3).
            params: of albumentations, not used.
        """
        moved = keypoints.copy()
        moved[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return moved
