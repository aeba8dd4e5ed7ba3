"""The nuclei of an image as a CSV table."""

import csv
import io

from .nuclei import Prediction

COLUMNS = ("label", "class", "score", "x", "y", "area")


def nucleus_table(prediction: Prediction) -> str:
    """One row a nucleus, best score first, under a row of column names.

    Args:
        prediction: of one image.

    Returns:
        CSV text. x and y are the centroid in pixel-index units (the centre of the first pixel is
        0, 0), area is in px and empty where points alone are predicted.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for nucleus in prediction.nuclei:
        x, y = nucleus.centroid
        area = "" if nucleus.mask is None else int(nucleus.mask.sum())
        name = prediction.classes[nucleus.category]
        writer.writerow((nucleus.label, name, f"{nucleus.score:.6f}", f"{x:.3f}", f"{y:.3f}", area))
    return text.getvalue()
