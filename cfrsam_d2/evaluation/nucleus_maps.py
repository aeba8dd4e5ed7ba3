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
        classes: (N,) contiguous ids 0..K-1; of ground truth of unknown class `UNKNOWN_CLASS`, -1.
        scores: (N,) of predictions, any scale; of ground truth 1.
    """

    points: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class NucleusMaps(NucleusPoints):
    """The same with their masks.

    Attributes:
        label_map: (H, W) ids of all nuclei, whatever their class: positions in their list, plus 1.
        label_classes: (L,) contiguous classes of all ids, of that of 1 first.
        class_maps: (K, H, W) ids of each class's nuclei, each class painted by itself.
        unknown_map: (H, W) those of unknown class.
    """

    label_map: np.ndarray
    label_classes: np.ndarray
    class_maps: np.ndarray
    unknown_map: np.ndarray

    @property
    def visible_class_maps(self) -> np.ndarray:
        """(K, H, W) each class's part of the one `label_map`, without what others cover of it."""
        pixels = np.flatnonzero(self.label_map)
        ids = self.label_map.ravel()[pixels]
        num_classes, *size = self.class_maps.shape
        parts = np.zeros((num_classes + 1, *size), dtype=np.int32)  # the last of unknown class, -1
        parts.reshape(len(parts), -1)[self.label_classes[ids - 1], pixels] = ids
        return parts[:-1]


def ground_truth_maps(
    masks: Sequence[np.ndarray],
    classes: np.ndarray | Sequence[int],
    size: tuple[int, int],
    num_classes: int,
) -> NucleusMaps:
    """Paint whole ground-truth masks: each class in a map of its own, then 0→K-1 into one.

    Nuclei of unknown class lie below the others there.

    Args:
        masks: N arrays of indices into the flattened image.
        classes: N contiguous ids, or `UNKNOWN_CLASS`, -1.
        size: H, W.
        num_classes: K.
    """
    classes = np.asarray(classes, dtype=np.intp)
    order = np.argsort(classes, kind="stable")
    return _painted(masks, classes, np.ones(len(classes)), order, size, num_classes)


def predicted_maps(
    masks: Sequence[np.ndarray],
    classes: np.ndarray,
    scores: np.ndarray,
    size: tuple[int, int],
    num_classes: int,
) -> NucleusMaps:
    """Paint predicted masks lowest score first: each class in a map of its own, and all into one.

    Args:
        masks: N arrays of indices into the flattened image; those without a pixel are no nuclei.
        classes: (N,) contiguous ids.
        scores: (N,) any scale.
        size: H, W.
        num_classes: K.
    """
    order = np.argsort(scores, kind="stable")
    return _painted(masks, classes, scores, order, size, num_classes)


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


def _painted(
    masks: Sequence[np.ndarray],
    classes: np.ndarray,
    scores: np.ndarray,
    order: np.ndarray,
    size: tuple[int, int],
    num_classes: int,
) -> NucleusMaps:
    """Paint the masks in this order, a later one over an earlier."""
    label_map = np.zeros(size, dtype=np.int32)
    class_maps = np.zeros((num_classes + 1, *size), dtype=np.int32)  # the last of unknown class, -1
    for index in order:
        label_map.ravel()[masks[index]] = index + 1
        class_maps[classes[index]].ravel()[masks[index]] = index + 1
    points, seen = _centroids(masks, width=size[1])
    return NucleusMaps(
        points=points,
        classes=classes[seen],
        scores=scores[seen],
        label_map=label_map,
        label_classes=classes,
        class_maps=class_maps[:-1],
        unknown_map=class_maps[-1],
    )


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
