"""Predictions in the pixels that the caller asks for, whatever size the model saw.

N nuclei, H×W px.
"""

from typing import Any

import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from torch import Tensor

from .boxes import mask_boxes


def rescale_to_input(instances: Instances, model_input: dict[str, Any]) -> Instances:
    """Move an image's nuclei to the size that its dict states, as Detectron2's models do.

    Args:
        instances: of the size that the model saw, with `pred_points` and perhaps `pred_masks`
            (N, H, W), whose tight boxes are `pred_boxes`.
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
    rescaled.pred_masks = rescale_masks(instances.pred_masks, size)
    rescaled = rescaled[rescaled.pred_masks.flatten(1).any(dim=1)]
    rescaled.pred_boxes = Boxes(mask_boxes(rescaled.pred_masks).float())
    return rescaled


def rescale_points(points: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Move (N, 2) points (x, y) with their image from one (height, width) to another.

    A point at a pixel's centre is a whole number, so the image's edges are at −0.5 and W − 0.5.
    """
    old = points.new_tensor(old_size[::-1])
    new = points.new_tensor(new_size[::-1])
    return ((points + 0.5) * (new / old) - 0.5).clamp(min=0).minimum(new - 1)


def rescale_masks(masks: Tensor, new_size: tuple[int, int]) -> Tensor:
    """Resample (N, H, W) bool masks to (height, width), as the masks of training are.

    They are taken one by one, so that N frames of floating point need not be held.
    """
    rescaled = masks.new_zeros(len(masks), *new_size)
    for old, new in zip(masks, rescaled, strict=True):
        pixels = old[None, None].float()
        new[:] = F.interpolate(pixels, new_size, mode="bilinear", antialias=True)[0, 0] > 0.5
    return rescaled
