"""The nuclei of an image drawn onto it, with a legend of their classes."""

from collections import Counter

import numpy as np

from ..files import png_bytes
from ..visualization.drawing import draw_instances, upscaling_factor
from ..visualization.layout import LegendItem, side_by_side
from .prediction import Prediction


def draw_overlay(prediction: Prediction) -> np.ndarray:
    """Draw contours by class, or points where no masks are predicted.

    Args:
        prediction: of one image.

    Returns:
        (height, width, 3) uint8 RGB, larger than a small image.
    """
    image, instances = prediction.image, prediction.instances
    masks = instances.pred_masks if prediction.has_masks else None
    points = None if prediction.has_masks else instances.pred_points.numpy()
    classes = instances.pred_classes.tolist()
    scale = upscaling_factor(*image.shape[:2])
    drawn = draw_instances(image, masks, classes, points, prediction.colors, scale)
    counts = Counter(classes)
    legend = [
        LegendItem(color, f"{name} {counts[index]}")
        for index, (name, color) in enumerate(
            zip(prediction.classes, prediction.colors, strict=True)
        )
    ]
    return side_by_side([drawn], ["prediction"], legend, prediction.file_name)


def overlay_png(prediction: Prediction) -> bytes:
    """The overlay as a PNG file."""
    return png_bytes(draw_overlay(prediction))
