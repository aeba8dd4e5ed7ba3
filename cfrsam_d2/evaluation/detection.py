"""Detection and classification of nuclei by their centroids.

N ground-truth nuclei, M predicted nuclei, K classes. Of the paper's Table 3 (HoVer-Net's scores)
all counts live in one (K+1, K+1) confusion matrix: rows are ground-truth classes, columns predicted
classes, and the last row and column count nuclei left unpaired. Of the mean class F1, by which the
released code chooses the epoch of stage 1, they are (K, 3): each class is paired by itself. Counts
of several images add up. Ground-truth nuclei of unknown class (-1) are counted apart, (K+1,): those
paired with a prediction of each class, and those left unpaired.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from ..structures.coco import UNKNOWN_CLASS

RADIUS_AT_40X = 12.0  # px: 3 µm, the radius of Table 3
CLASS_F1_RADIUS_AT_40X = 3.0  # px: the released code's on PanNuke


class DetectionScores(NamedTuple):
    """Precision, recall and F1, 0..1; NaN where nothing was counted."""

    precision: float
    recall: float
    f1: float


class PairCounts(NamedTuple):
    """Paired centroids of an image or, added up, of several.

    Attributes:
        confusion: (K+1, K+1) as the module describes; [K, K] stays 0. Nuclei of unknown class and
            their partners are not among them.
        unknown: (K+1,) nuclei of unknown class: those paired with a prediction of each class, and
            last those left unpaired.
    """

    confusion: np.ndarray
    unknown: np.ndarray


def count_pairs(
    gt_points: np.ndarray,
    gt_classes: np.ndarray,
    pred_points: np.ndarray,
    pred_classes: np.ndarray,
    *,
    num_classes: int,
    radius: float,
) -> PairCounts:
    """Pair centroids one to one by least total distance; pairs farther than `radius` are undone.

    Args:
        gt_points: (N, 2) centroids x, y in px.
        gt_classes: (N,) contiguous ids 0..K-1, or -1 of nuclei of unknown class.
        pred_points: (M, 2) likewise.
        pred_classes: (M,) contiguous ids 0..K-1.
        num_classes: K.
        radius: px, see `radius_at`.
    """
    gt_paired, pred_paired = pair_points(gt_points, pred_points, radius)
    # Of unknown class, -1, is the last row.
    counts = np.zeros((num_classes + 2, num_classes + 1), dtype=np.int64)
    np.add.at(counts, (gt_classes[gt_paired], pred_classes[pred_paired]), 1)
    np.add.at(counts[:, num_classes], np.delete(gt_classes, gt_paired), 1)
    np.add.at(counts[num_classes], np.delete(pred_classes, pred_paired), 1)
    return PairCounts(counts[:-1], counts[-1])


def pair_points(
    gt_points: np.ndarray, pred_points: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs behind `count_pairs`: indices of their ground truth and prediction."""
    distances = cdist(gt_points.reshape(-1, 2), pred_points.reshape(-1, 2))  # (N, M)
    gt_paired, pred_paired = linear_sum_assignment(distances)
    near = distances[gt_paired, pred_paired] <= radius
    return gt_paired[near], pred_paired[near]


def radius_at(magnification: float, radius_at_40x: float = RADIUS_AT_40X) -> float:
    """Return a pairing radius in px at a magnification: half of that at 40× at 20×."""
    return radius_at_40x * magnification / 40


def detection_scores(confusion: np.ndarray, unknown: np.ndarray | None = None) -> DetectionScores:
    """Score finding nuclei, whatever their class, those of unknown class, too."""
    tp = confusion[:-1, :-1].sum()
    fp, fn = confusion[-1].sum(), confusion[:, -1].sum()
    if unknown is not None:
        tp, fn = tp + unknown[:-1].sum(), fn + unknown[-1]
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


def class_counts(
    gt_points: np.ndarray,
    gt_classes: np.ndarray,
    pred_points: np.ndarray,
    pred_classes: np.ndarray,
    pred_scores: np.ndarray,
    *,
    num_classes: int,
    radius: float,
) -> np.ndarray:
    """Pair the centroids of each class by itself, greedily, and count.

    Predictions that are left pair with nuclei of unknown class in the same way; those that do are
    not counted.

    Args:
        gt_points: (N, 2) centroids x, y in px.
        gt_classes: (N,) contiguous ids 0..K-1, or -1 of nuclei of unknown class.
        pred_points: (M, 2) likewise.
        pred_classes: (M,) contiguous ids 0..K-1.
        pred_scores: (M,) any scale; the best-scored prediction chooses first.
        num_classes: K.
        radius: px, see `radius_at`.

    Returns:
        (K, 3) counts: pairs, predictions, ground truth.
    """
    counts = np.zeros((num_classes, 3), dtype=np.int64)
    unknown = gt_points[gt_classes == UNKNOWN_CLASS]
    for class_id in range(num_classes):
        gt, pred = gt_points[gt_classes == class_id], np.flatnonzero(pred_classes == class_id)
        paired = greedy_pairs(gt, pred_points[pred], pred_scores[pred], radius)
        left = pred[~paired]
        excused = greedy_pairs(unknown, pred_points[left], pred_scores[left], radius)
        counts[class_id] = paired.sum(), len(pred) - excused.sum(), len(gt)
    return counts


def greedy_pairs(
    gt_points: np.ndarray, pred_points: np.ndarray, pred_scores: np.ndarray, radius: float
) -> np.ndarray:
    """Let each prediction, best score first, take the nearest centroid that is left in `radius`.

    Returns:
        (M,) bool: the predictions that took one.
    """
    paired = np.zeros(len(pred_points), dtype=bool)
    if 0 in (len(gt_points), len(pred_points)):
        return paired
    distances = cdist(pred_points, gt_points)  # (M, N)
    distances[distances > radius] = np.inf
    for pred in np.argsort(-pred_scores, kind="stable"):
        gt = distances[pred].argmin()
        if np.isfinite(distances[pred, gt]):
            paired[pred] = True
            distances[:, gt] = np.inf
    return paired


def mean_class_f1(counts: np.ndarray) -> float:
    """Average F1 over the classes of `class_counts`; NaN without ground truth.

    A class without ground truth is left out. (The released code counts it as 0 in every epoch, so
    that both choose the same one.)
    """
    pairs, pred, gt = counts[counts[:, 2] > 0].T
    return float(np.mean(2 * pairs / (pred + gt))) if len(gt) else float("nan")


def _ratio(numerator: int, denominator: int) -> float:
    return float(numerator / denominator) if denominator else float("nan")
