"""The nuclei of a dataset against those of a prediction: matches and errors.

B images, N ground-truth nuclei and M predicted nuclei of all of them, K classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from ...evaluation.detection import pair_points, radius_at
from ...evaluation.image_scores import score_detection
from ...evaluation.nucleus_maps import (
    NucleusMaps,
    NucleusPoints,
    ground_truth_maps,
    predicted_maps,
)
from ...evaluation.pairing import ERRORS, Pairing, pair_nuclei
from ...structures.rle import decode_mask

Annotations = Sequence[dict[str, Any]]  # `segmentation`, `category_id` and `point` of nuclei


class Place(NamedTuple):
    """A nucleus: the position of its image in the dataset, its own there, and its class."""

    image: int
    nucleus: int
    category: int


@dataclass(frozen=True)
class Outlines:
    """Masks against masks, nucleus by nucleus.

    Attributes:
        gt_classes: (N,) contiguous ids, -1 where unknown.
        gt_areas: (N,) px.
        gt_ious: (N,) with the matching prediction, 0 without one.
        pred_classes: (M,) contiguous ids.
        pred_areas: (M,) px.
        pred_matched: (M,) bool.
        scores: (M',) of whole predictions, covered ones too: the predicted IoU.
        ious: (M',) their actual IoU: the largest with a ground-truth nucleus.
    """

    gt_classes: np.ndarray
    gt_areas: np.ndarray
    gt_ious: np.ndarray
    pred_classes: np.ndarray
    pred_areas: np.ndarray
    pred_matched: np.ndarray
    scores: np.ndarray
    ious: np.ndarray


@dataclass(frozen=True)
class ErrorAnalysis:
    """All images of a run.

    Attributes:
        confusions: (B, K+1, K+1) counts of paired centroids, see `PairCounts`.
        unknown: (B, K+1) those of nuclei of unknown class, see `PairCounts`.
        outlines: None if points alone were predicted.
        errors: the nuclei of every kind of ERRORS, in the order of the dataset; of points "missed"
            and "false positive", which are those left unpaired.
    """

    confusions: np.ndarray
    unknown: np.ndarray
    outlines: Outlines | None
    errors: dict[str, list[Place]]


def analyze_errors(
    images: Iterable[dict[str, Any]],
    predictions: Iterable[Annotations],
    num_classes: int,
    *,
    has_masks: bool,
) -> ErrorAnalysis:
    """Compare every image's nuclei.

    Args:
        images: the dataset's dicts.
        predictions: of each, the predicted nuclei.
        num_classes: K.
        has_masks: False: points alone were predicted.
    """
    confusions, unknown, outlines, errors = [], [], [], []
    for index, (image, nuclei) in enumerate(zip(images, predictions, strict=True)):
        size, annotations = (image["height"], image["width"]), image["annotations"]
        gt = ground_truth_maps(*_masks(annotations, size), size, num_classes)
        pred = _predicted(nuclei, size, num_classes) if has_masks else _points(nuclei)
        magnification = image.get("magnification", 40)
        pairs = score_detection(gt, pred, num_classes, magnification)
        confusions.append(pairs.confusion)
        unknown.append(pairs.unknown)
        if isinstance(pred, NucleusMaps):
            pairing = pair_nuclei(gt.label_map, pred.label_map)
            outlines.append(_image_outlines(pairing, annotations, nuclei))
            errors.append(_outline_errors(index, pairing, annotations, nuclei))
        else:
            errors.append(_point_errors(index, gt, pred, radius_at(magnification)))
    joined = _joined(outlines) if has_masks else None
    all_errors = {kind: [place for each in errors for place in each[kind]] for kind in errors[0]}
    return ErrorAnalysis(np.stack(confusions), np.stack(unknown), joined, all_errors)


def _masks(nuclei: Annotations, size: tuple[int, int]) -> tuple[list[np.ndarray], np.ndarray]:
    pixels = [decode_mask(nucleus["segmentation"]).indices(size[1]) for nucleus in nuclei]
    return pixels, _classes(nuclei)


def _predicted(nuclei: Annotations, size: tuple[int, int], num_classes: int) -> NucleusMaps:
    pixels, classes = _masks(nuclei, size)
    scores = _scores(nuclei).astype(np.float32)  # as the evaluator has them
    return predicted_maps(pixels, classes, scores, size, num_classes)


def _points(nuclei: Annotations) -> NucleusPoints:
    points = np.array([nucleus["point"] for nucleus in nuclei], dtype=np.float64)
    return NucleusPoints(points.reshape(-1, 2), _classes(nuclei), _scores(nuclei))


def _image_outlines(pairing: Pairing, annotations: Annotations, nuclei: Annotations) -> Outlines:
    return Outlines(
        gt_classes=_classes(annotations)[pairing.gt_indices],
        gt_areas=pairing.overlap.gt_areas,
        gt_ious=np.where(pairing.matched, pairing.ious, 0).max(axis=1, initial=0),
        pred_classes=_classes(nuclei)[pairing.pred_indices],
        pred_areas=pairing.overlap.pred_areas,
        pred_matched=np.any(pairing.matched, axis=0),
        scores=_scores(nuclei),
        ious=_largest_ious(nuclei, annotations),
    )


def _outline_errors(
    image: int, pairing: Pairing, annotations: Annotations, nuclei: Annotations
) -> dict[str, list[Place]]:
    sides = {
        "gt": (pairing.gt_indices, _classes(annotations)),
        "pred": (pairing.pred_indices, _classes(nuclei)),
    }
    errors = {}
    for kind, is_wrong in pairing.errors.items():
        indices, classes = sides[ERRORS[kind]]
        wrong = indices[is_wrong]
        errors[kind] = [Place(image, int(index), int(classes[index])) for index in wrong]
    return errors


def _point_errors(
    image: int, gt: NucleusPoints, pred: NucleusPoints, radius: float
) -> dict[str, list[Place]]:
    """The nuclei without a partner, of both sides."""
    paired = pair_points(gt.points, pred.points, radius)
    errors = {}
    for kind, side, of_pairs in zip(("missed", "false positive"), (gt, pred), paired, strict=True):
        alone = np.setdiff1d(np.arange(len(side.classes)), of_pairs)
        errors[kind] = [Place(image, int(index), int(side.classes[index])) for index in alone]
    return errors


def _classes(nuclei: Annotations) -> np.ndarray:
    return np.array([nucleus["category_id"] for nucleus in nuclei], dtype=np.intp)


def _scores(nuclei: Annotations) -> np.ndarray:
    return np.array([nucleus["score"] for nucleus in nuclei], dtype=np.float64)


def _largest_ious(nuclei: Annotations, annotations: Annotations) -> np.ndarray:
    if not nuclei or not annotations:
        return np.zeros(len(nuclei))
    pred, gt = ([each["segmentation"] for each in side] for side in (nuclei, annotations))
    return np.asarray(mask_utils.iou(pred, gt, [0] * len(gt))).max(axis=1)


def _joined(outlines: Sequence[Outlines]) -> Outlines:
    return Outlines(
        **{
            field.name: np.concatenate([getattr(each, field.name) for each in outlines])
            for field in fields(Outlines)
        }
    )
