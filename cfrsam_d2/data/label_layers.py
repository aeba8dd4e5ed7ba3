"""Overlapping masks as a few label maps, so that one warp moves all nuclei of an image.

Letters: N nuclei, L layers (1 without overlaps, 2 or 3 with them), H×W px.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage


class Nucleus(NamedTuple):
    """A mask cut to a box that holds it."""

    index: int  # of the annotation that it comes from
    top: int  # px
    left: int  # px
    mask: np.ndarray  # (h, w) bool


def pack_layers(masks: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """Draw each mask into the first label map where it overlaps nothing.

    Args:
        masks: N arrays (H, W) of bool. They are taken one at a time, so that N full frames need
            not be held.
        height: H in px.
        width: W in px.

    Returns:
        (H, W, L) int32, L ≥ 1: 0 is background, i + 1 the pixels of mask i. An empty mask leaves
        no trace.
    """
    layers = [np.zeros((height, width), np.int32)]
    for label, mask in enumerate(masks, start=1):
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        inside = mask[y : y + h, x : x + w]
        drawn = [layer[y : y + h, x : x + w] for layer in layers]
        free = next((layer for layer in drawn if not layer[inside].any()), None)
        if free is None:
            layers.append(np.zeros((height, width), np.int32))
            free = layers[-1][y : y + h, x : x + w]
        free[inside] = label
    return np.stack(layers, axis=-1)


def unpack_layers(layers: np.ndarray) -> list[Nucleus]:
    """Find every label of the layers again.

    Args:
        layers: (H, W, L) int32, as `pack_layers` makes them, perhaps transformed since.

    Returns:
        The nuclei that have at least one pixel left, in the order of their annotations.
    """
    nuclei = []
    for layer in np.moveaxis(layers, -1, 0):
        for index, box in enumerate(ndimage.find_objects(layer)):
            if box is not None:
                nuclei.append(Nucleus(index, box[0].start, box[1].start, layer[box] == index + 1))
    return sorted(nuclei, key=lambda nucleus: nucleus.index)


def split_cut_nuclei(before: list[Nucleus], after: list[Nucleus]) -> list[Nucleus]:
    """Make the pieces of nuclei that a transform has cut nuclei of their own.

    Grid shuffling cuts nuclei at the borders of its cells and moves the pieces apart, and the edge
    of a crop can leave two ends of a bent nucleus: one point between such pieces would be wrong.
    A nucleus annotated in several pieces stays one nucleus unless it has more of them afterwards.

    Args:
        before: the nuclei of the image as annotated.
        after: the nuclei of the transformed image.

    Returns:
        `after` with every cut nucleus replaced by its 8-connected pieces, in the same order.
    """
    num_before = {nucleus.index: len(_pieces(nucleus)) for nucleus in before}
    result = []
    for nucleus in after:
        pieces = _pieces(nucleus)
        result.extend(pieces if len(pieces) > num_before[nucleus.index] else [nucleus])
    return result


def _pieces(nucleus: Nucleus) -> list[Nucleus]:
    count, labels = cv2.connectedComponents(nucleus.mask.astype(np.uint8), connectivity=8)
    return [nucleus._replace(mask=labels == label) for label in range(1, count)]
