"""Predictions in the pixels that the caller asks for, whatever size the model saw.

N nuclei, H×W px.
"""

from typing import Any

from detectron2.structures import Instances
from torch import Tensor


def rescale_to_input(instances: Instances, model_input: dict[str, Any]) -> Instances:
    """Move an image's nuclei to the size that its dict states, as Detectron2's models do.

    Args:
        instances: of the size that the model saw, with `pred_points` and perhaps `pred_masks`
            (`BoxMasks`) and their `pred_boxes`.
        model_input: "height" and "width" in px; without them the size stays.

    Returns:
        Instances of that size; themselves if they have it. Nuclei whose mask has no pixel left are
        dropped.
    """
    height, width = instances.image_size
    size = model_input.get("height", height), model_input.get("width", width)
    if size == (height, width):
        return instances
    rescaled = Instances(size, **instances.get_fields())
    rescaled.pred_points = rescale_points(instances.pred_points, (height, width), size)
    if not instances.has("pred_masks"):
        return rescaled
    rescaled.pred_masks = instances.pred_masks.rescaled(size)
    rescaled.pred_boxes = rescaled.pred_masks.get_bounding_boxes()
    return rescaled[rescaled.pred_masks.nonempty()]


def rescale_points(points: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Move (N, 2) points (x, y) with their image from one (height, width) to another.

    A point at a pixel's centre is a whole number, so the image's edges are at −0.5 and W − 0.5.
    """
    old = points.new_tensor(old_size[::-1])
    new = points.new_tensor(new_size[::-1])
    return ((points + 0.5) * (new / old) - 0.5).clamp(min=0).minimum(new - 1)
