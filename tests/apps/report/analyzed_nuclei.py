"""Nuclei of images of 64×64 px, as a dataset and a prediction have them."""

import numpy as np

from cfrsam_d2.apps.report.error_analysis import ErrorAnalysis, analyze_errors
from cfrsam_d2.structures.masks import BoxMask
from cfrsam_d2.structures.rle import encode_mask


def analyzed(images, predictions, num_classes=2, *, has_masks=True) -> ErrorAnalysis:
    """Analyse lists of (mask, class, score) per side."""
    dicts = [
        {
            "height": 64,
            "width": 64,
            "annotations": [_record(mask, category) for mask, category in nuclei],
        }
        for nuclei in images
    ]
    nuclei = [[{**_record(*each[:2]), "score": each[2]} for each in of] for of in predictions]
    return analyze_errors(dicts, nuclei, num_classes, has_masks=has_masks)


def _record(mask: np.ndarray, category: int) -> dict:
    y, x = np.argwhere(mask).mean(axis=0).tolist()
    return {
        "segmentation": encode_mask(BoxMask.of_frame(mask), 64, 64),
        "category_id": category,
        "point": [x, y],
    }
