"""The nuclei of an image as one map of their labels, and its files."""

import io

import numpy as np
import tifffile

from .prediction import Prediction


def label_map(prediction: Prediction) -> np.ndarray:
    """Paint the masks; where nuclei overlap, the better-scored one lies on top.

    Args:
        prediction: of one image, with masks.

    Returns:
        (H, W) int32: 0 is background, other values are labels.
    """
    return prediction.instances.pred_masks.label_map().numpy()


def label_tiff(prediction: Prediction) -> bytes:
    """The label map as a TIFF file of uint32, losslessly compressed."""
    file = io.BytesIO()
    labels = label_map(prediction).astype(np.uint32)
    tifffile.imwrite(file, labels, photometric="minisblack", compression="zlib")
    return file.getvalue()


def label_npy(prediction: Prediction) -> bytes:
    """The label map as a NumPy file of int32."""
    file = io.BytesIO()
    np.save(file, label_map(prediction))
    return file.getvalue()
