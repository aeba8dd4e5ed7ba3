"""Shapes whose overlaps are known by hand."""

import numpy as np

from cfrsam_d2.evaluation.image_scores import ImageScores, SegmentationScores
from cfrsam_d2.evaluation.lost_quality import KINDS
from cfrsam_d2.evaluation.panoptic_quality import PanopticQuality


def rectangles(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Draw rectangles (y0, x0, y1, x1; ends excluded) with ids 1, 2, …, later over earlier."""
    label_map = np.zeros(size, dtype=np.int32)
    for index, (y0, x0, y1, x1) in enumerate(boxes, start=1):
        label_map[y0:y1, x0:x1] = index
    return label_map


def disc(y: float, x: float, radius: float, size: tuple[int, int]) -> np.ndarray:
    """Return a (H, W) bool disc."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(rows - y, columns - x) < radius


def pixels(label_map: np.ndarray) -> list[np.ndarray]:
    """Return the flat indices of every nucleus in the order of ids."""
    return [np.flatnonzero(label_map == i) for i in np.unique(label_map) if i]


def record(
    image_id: int,
    tissue: str,
    binary: PanopticQuality,
    *by_class: PanopticQuality,
    confusion: list[list[int]] | None = None,
    aji: float = 0.5,
    by_class_one_map: tuple[PanopticQuality, ...] = (),
) -> ImageScores:
    """Make the record of an image from its counts."""
    num_classes = len(by_class)
    confusion = np.array(confusion or np.zeros((num_classes + 1, num_classes + 1), dtype=int))
    return ImageScores(
        image_id=image_id,
        file_name=f"{image_id}.png",
        tissue=tissue,
        confusion=confusion,
        segmentation=SegmentationScores(
            binary,
            by_class,
            by_class_one_map or by_class,
            aji,
            aji,
            lost=_one_kind(binary),
            lost_by_class=np.array([_one_kind(each) for each in by_class]),
        ),
    )


def _one_kind(quality: PanopticQuality) -> np.ndarray:
    """All that is lost as that of one kind; NaN without ground truth."""
    lost = np.zeros(len(KINDS))
    lost[0] = 1 - quality.pq
    return lost if quality.has_ground_truth else np.full(len(KINDS), np.nan)
