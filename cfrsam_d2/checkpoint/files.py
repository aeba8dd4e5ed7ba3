"""Files of weights, read without running code."""

import _codecs
import functools
import os
import pickle
import reprlib
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Parameter

from ..errors import UserError
from ..files import written_whole
from ..model_zoo import local_path
from .frozen import SOURCES

# Where a state dict is in what others save: by custom, by Lightning, by micro-sam.
_ENTRIES = ("model", "state_dict", "model_state", "model_state_dict")
# What a checkpoint holds beside weights, see checkpointer.py.
_ENTRY_TYPES = {"trainer": dict, "iteration": int, "left_out": dict}


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint, or a bare state dict as its "model".

    Raises:
        UserError: the file is missing, cannot be read, or holds something else.
    """
    loaded = read_file(path)
    if not (isinstance(loaded, dict) and "model" in loaded):
        return {"model": require_state_dict(loaded, path)}
    for name in ("model", "ema"):
        if name in loaded:
            require_state_dict(loaded[name], path)
    for name, kind in _ENTRY_TYPES.items():
        if name in loaded and type(loaded[name]) is not kind:
            raise UserError(
                f"{path} has as {name!r} no {kind.__name__}, but a {type(loaded[name]).__name__}: "
                "give a checkpoint of this project, or its state dict alone"
            )
    _check_left_out(loaded.get("left_out", {}), path)
    return loaded


def averaged_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Those weights of a read checkpoint that were evaluated: the averages, where it holds them."""
    return {**checkpoint["model"], **checkpoint.get("ema", {})}


def read_weights(path: str) -> dict[str, Tensor]:
    """Read the state dict of a file that others saved: bare, or under one of the usual names.

    Raises:
        UserError: the file is missing, cannot be read, or holds no state dict.
    """
    loaded = read_file(path)
    entries = loaded if isinstance(loaded, dict) else {}
    nested = [entries[name] for name in _ENTRIES if isinstance(entries.get(name), dict)]
    return require_state_dict(nested[0] if nested else loaded, path)


def read_file(path: str) -> Any:
    """Read what `torch.save` wrote, or a .safetensors. Tensors stay on disk until they are used.

    Beside tensors, the file may hold what released checkpoints do: an `argparse.Namespace`, and
    NumPy's scalars, whose values are dropped.

    Raises:
        UserError: the file is missing, damaged or cannot be read.
    """
    path = local_path(path)
    if not os.path.isfile(path):
        raise UserError(
            f"{path} does not exist: train it or download it (the README says how), "
            "or correct the path in the config"
        )
    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            _check_sums(path, os.stat(path).st_size, os.stat(path).st_mtime_ns)
        with _also_safe(Namespace, *_NUMPY_NAMES):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # of many kinds, depending on where reading stops
        raise UserError(f"{path} cannot be loaded: {_reason(path, error)}") from error


def write_checkpoint(path: str, data: Any) -> None:
    """Write a file for `read_checkpoint`.

    Raises:
        UserError: it cannot be written; what was there before is still there.
    """
    with written_whole(path) as partial, partial.open("wb") as file:
        torch.save(data, file)


def require_state_dict(weights: Any, path: str) -> dict[str, Tensor]:
    """
    Raises:
        UserError: `weights`, found in `path`, are not tensors by their names, one at least.
    """
    named = weights.items() if isinstance(weights, dict) else ()
    strange = [name for name, each in named if not (isinstance(name, str) and _is_plain(each))]
    if not named or strange:
        detail = f" ({reprlib.repr(strange[0])} names no dense tensor)" if strange else ""
        raise UserError(
            f"{path} holds no weights: give a checkpoint with a state dict under 'model', "
            f"or a state dict{detail}"
        )
    return weights


def _is_plain(value: Any) -> bool:
    return (
        type(value) in (Tensor, Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_nested)
    )


def _check_left_out(left_out: dict[Any, Any], path: str) -> None:
    for prefix, checksum in left_out.items():
        if prefix not in SOURCES or not (checksum is None or type(checksum) is int):
            raise UserError(
                f"{path} leaves out {reprlib.repr(prefix)}, which is none of the parts that come "
                f"from files ({', '.join(SOURCES)}): give a checkpoint of this project"
            )


@functools.cache
def _check_sums(path: str, size: int, mtime_ns: int) -> None:
    """Compare the checksums in a zip file, once while it stays as it is; PyTorch does not.

    Raises:
        Exception: of many kinds, if some byte of it is damaged.
    """
    with zipfile.ZipFile(path) as file:
        if any(each.compress_type != zipfile.ZIP_STORED for each in file.infolist()):
            raise ValueError("packed")  # not by PyTorch; it might unpack to any size
        if damaged := file.testzip():
            raise ValueError(damaged)


def _dropped(name: str) -> type:
    """A class that passes for the one of this name and forgets what it is made from."""
    module, _, own_name = name.rpartition(".")
    return type(
        own_name,
        (),
        {
            "__module__": module,
            "__init__": lambda self, *values: None,
            "__setstate__": lambda self, state: None,
        },
    )


# What a pickled NumPy scalar is made with, by NumPy 1 and 2; and its bytes with `_codecs.encode`,
# which PyTorch takes by itself from 2.5 on.
_NUMPY_NAMES = [
    _dropped("numpy.core.multiarray.scalar"),
    _dropped("numpy._core.multiarray.scalar"),
    _dropped("numpy.dtype"),
    _codecs.encode,
]


@contextmanager
def _also_safe(*classes: type) -> Iterator[None]:
    """A context in which `torch.load` takes these classes, too."""
    # As torch.serialization.safe_globals, which torch 2.4 lacks.
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.add_safe_globals(list(classes))
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _reason(path: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}"
    if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
        return (
            "it holds Python objects beside tensors, which could run code: "
            "save its state dict alone"
        )
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    if start.startswith(b"<"):
        return "it is a web page, not weights: download the file itself"
    return "it is no PyTorch file, is damaged or is cut short: download or copy it again"
