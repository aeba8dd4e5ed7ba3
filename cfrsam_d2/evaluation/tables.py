"""From the records of images to tables and metrics; undefined values are NaN, means leave them out.

A table is a list of rows, a row a dict from column to value: what is printed is what is written.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .detection import class_scores, detection_scores, mean_class_f1
from .image_scores import ImageScores, SegmentationScores
from .lost_quality import KINDS
from .panoptic_quality import pool

Row = dict[str, Any]

TISSUE_SCORES = ("bPQ", "mPQ", "mPQ_one_map")


def summarize(
    images: Sequence[ImageScores], class_names: Sequence[str], tissues: Sequence[str] = ()
) -> OrderedDict[str, dict[str, float]]:
    """Average the records of a dataset into groups of named metrics, 0..1 or NaN.

    Args:
        images: at least one record; all with segmentation or none.
        class_names: K names.
        tissues: names in the order of the tables; others follow in the order of the images.

    Returns:
        "segmentation", "class_pq", "tissue_bpq", "tissue_mpq", "lost_bpq", "lost_mpq" (these six
        only if masks were predicted), "detection", "classification". "mean_class_F1" of "detection"
        is there if all records have `class_counts`. Names hold no "-", which Detectron2's
        `print_csv_format` would hide: Bile-duct becomes Bile_duct.
    """
    groups = OrderedDict()
    if has_segmentation(images):
        tissue_rows = tissue_table(images, tissues)
        class_rows = class_table(images, class_names)
        groups["segmentation"] = _segmentation_metrics(images, tissue_rows, class_rows)
        groups["class_pq"] = _column(class_rows, "class", "PQ")
        groups["tissue_bpq"] = _column(tissue_rows, "tissue", "bPQ")
        groups["tissue_mpq"] = _column(tissue_rows, "tissue", "mPQ")
        for row in lost_table(images):
            name, *kinds = row.items()
            groups[f"lost_{name[1].lower()}"] = {_metric_name(key): part for key, part in kinds}
    of_all, *of_classes = detection_table(images, class_names)
    groups["detection"] = {score: of_all[score] for score in ("P", "R", "F1")}
    counts = [image.class_counts for image in images if image.class_counts is not None]
    if len(counts) == len(images):
        groups["detection"]["mean_class_F1"] = mean_class_f1(np.sum(counts, axis=0))
    groups["classification"] = {
        _metric_name(f"{score}_{row['nuclei']}"): row[score]
        for score in ("F1", "P", "R")
        for row in of_classes
    }
    return groups


def has_segmentation(images: Sequence[ImageScores]) -> bool:
    """Tell whether masks were predicted, or points alone."""
    return any(image.segmentation is not None for image in images)


def image_table(images: Sequence[ImageScores], class_names: Sequence[str]) -> list[Row]:
    """One row per image."""
    rows = []
    for image in images:
        row = {"image_id": image.image_id, "file_name": image.file_name, "tissue": image.tissue}
        scores = image.segmentation
        if scores is not None:
            row |= {"bPQ": scores.bpq, "mPQ": _mean(scores.class_pqs)}
            row["mPQ_one_map"] = _mean(scores.class_pqs_one_map)
            row |= {"DQ": scores.dq, "SQ": scores.sq, "AJI": scores.aji, "AJI+": scores.aji_plus}
        row["n_gt"] = int(image.confusion[:-1].sum() + image.unknown_counts.sum())
        row["n_pred"] = int(image.confusion[:, :-1].sum() + image.unknown_counts[:-1].sum())
        if scores is not None:
            names = [f"PQ_{name}" for name in class_names]
            row |= zip(names, scores.class_pqs, strict=True)
        rows.append(row)
    return rows


def tissue_table(images: Sequence[ImageScores], tissues: Sequence[str] = ()) -> list[Row]:
    """Image means of bPQ and both mPQ, one row per tissue (Table 1 without its last two rows)."""
    rows = []
    for tissue in dict.fromkeys([*tissues, *(image.tissue for image in images)]):
        scores = _segmentations(image for image in images if image.tissue == tissue)
        row = {"tissue": tissue, "images": len(scores), "bPQ": _mean(score.bpq for score in scores)}
        row["mPQ"] = _mean(_mean(score.class_pqs) for score in scores)
        row["mPQ_one_map"] = _mean(_mean(score.class_pqs_one_map) for score in scores)
        rows.append(row)
    return rows


def lost_table(images: Sequence[ImageScores]) -> list[Row]:
    """What is missing to 1 in bPQ and mPQ, by kind of error; means as those of the scores."""
    parts: dict[str, list[np.ndarray]] = {"bPQ": [], "mPQ": []}
    for tissue in dict.fromkeys(image.tissue for image in images):
        scores = _segmentations(image for image in images if image.tissue == tissue)
        parts["bPQ"].append(_mean_rows([score.lost for score in scores]))
        parts["mPQ"].append(_mean_rows([_mean_rows(score.lost_by_class) for score in scores]))
    return [
        {"lost of": name, **dict(zip(KINDS, _mean_rows(of_tissues).tolist(), strict=True))}
        for name, of_tissues in parts.items()
    ]


def class_table(images: Sequence[ImageScores], class_names: Sequence[str]) -> list[Row]:
    """PQ of every class: mean over images (Table 4), and PQ_plus from counts pooled over them."""
    rows, scores = [], _segmentations(images)
    for class_id, name in enumerate(class_names):
        image_pqs = (score.class_pqs[class_id] for score in scores)
        pooled = pool([score.by_class[class_id] for score in scores])
        rows.append({"class": name, "PQ": _mean(image_pqs), "PQ_plus": pooled.pq})
    return rows


def detection_table(images: Sequence[ImageScores], class_names: Sequence[str]) -> list[Row]:
    """Precision, recall and F1 pooled over images: all nuclei first, then every class (Table 3)."""
    confusion = np.sum([image.confusion for image in images], axis=0)
    unknown = np.sum([image.unknown_counts for image in images], axis=0)
    scores = {"all": detection_scores(confusion, unknown)}
    scores |= {name: class_scores(confusion, index) for index, name in enumerate(class_names)}
    return [
        {"nuclei": name, "P": score.precision, "R": score.recall, "F1": score.f1}
        for name, score in scores.items()
    ]


def average_and_std_rows(tissue_rows: Sequence[Row]) -> list[Row]:
    """The last two rows of Table 1: unweighted mean and sample deviation over tissues."""
    num_images = sum(row["images"] for row in tissue_rows)
    columns = {name: [row[name] for row in tissue_rows] for name in TISSUE_SCORES}
    return [
        {"tissue": "Average", "images": num_images}
        | {name: _mean(values) for name, values in columns.items()},
        {"tissue": "Std", "images": num_images}
        | {name: _std(values) for name, values in columns.items()},
    ]


def _segmentation_metrics(
    images: Sequence[ImageScores], tissue_rows: Sequence[Row], class_rows: Sequence[Row]
) -> dict[str, float]:
    """bPQ and both mPQ are means over tissues, as in the paper; the others are over images."""
    average, std = average_and_std_rows(tissue_rows)
    scores = _segmentations(images)
    return {
        "bPQ": average["bPQ"],
        "mPQ": average["mPQ"],
        "bPQ_std": std["bPQ"],
        "mPQ_std": std["mPQ"],
        "DQ": _mean(score.dq for score in scores),
        "SQ": _mean(score.sq for score in scores),
        "AJI": _mean(score.aji for score in scores),
        "AJI_plus": _mean(score.aji_plus for score in scores),
        "bPQ_image": _mean(score.bpq for score in scores),
        "mPQ_image": _mean(_mean(score.class_pqs) for score in scores),
        "mPQ_one_map": average["mPQ_one_map"],
        "mPQ_plus": _mean(row["PQ_plus"] for row in class_rows),
    }


def _segmentations(images: Iterable[ImageScores]) -> list[SegmentationScores]:
    return [image.segmentation for image in images if image.segmentation is not None]


def _column(rows: Sequence[Row], key: str, value: str) -> dict[str, float]:
    return {_metric_name(row[key]): row[value] for row in rows}


def _metric_name(name: str) -> str:
    return name.replace("-", "_").replace(" ", "_")


def _mean(values: Iterable[float]) -> float:
    known = _known(values)
    return float(known.mean()) if known.size else float("nan")


def _mean_rows(rows: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The mean of rows, of which those of NaN are left out."""
    rows = np.asarray(rows)
    known = rows[~np.isnan(rows).any(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(rows.shape[1], np.nan)


def _std(values: Iterable[float]) -> float:
    """Sample standard deviation: the paper's Std rows divide by one less than the tissues."""
    known = _known(values)
    return float(known.std(ddof=1)) if known.size > 1 else float("nan")


def _known(values: Iterable[float]) -> np.ndarray:
    values = np.array(list(values), dtype=np.float64)
    return values[~np.isnan(values)]
