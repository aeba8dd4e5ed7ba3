"""Checkpoints: written whole or not at all, read without running code, loaded key by key or not.

A checkpoint is a dict. "model" holds the weights that were trained, "ema" their running averages
where they are kept, "trainer" what a resumed run needs. What is evaluated are the averages, so
`load_weights` prefers them. `model_best.pth` holds the evaluated weights alone, as "model".
"""

import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import Tensor, nn

from ..errors import UserError


class NucleusCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, strict and atomic. Loading restores a run exactly."""

    def save(self, name: str, **kwargs: Any) -> None:
        """Write the model, the checkpointables and `kwargs` to `<save_dir>/<name>.pth`."""
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict()}
        data |= {key: each.state_dict() for key, each in self.checkpointables.items()}
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        with _written_whole(path) as partial:
            torch.save(data | kwargs, partial)
        if "trainer" in self.checkpointables:  # weights alone are nothing to resume from
            self.tag_last_checkpoint(os.path.basename(path))

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Write the name of the file to resume from."""
        with (
            _written_whole(os.path.join(self.save_dir, "last_checkpoint")) as partial,
            open(partial, "w") as file,
        ):
            file.write(last_filename_basename)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Restore the model and the checkpointables (all of them, by default) from `path`.

        Returns:
            What else is in the file.

        Raises:
            UserError: the file is missing, is no checkpoint, is of another architecture, or lacks
                a checkpointable.
        """
        checkpoint = read_checkpoint(path)
        _load_strictly(self.model, checkpoint.pop("model"), path)
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in checkpoint:
                raise UserError(
                    f"{path} holds no {key!r}: resume from a checkpoint of the same run, "
                    "with its config"
                )
            self.checkpointables[key].load_state_dict(checkpoint.pop(key))
        return checkpoint


def load_weights(module: nn.Module, path: str, *, prefix: str = "") -> None:
    """Load the weights that were evaluated: the averages, where the file holds them.

    Args:
        module: gets the weights; every one of them has to be in the file.
        path: a checkpoint, or a bare state dict.
        prefix: of the keys that belong to `module`, such as "proposal_generator."; the file's
            other keys are left alone.

    Raises:
        UserError: the file is missing, is no checkpoint, or is of another architecture.
    """
    checkpoint = read_checkpoint(path)
    weights = {**checkpoint["model"], **checkpoint.get("ema", {})}
    own = {key.removeprefix(prefix): weights[key] for key in weights if key.startswith(prefix)}
    _load_strictly(module, own, path)


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint, or a bare state dict as its "model", into CPU memory.

    Raises:
        UserError: the file is missing, cannot be read, or holds something else.
    """
    _require_file(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, depending on where reading stops
        raise UserError(f"{path} cannot be loaded: {_reason(path, error)}") from error
    weights = loaded.get("model", loaded) if isinstance(loaded, dict) else None
    if not weights or not all(isinstance(each, Tensor) for each in weights.values()):
        raise UserError(
            f"{path} holds no weights: give a checkpoint with a state dict under 'model', "
            "or a state dict"
        )
    return loaded if "model" in loaded else {"model": weights}


def _require_file(path: str) -> None:
    if not os.path.isfile(path):
        raise UserError(
            f"{path} does not exist: train it or download it (the README says how), "
            "or correct the path in the config"
        )


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


def _load_strictly(module: nn.Module, weights: dict[str, Tensor], path: str) -> None:
    own = module.state_dict()
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    reshaped = [
        f"{key} is {tuple(weights[key].shape)} there and {tuple(own[key].shape)} here"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    differences = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    if any(differences.values()):
        found = "; ".join(
            f"{len(keys)} {what} (first: {keys[0]})" for what, keys in differences.items() if keys
        )
        raise UserError(
            f"{path} holds the weights of another architecture, {found}: "
            "use the config that it was trained with"
        )
    module.load_state_dict(weights)


@contextmanager
def _written_whole(path: str) -> Iterator[str]:
    """Yield a name to write to, and rename it to `path` after success."""
    partial = f"{path}.partial"
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
