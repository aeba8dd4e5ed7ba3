"""Some super-pixels of an image painted in their mean colour, as in CellViT's augmentation.

albumentations 1 did this with scikit-image's SLIC; that of albumentations 2 is NumPy's and takes a
hundred times as long, most of the time of the whole augmentation.
"""

from typing import Any

import albumentations as A
import cv2
import numpy as np
from skimage.segmentation import slic


class Superpixels(A.ImageOnlyTransform):
    """Replaces a share of the super-pixels."""

    def __init__(self, *, share: float, num_segments: int, max_size: int, p: float) -> None:
        """
        Args:
            share: of the super-pixels, drawn each by itself.
            num_segments: super-pixels per image, about.
            max_size: px; a longer image is painted at this size and enlarged again.
            p: probability of the step.
        """
        super().__init__(p=p)
        self.share = share
        self.num_segments = num_segments
        self.max_size = max_size

    def get_params(self) -> dict[str, Any]:
        return {"replaced": self.random_generator.random(self.num_segments) < self.share}

    def apply(self, img: np.ndarray, replaced: np.ndarray, **params: Any) -> np.ndarray:
        """
        Args:
            img: (H, W, 3) uint8.
            replaced: whether each super-pixel is, (num_segments,) bool.
            params: of albumentations, not used.
        """
        if not replaced.any():
            return img
        height, width = img.shape[:2]
        scale = min(1.0, self.max_size / max(height, width))
        small = cv2.resize(img, (max(int(width * scale), 1), max(int(height * scale), 1)))
        segments = slic(small, n_segments=self.num_segments, compactness=10, start_label=0)
        painted = paint_means(small, segments, replaced[segments % len(replaced)])
        return cv2.resize(painted, (width, height))


def paint_means(image: np.ndarray, segments: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Paint pixels in the mean colour of their segment.

    Args:
        image: (H, W, C) uint8.
        segments: (H, W) labels from 0 on.
        where: (H, W) bool, the pixels to paint.

    Returns:
        A copy of the image.
    """
    labels = segments.ravel()
    sums = [np.bincount(labels, channel.ravel()) for channel in np.moveaxis(image, -1, 0)]
    means = np.rint(np.stack(sums, axis=-1) / np.bincount(labels).clip(1)[:, None])
    return np.where(where[..., None], means.astype(np.uint8)[segments], image)
