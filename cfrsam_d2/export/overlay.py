"""The nuclei of an image drawn onto it, with a legend of their classes."""

from collections import Counter

import numpy as np

from ..files import png_bytes
from ..visualization.drawing import draw_instances, upscaling_factor
from ..visualization.layout import LegendItem, side_by_side
from .nuclei import Prediction


def draw_overlay(prediction: Prediction) -> np.ndarray:
    """Draw contours by class, or points where no masks are predicted.

    Args:
        prediction: of one image.

    Returns:
        (height, width, 3) uint8 RGB, larger than a small image.
    """
    height, width = prediction.image.shape[:2]
    nuclei = prediction.nuclei
    classes = [nucleus.category for nucleus in nuclei]
    has_masks = any(nucleus.mask is not None for nucleus in nuclei)
    masks = (nucleus.full_mask(height, width) for nucleus in nuclei) if has_masks else None
    points = None if has_masks else np.array([nucleus.centroid for nucleus in nuclei])
    scale = upscaling_factor(height, width)
    drawn = draw_instances(prediction.image, masks, classes, points, prediction.colors, scale)
    counts = Counter(classes)
    legend = [
        LegendItem(tuple(color), f"{name} {counts[index]}")
        for index, (name, color) in enumerate(
            zip(prediction.classes, prediction.colors, strict=True)
        )
    ]
    return side_by_side([drawn], ["prediction"], legend, prediction.file_name)


def overlay_png(prediction: Prediction) -> bytes:
    """The overlay as a PNG file."""
    return png_bytes(draw_overlay(prediction))
