"""Overlapping masks as a few label maps, so that one warp moves all nuclei of an image.

Letters: N nuclei, L layers (1 without overlaps, 2 or 3 with them), H×W px.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..structures.label_map import label_masks
from ..structures.masks import BoxMask


class Nucleus(NamedTuple):
    """A mask, and the index of the annotation that it comes from."""

    index: int
    mask: BoxMask


def pack_layers(masks: Iterable[BoxMask], height: int, width: int) -> np.ndarray:
    """Draw each mask into the first label map where it overlaps nothing.

    Args:
        masks: N masks inside the image.
        height: H in px.
        width: W in px.

    Returns:
        (H, W, L) int32, L ≥ 1: 0 is background, i + 1 the pixels of mask i. An empty mask leaves
        no trace.
    """
    layers = [np.zeros((height, width), np.int32)]
    for label, mask in enumerate(masks, start=1):
        drawn = (layer[mask.in_image] for layer in layers)
        free = next((part for part in drawn if not part[mask.pixels].any()), None)
        if free is None:
            layers.append(np.zeros((height, width), np.int32))
            free = layers[-1][mask.in_image]
        free[mask.pixels] = label
    return np.stack(layers, axis=-1)


def unpack_layers(layers: np.ndarray) -> list[Nucleus]:
    """Find every label of the layers again.

    Args:
        layers: (H, W, L) int32, as `pack_layers` makes them, perhaps transformed since.

    Returns:
        The nuclei that have at least one pixel left, in the order of their annotations.
    """
    nuclei = [
        Nucleus(label - 1, mask)
        for layer in np.moveaxis(layers, -1, 0)
        for label, mask in label_masks(layer)
    ]
    return sorted(nuclei, key=lambda nucleus: nucleus.index)
