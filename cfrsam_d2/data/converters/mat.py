"""Label maps from MATLAB files as HoVer-Net and the datasets of its authors write them."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from ...errors import UserError
from .instance_map import types_of_instances, whole_numbers

_KEYS = ("inst_map", "type_map", "inst_type", "inst_uid")


def read_mat(path: str | Path) -> tuple[np.ndarray, dict[int, int] | None]:
    """Read the instances of one image and, if the file has them, their types.

    Args:
        path: a `.mat` file with `inst_map`, (H, W), 0 outside nuclei. Types come from `type_map`,
            (H, W): the most frequent one among a nucleus's pixels; or else from `inst_type`, N
            numbers in the order of the ids in `inst_uid` or, without it, of the rising ids.

    Returns:
        `inst_map` as (H, W) int64, and the type of each id in it, or None if the file has neither
        `type_map` nor `inst_type`.

    Raises:
        UserError: the file is missing or damaged, has no `inst_map`, has values that are no ids,
            or types that do not fit the instances.
    """
    data = _load(path)
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
    if "inst_type" in data:
        return inst_map, _types_from_list(inst_map, data, path)
    return inst_map, None


def _load(path: str | Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return loadmat(file, variable_names=_KEYS)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the folder of the labels") from None
    except NotImplementedError:
        raise UserError(f"{path} is a MATLAB 7.3 file: save it with save(…, '-v7')") from None
    except Exception as error:  # damaged bytes make scipy raise nearly anything
        raise UserError(
            f"{path} is damaged or no MATLAB file ({error}): download or export it again"
        ) from None


def _types_from_list(
    inst_map: np.ndarray, data: dict[str, Any], path: str | Path
) -> dict[int, int]:
    present = np.unique(inst_map[inst_map > 0])
    types = whole_numbers(data["inst_type"], f"{path}: `inst_type`").ravel()
    ids = whole_numbers(data.get("inst_uid", present), f"{path}: `inst_uid`").ravel()
    if len(ids) != len(types):
        raise UserError(
            f"{path}: `inst_type` has {len(types)} entries for {len(ids)} nuclei: "
            "export one type per nucleus, in the order of the ids"
        )
    if missing := sorted(set(present.tolist()) - set(ids.tolist())):
        raise UserError(
            f"{path}: `inst_uid` does not list the id {missing[0]} of `inst_map`: "
            "export one type per nucleus"
        )
    type_of = dict(zip(ids.tolist(), types.tolist(), strict=True))
    return {instance_id: type_of[instance_id] for instance_id in present.tolist()}
