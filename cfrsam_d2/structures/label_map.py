"""The masks of a label map: the inverse of painting them into one."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from .masks import BoxMask


def label_masks(labels: np.ndarray) -> Iterator[tuple[int, BoxMask]]:
    """Cut every label out of its map, in a time that does not grow with their number.

    Args:
        labels: (H, W) integers: 1 to N are masks, of one or more pieces, others background. N may
            be larger than the number of labels that are there, but memory grows with it.

    Returns:
        Pairs of a label and its mask, by rising label.
    """
    for index, box in enumerate(ndimage.find_objects(labels)):
        if box is not None:
            yield index + 1, BoxMask(box[1].start, box[0].start, labels[box] == index + 1)
