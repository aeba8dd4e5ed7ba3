"""What panoptic quality loses, and to which kind of error: parts of 1 − PQ that add up to it.

PQ is the sum of the pairs' IoU over TP + FP/2 + FN/2. So each nucleus without a pair costs half a
nucleus, and each pair what its IoU lacks. Why there is no pair, the map of all nuclei says.
N ground-truth nuclei, M predicted nuclei, K classes.
"""

from collections.abc import Sequence

import numpy as np

from .nucleus_maps import NucleusMaps
from .overlap import Overlap
from .pairing import Pairing, nucleus_indices
from .panoptic_quality import matched_pairs, pairs_with_unknown_alone

KINDS = ("missed", "false positive", "merged", "split", "wrong class", "poor outline")
MISSED, FALSE_POSITIVE, MERGED, SPLIT, WRONG_CLASS, POOR_OUTLINE = range(len(KINDS))


def lost_quality(
    gt: NucleusMaps,
    pred: NucleusMaps,
    overlap: Overlap,
    of_classes: Sequence[tuple[Overlap, Overlap | None]],
) -> tuple[np.ndarray, np.ndarray]:
    """Split what an image loses.

    Args:
        gt, pred: of the image.
        overlap: of their maps of all nuclei.
        of_classes: overlaps of each class's maps, and of nuclei of unknown class with them.

    Returns:
        The parts of 1 − bPQ, (6,) in the order of `KINDS`, and of each class's 1 − PQ, (K, 6). NaN
        where the ground truth has no nucleus.
    """
    pairing = Pairing(nucleus_indices(gt.label_map), nucleus_indices(pred.label_map), overlap)
    gt_causes, pred_causes = _causes(pairing)
    lost = _parts(overlap, gt_causes, pred_causes)
    # By annotation: what others cover wholly is in its class's map alone.
    of_gt = np.full(len(gt.classes), MISSED)
    of_pred = np.full(len(pred.classes), FALSE_POSITIVE)
    of_gt[pairing.gt_indices], of_pred[pairing.pred_indices] = gt_causes, pred_causes
    rows, columns = pairing.matched.nonzero()
    rows, columns = pairing.gt_indices[rows], pairing.pred_indices[columns]
    differ = gt.classes[rows] != pred.classes[columns]
    of_gt[rows] = np.where(differ, WRONG_CLASS, POOR_OUTLINE)
    of_pred[columns] = np.where(differ, WRONG_CLASS, POOR_OUTLINE)
    of_class = [
        _parts(known, of_gt[nucleus_indices(gt_map)], of_pred[nucleus_indices(pred_map)], unknown)
        for gt_map, pred_map, (known, unknown) in zip(
            gt.class_maps, pred.class_maps, of_classes, strict=True
        )
    ]
    return lost, np.array(of_class).reshape(-1, len(KINDS))


def _causes(pairing: Pairing) -> tuple[np.ndarray, np.ndarray]:
    """Why each nucleus, (N,) and (M,), has no pair, if it has none: indices of `KINDS`."""
    in_merged = np.any(pairing.covers & pairing.merged, axis=1)
    of_split = np.any(pairing.inside & pairing.split[:, None], axis=0)
    gt = np.select(
        [pairing.missed, in_merged, pairing.split], [MISSED, MERGED, SPLIT], POOR_OUTLINE
    )
    pred = np.select(
        [pairing.false_positive, pairing.merged, of_split],
        [FALSE_POSITIVE, MERGED, SPLIT],
        POOR_OUTLINE,
    )
    return gt, pred


def _parts(
    overlap: Overlap, gt_causes: np.ndarray, pred_causes: np.ndarray, unknown: Overlap | None = None
) -> np.ndarray:
    """The parts of 1 − PQ of two maps, (6,)."""
    matched = matched_pairs(overlap)
    if not len(matched):
        return np.full(len(KINDS), np.nan)
    unpaired = ~matched.any(axis=0)
    if unknown is not None:
        unpaired &= ~pairs_with_unknown_alone(unknown, matched)
    causes = np.concatenate([gt_causes[~matched.any(axis=1)], pred_causes[unpaired]])
    lost = np.bincount(causes, minlength=len(KINDS)) / 2
    nuclei = matched.sum() + lost.sum()
    ious = overlap.intersections[matched] / overlap.unions[matched]
    lost[POOR_OUTLINE] += np.sum(1 - ious)
    return lost / nuclei
