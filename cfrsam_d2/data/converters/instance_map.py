"""Maps of numbers, one per pixel: ids of instances, 0 outside them, and types."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import UserError
from ...structures.label_map import label_masks
from ...structures.masks import BoxMask

_MOST = 2**53  # the last of the whole numbers that float64 holds all of


def whole_numbers(values: Any, source: str) -> np.ndarray:
    """Check ids or types, which some files keep as floating point.

    Args:
        values: an array of any shape.
        source: what the error calls them.

    Returns:
        The array as int64.

    Raises:
        UserError: some are no whole numbers, negative, or too large to be exact in float64.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "buif" or not np.isfinite(values).all():
        raise UserError(f"{source} is not made of numbers: export it again")
    wrong = (values < 0) | (values > _MOST)
    if values.dtype.kind == "f":
        wrong |= values != np.trunc(values)
    if wrong.any():
        raise UserError(f"{source} has the value {values[wrong][0]}: write whole numbers from 0 on")
    return values.astype(np.int64)


def types_of_instances(inst_map: np.ndarray, type_map: np.ndarray, source: str) -> dict[int, int]:
    """The most frequent type among the pixels of each instance; 0, background, if it has no other.

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
    typed = (inst_map > 0) & (type_map > 0)
    ids, types = np.unique(inst_map[inst_map > 0]), np.unique(type_map[typed])
    # By their ranks: products of ids and types as they are could be too large.
    id_ranks, type_ranks = (
        np.searchsorted(ids, inst_map[typed]),
        np.searchsorted(types, type_map[typed]),
    )
    pairs, counts = np.unique(id_ranks * (types.size + 1) + type_ranks, return_counts=True)
    id_ranks, type_ranks = np.divmod(pairs[np.argsort(counts, kind="stable")], types.size + 1)
    # Of an id, the last type stays.
    most = zip(ids[id_ranks].tolist(), types[type_ranks].tolist(), strict=True)
    return dict.fromkeys(ids.tolist(), 0) | dict(most)


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
