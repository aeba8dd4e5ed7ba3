"""Detection and classification of nuclei by their centroids (Table 3; HoVer-Net's scores).

N ground-truth nuclei, M predicted nuclei, K classes. All counts live in one (K+1, K+1)
confusion matrix: rows are ground-truth classes, columns predicted classes, and the last row and
column count nuclei left unpaired. Matrices of several images add up.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

RADIUS_AT_40X = 12.0  # px: 3 µm; half of it at 20×


class DetectionScores(NamedTuple):
    """Precision, recall and F1, 0..1; NaN where nothing was counted."""

    precision: float
    recall: float
    f1: float


def confusion_of_pairs(
    gt_points: np.ndarray,
    gt_classes: np.ndarray,
    pred_points: np.ndarray,
    pred_classes: np.ndarray,
    *,
    num_classes: int,
    radius: float,
) -> np.ndarray:
    """Pair centroids one to one by least total distance; pairs farther than `radius` are undone.

    Args:
        gt_points: (N, 2) centroids x, y in px.
        gt_classes: (N,) contiguous ids 0..K-1.
        pred_points: (M, 2) likewise.
        pred_classes: (M,) likewise.
        num_classes: K.
        radius: px, see `radius_at`.

    Returns:
        (K+1, K+1) counts as the module describes; [K, K] stays 0.
    """
    gt_paired, pred_paired = pair_points(gt_points, pred_points, radius)
    confusion = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    np.add.at(confusion, (gt_classes[gt_paired], pred_classes[pred_paired]), 1)
    np.add.at(confusion[:, num_classes], np.delete(gt_classes, gt_paired), 1)
    np.add.at(confusion[num_classes], np.delete(pred_classes, pred_paired), 1)
    return confusion


def pair_points(
    gt_points: np.ndarray, pred_points: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs behind `confusion_of_pairs`: indices of their ground truth and prediction."""
    distances = cdist(gt_points.reshape(-1, 2), pred_points.reshape(-1, 2))  # (N, M)
    gt_paired, pred_paired = linear_sum_assignment(distances)
    near = distances[gt_paired, pred_paired] <= radius
    return gt_paired[near], pred_paired[near]


def radius_at(magnification: float) -> float:
    """Return the pairing radius in px at a magnification: 12 at 40×, 6 at 20×."""
    return RADIUS_AT_40X * magnification / 40


def detection_scores(confusion: np.ndarray) -> DetectionScores:
    """Score finding nuclei, whatever their class."""
    tp = confusion[:-1, :-1].sum()
    fp, fn = confusion[-1].sum(), confusion[:, -1].sum()
    return DetectionScores(
        _ratio(tp, tp + fp),
        _ratio(tp, tp + fn),
        _ratio(2 * tp, 2 * tp + fp + fn),
    )


def class_scores(confusion: np.ndarray, class_id: int) -> DetectionScores:
    """Score one class over the pairs that involve it: pairs of another class count double."""
    tp = confusion[class_id, class_id]
    wrong_fp = confusion[:-1, class_id].sum() - tp  # paired with a nucleus of another class
    wrong_fn = confusion[class_id, :-1].sum() - tp
    fp, fn = confusion[-1, class_id], confusion[class_id, -1]
    return DetectionScores(
        _ratio(tp, tp + 2 * wrong_fp + fp),
        _ratio(tp, tp + 2 * wrong_fn + fn),
        _ratio(2 * tp, 2 * tp + 2 * wrong_fp + 2 * wrong_fn + fp + fn),
    )


def _ratio(numerator: int, denominator: int) -> float:
    return float(numerator / denominator) if denominator else float("nan")
