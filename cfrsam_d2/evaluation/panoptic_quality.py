"""Panoptic quality (Kirillov et al., 2019) with the constants of PanNuke's official script."""

from typing import NamedTuple

import numpy as np

from .overlap import Overlap


class PanopticQuality(NamedTuple):
    """The counts that panoptic quality is made of; counts of several images may be pooled.

    Attributes:
        tp: pairs of nuclei with IoU > 0.5 (strictly).
        fp: predicted nuclei without a pair.
        fn: ground-truth nuclei without a pair.
        iou_sum: sum of the pairs' IoU.
    """

    tp: int
    fp: int
    fn: int
    iou_sum: float

    @property
    def dq(self) -> float:
        """Detection quality; NaN if there is nothing to detect and nothing was."""
        nuclei = self.tp + self.fp / 2 + self.fn / 2
        return self.tp / nuclei if nuclei else float("nan")

    @property
    def sq(self) -> float:
        """Segmentation quality: mean IoU of the pairs, 0 without pairs."""
        return self.iou_sum / (self.tp + 1e-6)

    @property
    def pq(self) -> float:
        """Panoptic quality, DQ × SQ."""
        return self.dq * self.sq

    @property
    def has_ground_truth(self) -> bool:
        """False where per-image scores are undefined: the false positives are free, officially."""
        return self.tp + self.fn > 0


def panoptic_quality(overlap: Overlap, unknown: Overlap | None = None) -> PanopticQuality:
    """Pair nuclei with IoU > 0.5; a nucleus has at most one such partner.

    Args:
        overlap: of the ground truth and the predictions.
        unknown: of nuclei of unknown class and the same predictions, whose own class is scored: a
            prediction that pairs with one of these alone is not counted.
    """
    matched = matched_pairs(overlap)
    tp = int(np.count_nonzero(matched))
    ious = overlap.intersections[matched] / overlap.unions[matched]
    gt_count, pred_count = matched.shape
    if unknown is not None:
        pred_count -= np.count_nonzero(pairs_with_unknown_alone(unknown, matched))
    return PanopticQuality(tp, int(pred_count) - tp, gt_count - tp, float(ious.sum()))


def matched_pairs(overlap: Overlap) -> np.ndarray:
    """(N, M) bool: IoU > 0.5."""
    return 2 * overlap.intersections > overlap.unions


def pairs_with_unknown_alone(unknown: Overlap, matched: np.ndarray) -> np.ndarray:
    """(M,) bool: predictions that pair with a nucleus of unknown class, and with no other."""
    of_unknown = matched_pairs(unknown).sum(axis=0)
    return (of_unknown > 0) & (matched.sum(axis=0) == 0)


def pool(counts: list[PanopticQuality]) -> PanopticQuality:
    """Add the counts of several images."""
    return PanopticQuality(*map(sum, zip(*counts, strict=True)))
