"""Label maps from MATLAB files as HoVer-Net and the datasets of its authors write them."""

from pathlib import Path

import numpy as np

from ...errors import UserError
from .instance_map import types_of_instances, whole_numbers
from .mat_process import load_mat

# HoVer-Net's name first, then that of Lizard, then others'.
_TYPES = ("inst_type", "class", "class_labels")
_IDS = ("inst_uid", "id")


def read_mat(path: str | Path) -> tuple[np.ndarray, dict[int, int] | None]:
    """Read the instances of one image and, if the file has them, their types.

    Args:
        path: a `.mat` file with `inst_map`, (H, W), 0 outside nuclei. Types come from `type_map`,
            (H, W): the most frequent one but 0 among a nucleus's pixels; or else from `inst_type`,
            N numbers in the order of the ids in `inst_uid` or, without it, of the rising ids.
            Lizard calls these two `class` and `id`.

    Returns:
        `inst_map` as (H, W) int64, and the type of each id in it, or None if the file has none.
        Type 0 is background.

    Raises:
        UserError: the file is missing or damaged, has no `inst_map`, has values that are no ids,
            or types that do not fit the instances.
    """
    data = load_mat(path)
    if "inst_map" not in data:
        raise UserError(f"{path} has no `inst_map`: export the label map under this name")
    inst_map = whole_numbers(data["inst_map"], f"{path}: `inst_map`")
    if inst_map.ndim != 2 or inst_map.size == 0:
        raise UserError(
            f"{path}: `inst_map` has the shape {inst_map.shape}: export one (H, W) map per image"
        )
    if "type_map" in data:
        source = f"{path}: `type_map`"
        type_map = whole_numbers(data["type_map"], source)
        return inst_map, types_of_instances(inst_map, type_map, source)
    key = next((key for key in _TYPES if key in data), None)
    return inst_map, None if key is None else _types_from_list(inst_map, data, key, path)


def _types_from_list(
    inst_map: np.ndarray, data: dict[str, np.ndarray], key: str, path: str | Path
) -> dict[int, int]:
    present = np.unique(inst_map[inst_map > 0])
    types = whole_numbers(data[key], f"{path}: `{key}`").ravel()
    id_key = next((key for key in _IDS if key in data), None)
    ids = whole_numbers(data[id_key], f"{path}: `{id_key}`").ravel() if id_key else present
    if len(ids) != len(types):
        raise UserError(
            f"{path}: `{key}` has {len(types)} entries for {len(ids)} nuclei: "
            "export one type per nucleus, in the order of the ids"
        )
    if missing := sorted(set(present.tolist()) - set(ids.tolist())):
        raise UserError(
            f"{path}: `{id_key}` does not list the id {missing[0]} of `inst_map`: "
            "export one type per nucleus"
        )
    type_of = dict(zip(ids.tolist(), types.tolist(), strict=True))
    return {instance_id: type_of[instance_id] for instance_id in present.tolist()}
