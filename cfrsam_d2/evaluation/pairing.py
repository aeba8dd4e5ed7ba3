"""Pairs of predicted and ground-truth nuclei, and the errors among them.

N ground-truth nuclei, M predicted nuclei, K classes. Nuclei are those of the label maps
that are scored: what a map does not show, because others cover it, is not counted.
"""

from dataclasses import dataclass

import numpy as np

from .overlap import Overlap, measure_overlap
from .panoptic_quality import matched_pairs

# Whether the nuclei of an error are of the ground truth or predicted.
ERRORS = {"missed": "gt", "false positive": "pred", "merged": "pred", "split": "gt"}


@dataclass(frozen=True)
class Pairing:
    """How two label maps go together.

    "Half" is at least half of a nucleus's pixels. A prediction *covers* a ground-truth nucleus if
    it holds half of that, and lies *in* one if half of the prediction is there.

    Attributes:
        gt_indices: (N,) which annotations of the image these nuclei are.
        pred_indices: (M,) likewise of the predictions.
        overlap: their pixel counts.
    """

    gt_indices: np.ndarray
    pred_indices: np.ndarray
    overlap: Overlap

    @property
    def ious(self) -> np.ndarray:
        """(N, M) intersection over union."""
        return self.overlap.intersections / self.overlap.unions

    @property
    def matched(self) -> np.ndarray:
        """(N, M) bool: IoU > 0.5, as in panoptic quality; at most one per nucleus."""
        return matched_pairs(self.overlap)

    @property
    def errors(self) -> dict[str, np.ndarray]:
        """Of each kind of ERRORS which nuclei, (N,) or (M,) bool."""
        return {
            "missed": self.missed,
            "false positive": self.false_positive,
            "merged": self.merged,
            "split": self.split,
        }

    @property
    def missed(self) -> np.ndarray:
        """(N,) bool: no prediction covers the nucleus, and none lies in it."""
        return ~np.any(self.covers | self.inside, axis=1)

    @property
    def false_positive(self) -> np.ndarray:
        """(M,) bool: the prediction covers no nucleus and lies in none."""
        return ~np.any(self.covers | self.inside, axis=0)

    @property
    def merged(self) -> np.ndarray:
        """(M,) bool: the prediction covers two ground-truth nuclei or more."""
        return self.covers.sum(axis=0) >= 2

    @property
    def split(self) -> np.ndarray:
        """(N,) bool: two predictions or more lie in the nucleus, and together they hold half."""
        parts = np.where(self.inside, self.overlap.intersections, 0)
        together = 2 * parts.sum(axis=1) >= self.overlap.gt_areas
        return (self.inside.sum(axis=1) >= 2) & together

    @property
    def covers(self) -> np.ndarray:
        """(N, M) bool: a prediction holds half of a ground-truth nucleus."""
        return 2 * self.overlap.intersections >= self.overlap.gt_areas[:, None]

    @property
    def inside(self) -> np.ndarray:
        """(N, M) bool: half of a prediction lies in a ground-truth nucleus."""
        return 2 * self.overlap.intersections >= self.overlap.pred_areas


def pair_nuclei(gt_map: np.ndarray, pred_map: np.ndarray) -> Pairing:
    """Compare an image's (H, W) label maps; ids are positions in its lists of nuclei, plus 1."""
    overlap = measure_overlap(gt_map, pred_map)
    return Pairing(nucleus_indices(gt_map), nucleus_indices(pred_map), overlap)


def nucleus_indices(label_map: np.ndarray) -> np.ndarray:
    """Which nuclei of its list a label map shows, rising, as `measure_overlap` has them."""
    return np.unique(label_map[label_map != 0]) - 1
