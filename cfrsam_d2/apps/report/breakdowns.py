"""Scores and errors broken down: by size and density of nuclei, by predicted IoU, by class.

B images, N ground-truth nuclei and M predicted nuclei of all of them.
"""

from collections.abc import Sequence

import numpy as np

from ...evaluation.panoptic_quality import PanopticQuality
from ...evaluation.tables import Row
from .error_analysis import ErrorAnalysis, Outlines, Place

CALIBRATION_BINS = 10
_SIZE_BINS = 8
_DENSITY_BINS = 6
_LEAST_IN_BIN = 5


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
    """The mean IoU of predictions by the IoU that the model expects.

    Args:
        scores: (M,) predicted IoU, clipped to 0..1.
        ious: (M,) actual IoU.

    Returns:
        A row per tenth of 0..1 with predictions in it (1 belongs to the last): `from`, `to`,
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


def error_table(analysis: ErrorAnalysis, class_names: Sequence[str]) -> list[Row]:
    """How many nuclei of each class were matched, and how many of each error; all first.

    "All" holds those of unknown class, too.

    Args:
        analysis: of a run with masks.
        class_names: by contiguous id.

    Returns:
        Rows in which each nucleus counts for its own class: ground-truth nuclei as "nuclei",
        "matched", "missed" and "split", predicted ones as "predicted", "false positive" and
        "merged".
    """
    outlines, errors = analysis.outlines, analysis.errors
    assert outlines is not None
    return [
        {
            "class": name,
            "nuclei": _count(outlines.gt_classes, category),
            "matched": _count(outlines.gt_classes[outlines.gt_ious > 0], category),
            "missed": _count_errors(errors["missed"], category),
            "split": _count_errors(errors["split"], category),
            "predicted": _count(outlines.pred_classes, category),
            "false positive": _count_errors(errors["false positive"], category),
            "merged": _count_errors(errors["merged"], category),
        }
        for category, name in enumerate(["all", *class_names], start=-1)
    ]


def point_error_table(analysis: ErrorAnalysis, class_names: Sequence[str]) -> list[Row]:
    """How many points of each class were paired or not, all first; each counts for its own class.

    "All" holds nuclei of unknown class, too, and a class the points that are paired with them.

    Args:
        analysis: of any run.
        class_names: by contiguous id.
    """
    confusion, unknown = analysis.confusions.sum(axis=0), analysis.unknown.sum(axis=0)
    rows = []
    for category, name in enumerate(["all", *class_names], start=-1):
        ids = slice(0, len(class_names)) if category < 0 else slice(category, category + 1)
        nuclei, predicted = confusion[ids], confusion[:, ids]
        found, missed = nuclei[:, :-1].sum(), nuclei[:, -1].sum()
        if category < 0:
            found, missed = found + unknown[:-1].sum(), missed + unknown[-1]
        rows.append(
            {
                "class": name,
                "nuclei": int(found + missed),
                "found": int(found),
                "missed": int(missed),
                "predicted": int(predicted.sum() + unknown[:-1][ids].sum()),
                "false positive": int(predicted[-1].sum()),
            }
        )
    return rows


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
