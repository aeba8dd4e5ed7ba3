"""Nuclei from label maps: image files, NumPy files and HoVer-Net's `.mat` files."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ....errors import UserError
from ....structures.masks import BoxMask
from ..instance_map import instance_masks, types_of_instances, whole_numbers
from ..mat import read_mat
from .classes import ClassNames
from .label_arrays import open_labels

TYPES_ENDING = "_types"  # of the name of a second map, of class ids
_BACKGROUND = 0  # as a type


def label_map_nuclei(
    path: Path, size: tuple[int, int], classes: ClassNames, changes: Counter[str]
) -> Iterator[tuple[BoxMask, int]]:
    """Yield the nuclei of a label map, all its instances whole.

    Args:
        path: a `.mat` file (see `read_mat`), or a PNG, TIFF or NPY file (see `read_label_map`).
        size: height and width of the image in px.
        classes: to which their classes belong.
        changes: gets what is left out, with counts: nuclei of type 0, which is background unless
            `classes` call it "unknown".

    Returns:
        Pairs of a mask and a class index.

    Raises:
        UserError: a file is damaged or is no such map, is of another size than the image, or a
            nucleus has no class.
    """
    if path.suffix.lower() == ".mat":
        inst_map, types = read_mat(path)
        _check_size(inst_map.shape, size, path)
    else:
        inst_map, types = read_label_map(path, size)
    for instance_id, mask in instance_masks(inst_map):
        class_id = None if types is None else types[instance_id]
        if class_id == _BACKGROUND and _BACKGROUND not in classes.by_id:
            changes["nuclei left out: of type 0, background"] += 1
            continue
        yield mask, classes.index(class_id, f"{path}: nucleus {instance_id}")


def read_label_map(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, dict[int, int] | None]:
    """Read the instances of an image and, if there is a map of them, their types.

    Args:
        path: a PNG, TIFF or NPY file of instance ids, (H, W), 0 outside nuclei. Types are in a
            second channel, as HoVer-Net trains on, (H, W, 2); or in `<name>_types` beside it, with
            the same suffix. That of most of a nucleus's pixels is its class.
        size: H, W of the image.

    Returns:
        (H, W) int64, and the type of each id in it, or None: as `read_mat`.

    Raises:
        UserError: a file is damaged, is of another size, is no map of whole numbers, or it is a
            mask without ids.
    """
    ids, types = _channels(path, size)
    _check_ids(ids, path)
    types_path = path.with_stem(path.stem + TYPES_ENDING)
    if types_path.exists():
        types = _types(types_path, size)
        path = types_path
    return ids, None if types is None else types_of_instances(ids, types, str(path))


def _channels(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """The map of ids and, of two channels, that of types."""
    opened = open_labels(path)
    shape = _without_ones(opened.shape)
    if shape in ((*size, 2), (2, *size)):
        values = whole_numbers(opened.read(), str(path)).reshape(shape)
        ids, types = np.moveaxis(values, -1 if shape[-1] == 2 else 0, 0)
        return ids, types
    if len(shape) != 2 or 0 in shape:
        colours = ", colours perhaps, which are no ids" if shape[-1:] in ((3,), (4,)) else ""
        raise UserError(
            f"{path} has the shape {shape}{colours}: save one channel of whole numbers, (H, W)"
        )
    _check_size(shape, size, path)
    return whole_numbers(opened.read(), str(path)).reshape(shape), None


def _types(path: Path, size: tuple[int, int]) -> np.ndarray:
    opened = open_labels(path)
    if _without_ones(opened.shape) != size:
        raise UserError(
            f"{path} has the shape {opened.shape}, the map of instances {size}: export both at the "
            "size of the image"
        )
    return whole_numbers(opened.read(), str(path)).reshape(size)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of two sides, where further ones are 1: (1, H, W) or (H, W, 1), for instance."""
    while len(shape) > 2 and 1 in (shape[0], shape[-1]):
        shape = shape[1:] if shape[0] == 1 else shape[:-1]
    return shape


def _check_size(shape: tuple[int, ...], size: tuple[int, int], path: Path) -> None:
    if shape != size:
        raise UserError(
            f"{path} has {shape[1]}×{shape[0]} px, its image {size[1]}×{size[0]}: export labels "
            "and image at one size"
        )


def _check_ids(inst_map: np.ndarray, path: Path) -> None:
    inside = inst_map > 0
    one_id = inside.any() and inst_map[inside].min() == inst_map.max()
    if one_id and cv2.connectedComponents(inside.astype(np.uint8))[0] > 2:
        raise UserError(
            f"{path} has one value, {inst_map.max()}, in all nuclei: give each an id of its own, "
            "as scipy.ndimage.label does"
        )
