"""How much every ground-truth nucleus overlaps every predicted one, from one joint histogram.

N ground-truth nuclei, M predicted nuclei, H×W px. A label map is (H, W) integers with 0
for background and one id per nucleus; ids need not be contiguous and no pixel need be background.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import UserError

# Ids up to here index the histogram directly; maps with larger ids are renumbered first.
_MAX_DIRECT_ID = 2047


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of two label maps; nuclei are in the order of their ids.

    Attributes:
        intersections: (N, M) px shared by a ground-truth and a predicted nucleus.
        gt_areas: (N,) px.
        pred_areas: (M,) px.
    """

    intersections: np.ndarray
    gt_areas: np.ndarray
    pred_areas: np.ndarray

    @cached_property
    def unions(self) -> np.ndarray:
        """(N, M) px covered by either nucleus."""
        return self.gt_areas[:, None] + self.pred_areas - self.intersections


def measure_overlap(gt_map: np.ndarray, pred_map: np.ndarray) -> Overlap:
    """Count the pixels of every nucleus of two label maps and of every pair of them.

    Args:
        gt_map: (H, W) integer label map.
        pred_map: (H, W) integer label map.

    Raises:
        UserError: the maps differ in size.
    """
    if gt_map.shape != pred_map.shape:
        raise UserError(
            f"label maps of {gt_map.shape} and {pred_map.shape} px cannot be compared: "
            "resize the prediction to the image"
        )
    foreground = np.flatnonzero((gt_map != 0) | (pred_map != 0))
    gt_ids = _small_ids(gt_map.ravel()[foreground])
    pred_ids = _small_ids(pred_map.ravel()[foreground])
    rows, columns = gt_ids.max(initial=0) + 1, pred_ids.max(initial=0) + 1
    joint = np.bincount(gt_ids * columns + pred_ids, minlength=rows * columns)
    joint = joint.reshape(rows, columns)
    gt_areas, pred_areas = joint.sum(axis=1)[1:], joint.sum(axis=0)[1:]
    gt_present, pred_present = gt_areas > 0, pred_areas > 0
    return Overlap(
        intersections=joint[1:, 1:][gt_present][:, pred_present],
        gt_areas=gt_areas[gt_present],
        pred_areas=pred_areas[pred_present],
    )


def _small_ids(ids: np.ndarray) -> np.ndarray:
    """Renumber ids in their order, 0 staying 0, if they would make a huge histogram."""
    ids = ids.astype(np.intp)
    if ids.max(initial=0) <= _MAX_DIRECT_ID:
        return ids
    values, ranks = np.unique(ids, return_inverse=True)
    return ranks if values[0] == 0 else ranks + 1
