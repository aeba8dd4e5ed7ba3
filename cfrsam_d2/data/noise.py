"""Gaussian noise as albumentations 1 drew it, by its variance.

albumentations 2 draws the deviation evenly, which makes weaker noise.
"""

from typing import Any

import albumentations as A
import numpy as np


class Noise(A.ImageOnlyTransform):
    """Adds Gaussian noise to every value of an image."""

    def __init__(self, *, max_variance: float, p: float) -> None:
        """
        Args:
            max_variance: in gray levels²; an image's is drawn between 0 and this.
            p: probability of the step.
        """
        super().__init__(p=p)
        self.max_variance = max_variance

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        deviation = self.random_generator.uniform(0, self.max_variance) ** 0.5
        noise = self.random_generator.standard_normal(params["shape"], dtype=np.float32)
        return {"noise": deviation * noise}

    def apply(self, img: np.ndarray, noise: np.ndarray, **params: Any) -> np.ndarray:
        """
        Args:
            img: (H, W, 3) uint8.
            noise: (H, W, 3).
            params: of albumentations, not used.
        """
        return np.rint(img + noise).clip(0, 255).astype(np.uint8)
