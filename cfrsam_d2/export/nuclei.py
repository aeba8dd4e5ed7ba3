"""Predicted nuclei, one by one, as the writers take them.

Letters: N nuclei, H×W image px, h×w px of a nucleus.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from detectron2.structures import Instances


@dataclass(frozen=True)
class PredictedNucleus:
    """One nucleus.

    Attributes:
        label: from 1 on, best score first; the same in all files of an image.
        category: index of its class.
        score: 0..1.
        centroid: x, y in pixel-index units (the centre of the first pixel is 0, 0): of the mask,
            or without masks the predicted point.
        left, top: px; where `mask` lies in the image.
        mask: (h, w) bool, cut to the nucleus; None where points alone are predicted.
    """

    label: int
    category: int
    score: float
    centroid: tuple[float, float]
    left: int = 0
    top: int = 0
    mask: np.ndarray | None = None

    def full_mask(self, height: int, width: int) -> np.ndarray:
        """The mask in the whole image, (H, W) bool."""
        full = np.zeros((height, width), dtype=bool)
        h, w = self.mask.shape
        full[self.top : self.top + h, self.left : self.left + w] = self.mask
        return full


@dataclass(frozen=True)
class Prediction:
    """All that is known of an image when its files are written.

    Attributes:
        file_name: of the image, as the files shall call it.
        image: (H, W, 3) uint8 RGB.
        nuclei: best score first.
        classes: names by index.
        colors: RGB triples by index.
    """

    file_name: str
    image: np.ndarray
    nuclei: Sequence[PredictedNucleus]
    classes: Sequence[str]
    colors: Sequence[tuple[int, int, int]]


def nuclei_from_instances(instances: Instances) -> list[PredictedNucleus]:
    """Cut out and number the nuclei of an image.

    Args:
        instances: on the CPU, as `NucleusPredictor` returns them; no mask is empty.

    Returns:
        The N nuclei, best score first.
    """
    scores = instances.scores.tolist()
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    classes, points = instances.pred_classes.tolist(), instances.pred_points.tolist()
    nuclei = []
    for label, index in enumerate(order, start=1):
        nucleus = PredictedNucleus(label, classes[index], scores[index], tuple(points[index]))
        if instances.has("pred_masks"):
            nucleus = _with_mask(nucleus, instances.pred_masks[index].numpy())
        nuclei.append(nucleus)
    return nuclei


def _with_mask(nucleus: PredictedNucleus, full: np.ndarray) -> PredictedNucleus:
    left, top, w, h = cv2.boundingRect(full.view(np.uint8))
    mask = full[top : top + h, left : left + w].copy()
    rows, columns = np.nonzero(mask)
    centroid = (left + float(columns.mean()), top + float(rows.mean()))
    return PredictedNucleus(
        nucleus.label, nucleus.category, nucleus.score, centroid, left, top, mask
    )
