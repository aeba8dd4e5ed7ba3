"""The nuclei of one image in the form that is scored: label maps, centroids, classes.

N nuclei, K classes, H×W px. Masks come as indices into the flattened (H, W) image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NucleusPoints:
    """The nuclei of one image, ground truth or prediction: where they lie, and their classes.

    Attributes:
        points: (N, 2) centroids x, y in px.
        classes: (N,) contiguous ids 0..K-1.
    """

    points: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class NucleusMaps(NucleusPoints):
    """The same with their masks.

    Attributes:
        label_map: (H, W) ids of all nuclei, whatever their class: positions in their list, plus 1.
        class_maps: (K, H, W) ids of each class's nuclei.
    """

    label_map: np.ndarray
    class_maps: np.ndarray


def ground_truth_maps(
    masks: Sequence[np.ndarray],
    classes: np.ndarray | Sequence[int],
    size: tuple[int, int],
    num_classes: int,
) -> NucleusMaps:
    """Paint whole ground-truth masks: each class in a map of its own, then 0→K-1 into one.

    Args:
        masks: N arrays of indices into the flattened image.
        classes: N contiguous ids.
        size: H, W.
        num_classes: K.
    """
    label_map = np.zeros(size, dtype=np.int32)
    class_maps = np.zeros((num_classes, *size), dtype=np.int32)
    classes = np.asarray(classes, dtype=np.intp)
    for index in np.argsort(classes, kind="stable"):
        label_map.ravel()[masks[index]] = index + 1
        class_maps[classes[index]].ravel()[masks[index]] = index + 1
    points, seen = _centroids(masks, width=size[1])
    return NucleusMaps(points, classes[seen], label_map, class_maps)


def predicted_maps(
    masks: Sequence[np.ndarray],
    classes: np.ndarray,
    scores: np.ndarray,
    size: tuple[int, int],
    num_classes: int,
) -> NucleusMaps:
    """Paint predicted masks lowest score first; a class's map is its part of that one map.

    Args:
        masks: N arrays of indices into the flattened image; those without a pixel are no nuclei.
        classes: (N,) contiguous ids.
        scores: (N,) any scale.
        size: H, W.
        num_classes: K.
    """
    label_map = np.zeros(size, dtype=np.int32)
    for index in np.argsort(scores, kind="stable"):
        label_map.ravel()[masks[index]] = index + 1
    pixels = np.flatnonzero(label_map != 0)
    ids = label_map.ravel()[pixels]
    class_maps = np.zeros((num_classes, label_map.size), dtype=np.int32)
    class_maps[classes[ids - 1], pixels] = ids
    points, seen = _centroids(masks, width=size[1])
    return NucleusMaps(points, classes[seen], label_map, class_maps.reshape(num_classes, *size))


def pannuke_maps(masks: np.ndarray) -> NucleusMaps:
    """Read one image of PanNuke's release layout, ground truth or prediction.

    Args:
        masks: (H, W, K+1) instance ids, unique within their channel; the last channel, background,
            is not read.
    """
    height, width, num_channels = masks.shape
    flat = masks.reshape(-1, num_channels)
    nuclei, classes = [], []
    for class_id in range(num_channels - 1):
        pixels = np.flatnonzero(flat[:, class_id] != 0)
        of_class = _split_by_id(pixels, flat[pixels, class_id])
        nuclei += of_class
        classes += [class_id] * len(of_class)
    return ground_truth_maps(nuclei, classes, (height, width), num_channels - 1)


def _split_by_id(pixels: np.ndarray, ids: np.ndarray) -> list[np.ndarray]:
    """Split indices of foreground pixels into one array per nucleus, in the order of ids."""
    order = np.argsort(ids, kind="stable")
    starts = np.flatnonzero(np.diff(ids[order])) + 1
    return np.split(pixels[order], starts) if pixels.size else []


def _centroids(masks: Sequence[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the centroids (x, y) of the masks that have pixels, and the indices of those."""
    areas = np.array([mask.size for mask in masks], dtype=np.intp)
    seen = np.flatnonzero(areas)
    pixels = np.concatenate([*masks, np.zeros(0, dtype=np.intp)])
    owners = np.repeat(np.arange(areas.size), areas)
    y, x = np.divmod(pixels, width)
    sums = np.stack([np.bincount(owners, axis, minlength=areas.size) for axis in (x, y)], axis=1)
    return sums[seen] / areas[seen, None], seen
