"""Files of weights, read without running code."""

import _codecs
import os
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint, or a bare state dict as its "model".

    Raises:
        UserError: the file is missing, cannot be read, or holds something else.
    """
    loaded = read_file(path)
    if isinstance(loaded, dict) and "model" in loaded:
        require_state_dict(loaded["model"], path)
        return loaded
    return {"model": require_state_dict(loaded, path)}


def read_file(path: str) -> Any:
    """Read what `torch.save` wrote. Tensors stay on disk until they are used.

    Beside tensors, the file may hold what released checkpoints do: an `argparse.Namespace`, and
    NumPy's scalars, whose values are dropped.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    if not os.path.isfile(path):
        raise UserError(
            f"{path} does not exist: train it or download it (the README says how), "
            "or correct the path in the config"
        )
    try:
        with _also_safe(Namespace, *_NUMPY_NAMES):
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as error:  # of many kinds, depending on where reading stops
        raise UserError(f"{path} cannot be loaded: {_reason(path, error)}") from error


def require_state_dict(weights: Any, path: str) -> dict[str, Tensor]:
    """
    Raises:
        UserError: `weights`, found in `path`, are not tensors by their names, one at least.
    """
    values = weights.values() if isinstance(weights, dict) else ()
    if not values or not all(isinstance(each, Tensor) for each in values):
        raise UserError(
            f"{path} holds no weights: give a checkpoint with a state dict under 'model', "
            "or a state dict"
        )
    return weights


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
    return "it is no PyTorch file or is cut short: download or copy it again"
