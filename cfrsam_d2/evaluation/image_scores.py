"""All scores of one image: a handful of numbers, so that any number of images can be kept."""

from dataclasses import dataclass

import numpy as np

from .detection import PairCounts, class_counts, count_pairs, radius_at
from .jaccard import aji, aji_plus
from .lost_quality import lost_quality
from .nucleus_maps import NucleusMaps, NucleusPoints
from .overlap import Overlap, measure_overlap
from .panoptic_quality import PanopticQuality, panoptic_quality


@dataclass(frozen=True)
class SegmentationScores:
    """How well the outlines of one image agree.

    Attributes:
        binary: panoptic quality of the class-free maps.
        by_class: panoptic quality of each of the K classes, painted by itself.
        by_class_one_map: the same of the predicted classes' parts of one map of all nuclei.
        aji: aggregated Jaccard index of the class-free maps, NaN without ground truth.
        aji_plus: the same with one-to-one pairs.
        lost: the parts of 1 − bPQ, (6,), see `lost_quality`.
        lost_by_class: the parts of each class's 1 − PQ, (K, 6).
    """

    binary: PanopticQuality
    by_class: tuple[PanopticQuality, ...]
    by_class_one_map: tuple[PanopticQuality, ...]
    aji: float
    aji_plus: float
    lost: np.ndarray
    lost_by_class: np.ndarray

    @property
    def bpq(self) -> float:
        """Class-free PQ, NaN without ground truth."""
        return self.binary.pq if self.binary.has_ground_truth else float("nan")

    @property
    def dq(self) -> float:
        """Class-free detection quality, NaN without ground truth."""
        return self.binary.dq if self.binary.has_ground_truth else float("nan")

    @property
    def sq(self) -> float:
        """Class-free segmentation quality, NaN without ground truth."""
        return self.binary.sq if self.binary.has_ground_truth else float("nan")

    @property
    def class_pqs(self) -> list[float]:
        """PQ of each class, NaN where the ground truth has no nucleus of it."""
        return _known_pqs(self.by_class)

    @property
    def class_pqs_one_map(self) -> list[float]:
        """The same of `by_class_one_map`."""
        return _known_pqs(self.by_class_one_map)


@dataclass(frozen=True)
class ImageScores:
    """The record of one image.

    Attributes:
        image_id: as in the dataset.
        file_name: as in the dataset.
        tissue: name, "unknown" where the dataset does not tell.
        confusion: (K+1, K+1) counts of paired centroids, see `PairCounts`.
        segmentation: None if only points were predicted.
        class_counts: (K, 3) counts of `detection.class_counts`; None where predictions have no
            scores.
        unknown: (K+1,) counts of nuclei of unknown class, see `PairCounts`; None: there are
            none.
    """

    image_id: int | str
    file_name: str
    tissue: str
    confusion: np.ndarray
    segmentation: SegmentationScores | None
    class_counts: np.ndarray | None = None
    unknown: np.ndarray | None = None

    @property
    def unknown_counts(self) -> np.ndarray:
        """`unknown`, zeros where there are none."""
        return np.zeros(len(self.confusion), int) if self.unknown is None else self.unknown


def score_detection(
    gt: NucleusPoints, pred: NucleusPoints, num_classes: int, magnification: float
) -> PairCounts:
    """Count the centroids paired at this magnification."""
    return count_pairs(
        gt.points,
        gt.classes,
        pred.points,
        pred.classes,
        num_classes=num_classes,
        radius=radius_at(magnification),
    )


def score_classes(
    gt: NucleusPoints, pred: NucleusPoints, num_classes: int, radius: float
) -> np.ndarray:
    """Return the (K, 3) `detection.class_counts` of centroids paired within `radius` px."""
    return class_counts(
        gt.points,
        gt.classes,
        pred.points,
        pred.classes,
        pred.scores,
        num_classes=num_classes,
        radius=radius,
    )


def score_segmentation(gt: NucleusMaps, pred: NucleusMaps) -> SegmentationScores:
    """Compare two sets of label maps of one size.

    Raises:
        UserError: the maps differ in size.
    """
    overlap = measure_overlap(gt.label_map, pred.label_map)
    of_classes = _class_overlaps(gt, pred.class_maps)
    by_class = _class_qualities(of_classes)
    one_map, by_class_one_map = pred.visible_class_maps, by_class
    if not np.array_equal(one_map, pred.class_maps):  # it is the slow part
        by_class_one_map = _class_qualities(_class_overlaps(gt, one_map))
    lost, lost_by_class = lost_quality(gt, pred, overlap, of_classes)
    return SegmentationScores(
        binary=panoptic_quality(overlap),
        by_class=by_class,
        by_class_one_map=by_class_one_map,
        aji=aji(overlap),
        aji_plus=aji_plus(overlap),
        lost=lost,
        lost_by_class=lost_by_class,
    )


def _class_overlaps(gt: NucleusMaps, pred_maps: np.ndarray) -> list[tuple[Overlap, Overlap | None]]:
    """Of each class's maps, and of the nuclei of unknown class with them, if there are any."""
    has_unknown = gt.unknown_map.any()
    return [
        (
            measure_overlap(gt_map, pred_map),
            measure_overlap(gt.unknown_map, pred_map) if has_unknown else None,
        )
        for gt_map, pred_map in zip(gt.class_maps, pred_maps, strict=True)
    ]


def _class_qualities(
    of_classes: list[tuple[Overlap, Overlap | None]],
) -> tuple[PanopticQuality, ...]:
    return tuple(panoptic_quality(*overlaps) for overlaps in of_classes)


def _known_pqs(by_class: tuple[PanopticQuality, ...]) -> list[float]:
    return [pq.pq if pq.has_ground_truth else float("nan") for pq in by_class]
