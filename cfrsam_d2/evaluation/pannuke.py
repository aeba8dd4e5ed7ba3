"""Scoring arrays of PanNuke's release layout, as the official script takes them."""

from collections.abc import Sequence

import numpy as np

from ..errors import UserError
from .image_scores import ImageScores, score_detection, score_segmentation
from .nucleus_maps import pannuke_maps


def score_pannuke_arrays(
    true_masks: np.ndarray,
    pred_masks: np.ndarray,
    types: Sequence[str],
    *,
    magnification: float = 40.0,
) -> list[ImageScores]:
    """Score predicted masks against true ones; one image at a time is read from the arrays.

    Args:
        true_masks: (B, H, W, K+1) instance ids, unique within their channel; the last channel is
            the background. Any number type, memory-mapped or not.
        pred_masks: likewise.
        types: B names of tissues.
        magnification: 40 for PanNuke; sets the radius of centroid pairs.

    Returns:
        B records with the image's position as `image_id`, for `cfrsam_d2.evaluation.summarize`.

    Raises:
        UserError: shapes or counts differ.
    """
    if true_masks.shape != pred_masks.shape or true_masks.ndim != 4:
        raise UserError(
            f"true masks of shape {true_masks.shape} and predicted masks of shape "
            f"{pred_masks.shape} do not match: both must be (images, height, width, classes + 1)"
        )
    if len(types) != len(true_masks):
        raise UserError(
            f"{len(types)} tissue types for {len(true_masks)} images: "
            "pass the types.npy of the same fold"
        )
    num_classes = true_masks.shape[-1] - 1
    records = []
    for index, tissue in enumerate(types):
        gt, pred = pannuke_maps(true_masks[index]), pannuke_maps(pred_masks[index])
        records.append(
            ImageScores(
                image_id=index,
                file_name="",
                tissue=str(tissue),
                confusion=score_detection(gt, pred, num_classes, magnification).confusion,
                segmentation=score_segmentation(gt, pred),
            )
        )
    return records
