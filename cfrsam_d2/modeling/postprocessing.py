"""Which predictions stay, and in whose pixels: greedy suppression, the caller's size.

N nuclei, E pairs of them that exclude each other, H×W px.
"""

from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from scipy.spatial import KDTree
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


def suppress_within_radius(points: Tensor, scores: Tensor, radius: float) -> Tensor:
    """Greedy suppression by score: a kept point removes all others within `radius`.

    Args:
        points: (N, 2) in px.
        scores: (N,).
        radius: px; a point at exactly this distance is removed.

    Returns:
        Indices of the kept points by falling score, int64.
    """
    kept = keep_greedily(scores.cpu().numpy(), pairs_within(points.cpu().numpy(), radius))
    return torch.from_numpy(kept).to(points.device)


def pairs_within(points: np.ndarray, radius: float) -> np.ndarray:
    """The pairs of points (N, 2) that are at most `radius` apart, (E, 2)."""
    none = np.zeros((0, 2), dtype=np.int64)
    return KDTree(points).query_pairs(radius, output_type="ndarray") if len(points) else none


def keep_greedily(scores: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """What going through the scores from the best would keep, if the kept removed all it excludes.

    All that no better one excludes is kept at once, and what it excludes is removed; with what is
    left, this repeats.

    Args:
        scores: (N,); of equal ones the first counts as the better.
        pairs: indices of two that exclude each other, (E, 2).

    Returns:
        Indices of the kept by falling score, int64.
    """
    order = np.argsort(-scores, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    better, worse = np.sort(rank[pairs], axis=1).T
    removed = np.zeros(len(order), dtype=bool)
    while len(better):
        has_better = np.zeros(len(order), dtype=bool)
        has_better[worse] = True
        removed[worse[~has_better[better]]] = True
        undecided = ~removed[better] & ~removed[worse]
        better, worse = better[undecided], worse[undecided]
    return order[~removed]
