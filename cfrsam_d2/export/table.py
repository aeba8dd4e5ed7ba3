"""The nuclei of an image as a CSV table."""

import csv
import io

from ..csv_cells import text_cell
from .prediction import Prediction

COLUMNS = ("label", "class", "score", "x", "y", "area")


def nucleus_table(prediction: Prediction) -> str:
    """One row per nucleus, best score first, under a row of column names.

    Args:
        prediction: of one image.

    Returns:
        CSV text. x and y are the centroid in pixel-index units (the centre of the first pixel is
        0, 0), area is in px; where points alone are predicted, x and y are the point's and area is
        empty.
    """
    instances = prediction.instances
    centers, areas = instances.pred_points, [""] * len(instances)
    if prediction.has_masks:
        centers, areas = instances.pred_masks.centroids(), instances.pred_masks.areas().tolist()
    columns = (instances.pred_classes.tolist(), instances.scores.tolist(), centers.tolist(), areas)
    names = [text_cell(name) for name in prediction.classes]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for label, (category, score, (x, y), area) in enumerate(zip(*columns, strict=True), start=1):
        writer.writerow((label, names[category], f"{score:.6f}", f"{x:.3f}", f"{y:.3f}", area))
    return text.getvalue()
