"""Aggregated Jaccard index: MoNuSeg's (Kumar et al., 2017) and AJI+ with one-to-one pairs."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from .overlap import Overlap


def aji(overlap: Overlap) -> float:
    """Aggregated Jaccard index: each ground-truth nucleus takes its highest-IoU prediction.

    A prediction may be taken several times. NaN without ground truth, 0 without predictions.
    """
    if 0 in overlap.intersections.shape:
        return _aji_without_pairs(overlap)
    gt_indices = np.arange(len(overlap.gt_areas))
    return _aggregate(overlap, gt_indices, _ious(overlap).argmax(axis=1))


def aji_plus(overlap: Overlap) -> float:
    """AJI+: pairs are one to one, the assignment of largest total IoU.

    NaN without ground truth, 0 without predictions.
    """
    if 0 in overlap.intersections.shape:
        return _aji_without_pairs(overlap)
    return _aggregate(overlap, *linear_sum_assignment(_ious(overlap), maximize=True))


def _aji_without_pairs(overlap: Overlap) -> float:
    return 0.0 if len(overlap.gt_areas) else float("nan")


def _ious(overlap: Overlap) -> np.ndarray:
    # The small constant is HoVer-Net's: of equal IoUs the larger overlap wins, whatever the ids.
    return overlap.intersections / (overlap.unions + 1e-6)  # (N, M)


def _aggregate(overlap: Overlap, gt_indices: np.ndarray, pred_indices: np.ndarray) -> float:
    """Intersections of the touching pairs over their unions and the areas left unpaired."""
    touching = overlap.intersections[gt_indices, pred_indices] > 0
    gt_indices, pred_indices = gt_indices[touching], pred_indices[touching]
    intersection = overlap.intersections[gt_indices, pred_indices].sum()
    union = overlap.unions[gt_indices, pred_indices].sum()
    union += np.delete(overlap.gt_areas, gt_indices).sum()
    union += np.delete(overlap.pred_areas, pred_indices).sum()
    return float(intersection / union)
