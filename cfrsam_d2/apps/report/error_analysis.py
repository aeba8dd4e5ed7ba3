"""What the nuclei of a dataset and of a prediction tell, beyond the scores.

Letters: B images, N ground-truth nuclei and M predicted nuclei of all of them, K classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from ...evaluation.detection import pair_points, radius_at
from ...evaluation.image_scores import score_detection
from ...evaluation.panoptic_quality import PanopticQuality
from ...evaluation.tables import Row
from .pairing import ERRORS, Pairing, pair_nuclei

CALIBRATION_BINS = 10
_SIZE_BINS = 8
_DENSITY_BINS = 6
_LEAST_IN_BIN = 5

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
        gt_classes: (N,) contiguous ids.
        gt_areas: (N,) px.
        gt_ious: (N,) with the matching prediction, 0 without one.
        pred_classes: (M,) contiguous ids.
        pred_areas: (M,) px.
        pred_matched: (M,) bool.
        scores: (M',) of whole predictions, covered ones too: the predicted IoU.
        ious: (M',) what the IoU is: the largest with a ground-truth nucleus.
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
class Analysis:
    """All images of a run.

    Attributes:
        confusions: (B, K+1, K+1) counts of paired centroids, see `confusion_of_pairs`.
        outlines: None if points alone were predicted.
        errors: the nuclei of every kind of ERRORS, in the order of the dataset; of points "missed"
            and "invented", which are those left unpaired.
    """

    confusions: np.ndarray
    outlines: Outlines | None
    errors: dict[str, list[Place]]


def analyze(
    images: Iterable[dict[str, Any]],
    predictions: Iterable[Annotations],
    num_classes: int,
    *,
    has_masks: bool,
) -> Analysis:
    """Compare every image's nuclei.

    Args:
        images: the dataset's dicts.
        predictions: of each, the predicted nuclei (`PredictedImage.nuclei`).
        num_classes: K.
        has_masks: False: points alone were predicted.
    """
    confusions, outlines, errors = [], [], []
    for index, (image, nuclei) in enumerate(zip(images, predictions, strict=True)):
        size, annotations = (image["height"], image["width"]), image["annotations"]
        gt = ground_truth_nuclei(*_masks(annotations), size, num_classes)
        pred = _predicted(nuclei, size, num_classes) if has_masks else _points(nuclei)
        magnification = image.get("magnification", 40)
        confusions.append(score_detection(gt, pred, num_classes, magnification))
        if has_masks:
            pairing = pair_nuclei(gt, pred)
            outlines.append(_image_outlines(pairing, annotations, nuclei))
            errors.append(_outline_errors(index, pairing, annotations, nuclei))
        else:
            errors.append(_point_errors(index, gt, pred, radius_at(magnification)))
    joined = _joined(outlines) if has_masks else None
    all_errors = {kind: [place for each in errors for place in each[kind]] for kind in errors[0]}
    return Analysis(np.stack(confusions), joined, all_errors)


def size_table(outlines: Outlines) -> list[Row]:
    """Panoptic quality by area of the nuclei, whatever their class.

    A match counts at the area of its ground-truth nucleus, as a miss does; a false positive at its
    own. The bins hold equally many ground-truth nuclei.

    Returns:
        Rows with `area` (median of the bin, px), `nuclei`, `found` (matched fraction), `IoU` (mean
        of the matched) and `PQ`; [] without ground truth.
    """
    edges = _edges(outlines.gt_areas, _SIZE_BINS)
    gt_bins = np.digitize(outlines.gt_areas, edges)
    fp_bins = np.digitize(outlines.pred_areas[~outlines.pred_matched], edges)
    rows = []
    for index in np.unique(gt_bins):
        ious = outlines.gt_ious[gt_bins == index]
        tp = int(np.count_nonzero(ious))
        fp = int(np.count_nonzero(fp_bins == index))
        quality = PanopticQuality(tp, fp, ious.size - tp, float(ious.sum()))
        rows.append(
            {
                "area": float(np.median(outlines.gt_areas[gt_bins == index])),
                "nuclei": ious.size,
                "found": tp / ious.size,
                "IoU": quality.sq if tp else float("nan"),
                "PQ": quality.pq,
            }
        )
    return rows


def density_table(densities: np.ndarray, scores: np.ndarray) -> list[Row]:
    """The mean score of images by how many nuclei they hold; bins hold equally many images.

    Args:
        densities: (B,) ground-truth nuclei for an area.
        scores: (B,) NaN where undefined; those images are left out.

    Returns:
        Rows with `density` (median of the bin), `images` and `score`; [] without any score.
    """
    known = ~np.isnan(scores)
    densities, scores = densities[known], scores[known]
    bins = np.digitize(densities, _edges(densities, _DENSITY_BINS))
    return [
        {
            "density": float(np.median(densities[bins == index])),
            "images": int(np.count_nonzero(bins == index)),
            "score": float(scores[bins == index].mean()),
        }
        for index in np.unique(bins)
    ]


def calibration_table(scores: np.ndarray, ious: np.ndarray) -> list[Row]:
    """What the IoU is where one is predicted.

    Args:
        scores: (M,) predicted IoU, clipped to 0..1.
        ious: (M,) actual IoU.

    Returns:
        A row for each tenth of 0..1 with predictions in it (1 belongs to the last): `from`, `to`,
        `nuclei`, `predicted` and `actual`, both means.
    """
    scores = scores.clip(0, 1)
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return [
        {
            "from": index / CALIBRATION_BINS,
            "to": (index + 1) / CALIBRATION_BINS,
            "nuclei": int(np.count_nonzero(bins == index)),
            "predicted": float(scores[bins == index].mean()),
            "actual": float(ious[bins == index].mean()),
        }
        for index in np.unique(bins).tolist()
    ]


def calibration_error(rows: Sequence[Row]) -> float:
    """Mean difference of predicted and actual IoU over bins, weighted by nuclei (ECE)."""
    total = sum(row["nuclei"] for row in rows)
    gaps = (row["nuclei"] * abs(row["predicted"] - row["actual"]) for row in rows)
    return sum(gaps) / total if total else float("nan")


def error_table(analysis: Analysis, class_names: Sequence[str]) -> list[Row]:
    """How many nuclei of each class were matched, and how many of each error; all first.

    Args:
        analysis: of a run with masks.
        class_names: by contiguous id.

    Each nucleus counts for its own class: ground-truth nuclei as `nuclei`, `matched`, `missed` and
    `split`, predicted ones as `predicted`, `invented` and `merged`.
    """
    outlines, errors = analysis.outlines, analysis.errors
    rows = []
    for category, name in enumerate(["all", *class_names], start=-1):
        rows.append(
            {
                "class": name,
                "nuclei": _count(outlines.gt_classes, category),
                "matched": _count(outlines.gt_classes[outlines.gt_ious > 0], category),
                **{kind: _count_errors(errors[kind], category) for kind in ("missed", "split")},
                "predicted": _count(outlines.pred_classes, category),
                **{kind: _count_errors(errors[kind], category) for kind in ("invented", "merged")},
            }
        )
    return rows


def point_error_table(analysis: Analysis, class_names: Sequence[str]) -> list[Row]:
    """How many points of each class were paired or not, all first; each counts for its own class.

    Args:
        analysis: of any run.
        class_names: by contiguous id.
    """
    confusion = analysis.confusions.sum(axis=0)
    rows = []
    for category, name in enumerate(["all", *class_names], start=-1):
        ids = slice(0, len(class_names)) if category < 0 else slice(category, category + 1)
        nuclei, predicted = confusion[ids], confusion[:, ids]
        rows.append(
            {
                "class": name,
                "nuclei": int(nuclei.sum()),
                "found": int(nuclei[:, :-1].sum()),
                "missed": int(nuclei[:, -1].sum()),
                "predicted": int(predicted.sum()),
                "invented": int(predicted[-1].sum()),
            }
        )
    return rows


def _masks(annotations: Annotations) -> tuple[list[np.ndarray], list[int]]:
    pixels = [mask_pixels(nucleus["segmentation"]) for nucleus in annotations]
    return pixels, [nucleus["category_id"] for nucleus in annotations]


def _predicted(nuclei: Annotations, size: tuple[int, int], num_classes: int) -> Nuclei:
    pixels, classes = _masks(nuclei)
    scores = np.array([nucleus["score"] for nucleus in nuclei], dtype=np.float32)
    return predicted_nuclei(pixels, np.array(classes, dtype=np.intp), scores, size, num_classes)


def _points(nuclei: Annotations) -> Nuclei:
    points = np.array([nucleus["point"] for nucleus in nuclei], dtype=np.float64)
    return Nuclei(points.reshape(-1, 2), _classes(nuclei))


def _image_outlines(pairing: Pairing, annotations: Annotations, nuclei: Annotations) -> Outlines:
    return Outlines(
        gt_classes=_classes(annotations)[pairing.gt_indices],
        gt_areas=pairing.overlap.gt_areas,
        gt_ious=np.where(pairing.matched, pairing.ious, 0).max(axis=1, initial=0),
        pred_classes=_classes(nuclei)[pairing.pred_indices],
        pred_areas=pairing.overlap.pred_areas,
        pred_matched=pairing.matched.any(axis=0),
        scores=np.array([nucleus["score"] for nucleus in nuclei], dtype=np.float64),
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
    for kind, side in ERRORS.items():
        indices, classes = sides[side]
        wrong = indices[np.flatnonzero(getattr(pairing, kind))]
        errors[kind] = [Place(image, int(index), int(classes[index])) for index in wrong]
    return errors


def _point_errors(image: int, gt: Nuclei, pred: Nuclei, radius: float) -> dict[str, list[Place]]:
    """The nuclei without a partner, of both sides."""
    paired = pair_points(gt.points, pred.points, radius)
    errors = {}
    for kind, side, of_pairs in zip(("missed", "invented"), (gt, pred), paired, strict=True):
        alone = np.setdiff1d(np.arange(len(side.classes)), of_pairs)
        errors[kind] = [Place(image, int(index), int(side.classes[index])) for index in alone]
    return errors


def _classes(nuclei: Annotations) -> np.ndarray:
    return np.array([nucleus["category_id"] for nucleus in nuclei], dtype=np.intp)


def _largest_ious(nuclei: Annotations, annotations: Annotations) -> np.ndarray:
    if not nuclei or not annotations:
        return np.zeros(len(nuclei))
    pred, gt = ([each["segmentation"] for each in side] for side in (nuclei, annotations))
    return mask_utils.iou(pred, gt, [0] * len(gt)).max(axis=1)


def _joined(outlines: Sequence[Outlines]) -> Outlines:
    return Outlines(
        **{
            name: np.concatenate([getattr(each, name) for each in outlines])
            for name in Outlines.__dataclass_fields__
        }
    )


def _edges(values: np.ndarray, most: int) -> np.ndarray:
    """Inner edges between at most `most` bins of equally many values, none of them too small."""
    count = max(1, min(most, values.size // _LEAST_IN_BIN))
    if not values.size:
        return np.zeros(0)
    return np.unique(np.quantile(values, np.arange(1, count) / count))


def _count(classes: np.ndarray, category: int) -> int:
    """Nuclei of a class, or of all for -1."""
    return int(classes.size if category < 0 else np.count_nonzero(classes == category))


def _count_errors(places: Sequence[Place], category: int) -> int:
    return _count(np.array([place.category for place in places]), category)
