"""Nuclei from label maps: image files, NumPy files and HoVer-Net's `.mat` files."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ....errors import UserError
from ....structures.masks import BoxMask
from ...image import read_pil
from ..instance_map import instance_masks, types_of_instances, whole_numbers
from ..mat import read_mat
from .classes import ClassNames

TYPES_ENDING = "_types"  # of the name of a second map, of class ids


def label_map_nuclei(
    path: Path, size: tuple[int, int], classes: ClassNames, changes: Counter[str]
) -> Iterator[tuple[BoxMask, int]]:
    """Yield the nuclei of a label map, all its instances whole.

    Args:
        path: a `.mat` file (see `read_mat`), or a PNG, TIFF or NPY file (see `read_label_map`).
        size: height and width of the image in px.
        classes: to which their classes belong.
        changes: gets what is left out or repaired, with counts; nothing here.

    Returns:
        Pairs of a mask and a class index.

    Raises:
        UserError: a file is damaged or is no such map, is of another size than the image, or a
            nucleus has no class.
    """
    read = read_mat if path.suffix.lower() == ".mat" else read_label_map
    inst_map, types = read(path)
    if inst_map.shape != size:
        raise UserError(
            f"{path} has {inst_map.shape[1]}×{inst_map.shape[0]} px, its image "
            f"{size[1]}×{size[0]}: export labels and image at one size"
        )
    for instance_id, mask in instance_masks(inst_map):
        class_id = None if types is None else types[instance_id]
        yield mask, classes.index(class_id, f"{path}: nucleus {instance_id}")


def read_label_map(path: Path) -> tuple[np.ndarray, dict[int, int] | None]:
    """Read the instances of an image and, if there is a map of them, their types.

    Args:
        path: a PNG, TIFF or NPY file of instance ids, (H, W), 0 outside nuclei. `<name>_types`
            beside it, with the same suffix, holds class ids; that of most of a nucleus's pixels is
            its class.

    Returns:
        (H, W) int64, and the type of each id in it, or None: as `read_mat`.

    Raises:
        UserError: a file is damaged or is no map of whole numbers, or it is a mask without ids.
    """
    inst_map = _read_map(path)
    one_id = np.unique(inst_map[inst_map > 0]).size == 1
    if one_id and cv2.connectedComponents((inst_map > 0).astype(np.uint8))[0] > 2:
        raise UserError(
            f"{path} has one value, {inst_map.max()}, in all nuclei: give each an id of its own, "
            "as scipy.ndimage.label does"
        )
    types_path = path.with_stem(path.stem + TYPES_ENDING)
    if not types_path.exists():
        return inst_map, None
    return inst_map, types_of_instances(inst_map, _read_map(types_path), str(types_path))


def _read_map(path: Path) -> np.ndarray:
    values = _read_npy(path) if path.suffix.lower() == ".npy" else np.asarray(read_pil(str(path)))
    numbers = whole_numbers(values, str(path))
    if numbers.ndim != 2 or numbers.size == 0:
        raise UserError(
            f"{path} has the shape {numbers.shape}: save one channel of whole numbers, (H, W)"
        )
    return numbers


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged or no array ({error}): save it again") from None
