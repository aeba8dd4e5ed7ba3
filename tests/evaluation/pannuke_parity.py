"""Every array of the published PanNuke numbers beside ours."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cfrsam_d2.data.converters.pannuke_layout import PANNUKE_TISSUES
from cfrsam_d2.evaluation import score_pannuke_arrays, summarize
from cfrsam_d2.evaluation.detection import class_scores, detection_scores
from cfrsam_d2.evaluation.tables import class_table, image_table, tissue_table

INPUTS = {"true_masks", "pred_masks", "types", "hover_images"}


def compare_with_published(fixtures: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """Yield name, our array, theirs and the largest difference allowed, for every stored array."""
    with np.load(fixtures / "pannuke_metrics.npz") as file:
        stored = dict(file)
    ours = _our_arrays(stored)
    missing = stored.keys() - ours.keys() - INPUTS
    assert not missing, f"nothing of ours to compare with {sorted(missing)}"
    for name, values in ours.items():
        yield name, np.array(values), stored[name], 1e-4 if name.startswith("hover") else 1e-6


def _our_arrays(stored: dict[str, np.ndarray]) -> dict[str, object]:
    images = score_pannuke_arrays(stored["true_masks"], stored["pred_masks"], stored["types"])
    class_ids = range(stored["true_masks"].shape[-1] - 1)
    class_names = [str(class_id) for class_id in class_ids]
    segmentation = summarize(images, class_names, PANNUKE_TISSUES)["segmentation"]
    rows, tissues = image_table(images, class_names), tissue_table(images, PANNUKE_TISSUES)
    confusion = sum(images[index].confusion for index in stored["hover_images"])
    return {
        "bpq_image": [row["bPQ"] for row in rows],
        "dq_image": [row["DQ"] for row in rows],
        "sq_image": [row["SQ"] for row in rows],
        "aji_image": [row["AJI"] for row in rows],
        "aji_plus_image": [row["AJI+"] for row in rows],
        "pq_class_image": [[row[f"PQ_{name}"] for name in class_names] for row in rows],
        "class_pq": [row["PQ"] for row in class_table(images, class_names)],
        "tissue_bpq": [row["bPQ"] for row in tissues],
        "tissue_mpq": [row["mPQ"] for row in tissues],
        "bpq": segmentation["bPQ"],
        "mpq": segmentation["mPQ"],
        "image_bpq": segmentation["bPQ_image"],
        "image_mpq": segmentation["mPQ_image"],
        "hover_f1_detection": detection_scores(confusion).f1,
        "hover_f1_class": [class_scores(confusion, class_id).f1 for class_id in class_ids],
        "hover_type_accuracy": np.trace(confusion) / confusion[:-1, :-1].sum(),
    }
