"""Other stains and scanners: the hematoxylin and eosin of an image, scaled and shifted.

After Tellez et al. (2018), with scikit-image's stain vectors. The logarithms of RGB are sums of
stains, so that taking them apart, changing them and adding them up is one 3×3 matrix; what is
neither of both stains stays as it is.
"""

from typing import Any

import albumentations as A
import numpy as np
from skimage.color import hed_from_rgb, rgb_from_hed

# Of each value 0..255; that of white is 0.
_DENSITY = np.log(np.arange(1, 257) / 256).astype(np.float32)


class Stains(A.ImageOnlyTransform):
    """Changes hematoxylin and eosin: c becomes α·c + β·(h + e), for each its own α and β.

    The shift grows with the pixel's stain: what is not stained stays white.
    """

    def __init__(self, *, strength: float, p: float) -> None:
        """
        Args:
            strength: α is drawn evenly between 1 ∓ this, β between ∓ this.
            p: probability of the step.
        """
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict[str, Any]:
        low, high = -self.strength, self.strength
        scales, shifts = self.random_generator.uniform(low, high, size=(2, 2))
        stains = np.eye(3)
        stains[[0, 1], [0, 1]] += scales
        stains[:2, :2] += shifts  # its columns are the new stains
        return {"matrix": (hed_from_rgb @ stains @ rgb_from_hed).astype(np.float32)}

    def apply(self, img: np.ndarray, matrix: np.ndarray, **params: Any) -> np.ndarray:
        """
        Args:
            img: (H, W, 3) uint8.
            matrix: (3, 3), of old logarithms to new ones.
            params: of albumentations, not used.
        """
        values = 256 * np.exp(_DENSITY[img] @ matrix) - 1
        return np.rint(values).clip(0, 255).astype(np.uint8)
