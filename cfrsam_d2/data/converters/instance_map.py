"""Maps of numbers, one per pixel: ids of instances, 0 outside them, and types."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import UserError
from ...structures.label_map import label_masks
from ...structures.masks import BoxMask


def whole_numbers(values: Any, source: str) -> np.ndarray:
    """Check ids or types, which some files keep as floating point.

    Args:
        values: an array of any shape.
        source: what the error calls them.

    Returns:
        The array as int64.

    Raises:
        UserError: some are no whole numbers, or negative.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "buif" or not np.isfinite(values).all():
        raise UserError(f"{source} is not made of numbers: export it again")
    numbers = values.astype(np.int64)
    if (numbers != values).any() or (numbers < 0).any():
        wrong = values[(numbers != values) | (numbers < 0)][0]
        raise UserError(f"{source} has the value {wrong}: write whole numbers from 0 on")
    return numbers


def types_of_instances(inst_map: np.ndarray, type_map: np.ndarray, source: str) -> dict[int, int]:
    """The most frequent type among the pixels of each instance.

    Args:
        inst_map: (H, W) int64.
        type_map: (H, W) int64.
        source: what the error calls `type_map`.

    Returns:
        Types by id.

    Raises:
        UserError: the maps are of different sizes.
    """
    if type_map.shape != inst_map.shape:
        raise UserError(
            f"{source} has the shape {type_map.shape}, the map of instances {inst_map.shape}: "
            "export both at the size of the image"
        )
    inside = inst_map > 0
    num_types = type_map.max() + 1
    pairs, counts = np.unique(inst_map[inside] * num_types + type_map[inside], return_counts=True)
    ids, types = np.divmod(pairs[np.argsort(counts, kind="stable")], num_types)
    return dict(zip(ids.tolist(), types.tolist(), strict=True))  # of an id, the last type stays


def instance_masks(inst_map: np.ndarray) -> Iterator[tuple[int, BoxMask]]:
    """Yield each id with its mask; all its pieces are of one instance.

    Args:
        inst_map: (H, W) integers of any size; 0 and below: no instance.

    Returns:
        Pairs by rising id.
    """
    ids = np.unique(inst_map[inst_map > 0])
    labels = np.searchsorted(ids, inst_map, side="right")  # 1 to N: ids may be large, with gaps
    for label, mask in label_masks(labels):
        yield int(ids[label - 1]), mask
