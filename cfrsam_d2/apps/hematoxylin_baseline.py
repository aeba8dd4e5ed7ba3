"""What `tools/hematoxylin_baseline.py` does: nuclei by their stain alone, scored as a model's."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Instances
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed
from tqdm import tqdm

from ..data.image import read_rgb
from ..engine import check_registered
from ..evaluation import NucleusEvaluator
from ..structures.coco import UNKNOWN_CLASS
from ..structures.label_map import label_masks
from ..structures.masks import BoxMasks

SMALLEST_NUCLEUS = 30  # px at 40x
SMOOTHING = 1.0  # px, of stain and of distances
PEAK_DISTANCE = 6  # px between the centres of two nuclei


def segment_nuclei(image: np.ndarray) -> np.ndarray:
    """Segment by stain: (H, W, 3) uint8 RGB to (H, W) labels, 0 background."""
    hematoxylin = gaussian(rgb2hed(image)[..., 0], SMOOTHING)
    if np.ptp(hematoxylin) == 0:
        return np.zeros(image.shape[:2], dtype=np.int32)
    stained: Any = ndimage.binary_fill_holes(hematoxylin > threshold_otsu(hematoxylin))
    foreground = drop_small(stained)
    distance = gaussian(ndimage.distance_transform_edt(foreground), SMOOTHING)
    peaks = peak_local_max(distance, min_distance=PEAK_DISTANCE, labels=parts_of(foreground))
    markers = np.zeros(image.shape[:2], dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, markers, mask=foreground)


def drop_small(foreground: np.ndarray) -> np.ndarray:
    """The parts of a mask (H, W) that are large enough for a nucleus."""
    parts = parts_of(foreground)
    return foreground & (np.bincount(parts.ravel()) >= SMALLEST_NUCLEUS)[parts]


def parts_of(foreground: np.ndarray) -> np.ndarray:
    """The number of the connected part that each px of a mask (H, W) is of, 0 outside."""
    parts: Any = ndimage.label(foreground)
    return parts[0]


def to_instances(labels: np.ndarray, category: int) -> Instances:
    """The nuclei of a label map (H, W) as predictions of one class, all of score 1."""
    masks = BoxMasks.from_box_masks([mask for _, mask in label_masks(labels)], labels.shape)
    return Instances(
        labels.shape,
        pred_masks=masks,
        pred_points=masks.centroids().float(),
        pred_classes=torch.full((len(masks),), category),
        scores=torch.ones(len(masks)),
    )


def evaluate(dataset_name: str, output: Path) -> dict[str, dict[str, float]]:
    """Segment and score every image of a registered dataset.

    Raises:
        UserError: it is not registered.
    """
    check_registered("--dataset", dataset_name)
    evaluator = NucleusEvaluator(dataset_name, str(output), distributed=False)
    images: list[dict[str, Any]] = DatasetCatalog.get(dataset_name)
    classes = Counter(nucleus["category_id"] for each in images for nucleus in each["annotations"])
    classes.pop(UNKNOWN_CLASS, None)
    category = classes.most_common(1)[0][0] if classes else 0
    for image in tqdm(images, unit="image"):
        labels = segment_nuclei(read_rgb(image["file_name"]))
        evaluator.process([image], [{"instances": to_instances(labels, category)}])
    return evaluator.evaluate()
