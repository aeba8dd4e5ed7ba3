"""Checkpoints of a training, loaded key by key or not at all.

A checkpoint is a dict. "model" holds the weights that were trained, "ema" their running averages
where they are kept, "trainer" what a resumed run needs, "left_out" the parts of the model that are
to be had elsewhere. What is evaluated are the averages, so `load_weights` prefers them.
`model_best.pth` holds the evaluated weights alone, as "model".
"""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from torch import Tensor, nn

from ..errors import UserError
from ..files import write_bytes
from .files import averaged_weights, read_checkpoint, write_checkpoint
from .frozen import SOURCES, checksum, frozen_parts


class NucleusCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, strict and atomic. Loading restores a run exactly."""

    def __init__(
        self, model: nn.Module, save_dir: str, *, save_frozen: bool = True, **checkpointables: Any
    ) -> None:
        """
        Args:
            model: whose weights are saved and loaded.
            save_dir: the folder of the checkpoints.
            save_frozen: False leaves out what the model was filled with from files of their own
                and does not train.
            checkpointables: what else is saved and loaded, by name.
        """
        super().__init__(model, save_dir, **checkpointables)
        self._save_frozen = save_frozen

    def save(self, name: str, **kwargs: Any) -> None:
        """Write the model, the checkpointables and `kwargs` to `<save_dir>/<name>.pth`."""
        if not self.save_dir or not self.save_to_disk:
            return
        data: dict[str, Any] = {"model": without(self.model.state_dict(), self._left_out)}
        if self._left_out:
            data["left_out"] = self._left_out
        data |= {key: each.state_dict() for key, each in self.checkpointables.items()}
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        write_checkpoint(path, data | kwargs)
        if "trainer" in self.checkpointables:  # weights alone are nothing to resume from
            self.tag_last_checkpoint(os.path.basename(path))

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Write the name of the file to resume from."""
        write_bytes(Path(self.save_dir) / "last_checkpoint", last_filename_basename.encode())

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Restore the model and the checkpointables (all of them, by default) from `path`.

        Returns:
            What else is in the file.

        Raises:
            UserError: the file is missing, is no checkpoint, is of another architecture, or lacks
                a checkpointable; or the model lacks what the file leaves out.
        """
        checkpoint = read_checkpoint(path)
        left_out = checkpoint.pop("left_out", {})
        _load_strictly(self.model, checkpoint.pop("model"), path, left_out)
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in checkpoint:
                raise UserError(
                    f"{path} holds no {key!r}: resume from a checkpoint of the same run, "
                    "with its config"
                )
            _restore(self.checkpointables[key], checkpoint.pop(key), f"{path} has a {key!r}")
        return checkpoint

    @cached_property
    def _left_out(self) -> dict[str, int]:
        return {} if self._save_frozen else frozen_parts(self.model)


def _restore(checkpointable: Any, state: Any, what: str) -> None:
    try:
        checkpointable.load_state_dict(state)
    except UserError:
        raise
    except Exception as error:  # of many kinds, depending on what is wrong with it
        raise UserError(
            f"{what} that does not fit this training ({type(error).__name__}: {error}): resume "
            "from an undamaged checkpoint of the same run, with its config"
        ) from error


def load_weights(module: nn.Module, path: str, *, prefix: str = "") -> None:
    """Load the weights that were evaluated: the averages, where the file holds them.

    Args:
        module: gets the weights; every one of them has to be in the file, other than those that
            the file leaves out and the module was filled with from a file of their own.
        path: a checkpoint, or a bare state dict.
        prefix: of the keys that belong to `module`, such as "proposal_generator."; the file's
            other keys are left alone.

    Raises:
        UserError: the file is missing, is no checkpoint, or is of another architecture; or the
            module lacks what the file leaves out.
    """
    checkpoint = read_checkpoint(path)
    weights = averaged_weights(checkpoint)
    own = {key.removeprefix(prefix): weights[key] for key in weights if key.startswith(prefix)}
    _load_strictly(module, own, path, {} if prefix else checkpoint.get("left_out", {}))


def without(weights: Mapping[str, Any], prefixes: Mapping[str, Any]) -> dict[str, Any]:
    """The weights whose names begin with none of the prefixes."""
    return {name: each for name, each in weights.items() if not name.startswith(tuple(prefixes))}


def describe_differences(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """The reasons why `weights` cannot fill a model whose state dict is `own`; "" if they can."""
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    reshaped = [
        f"{key} is {tuple(weights[key].shape)} there and {tuple(own[key].shape)} here"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    retyped = [
        f"{key} is {weights[key].dtype} there and {own[key].dtype} here"
        for key in own
        if key in weights and _loses(weights[key], own[key])
    ]
    differences = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": reshaped,
        "of another type": retyped,
    }
    return "; ".join(
        f"{len(keys)} {what} (first: {keys[0]})" for what, keys in differences.items() if keys
    )


def _loses(weight: Tensor, own: Tensor) -> bool:
    """Whether a weight is no such number as the model's own; a count may be a float."""
    return weight.is_complex() or own.is_floating_point() > weight.is_floating_point()


def _load_strictly(
    module: nn.Module, weights: dict[str, Tensor], path: str, left_out: Mapping[str, int | None]
) -> None:
    weights = without(weights, left_out)
    if found := describe_differences(without(module.state_dict(), left_out), weights):
        raise UserError(
            f"{path} holds the weights of another architecture, {found}: "
            "use the config that it was trained with, and convert what the authors released "
            "(docs/model-zoo.md)"
        )
    for prefix, expected in left_out.items():
        if prefix not in getattr(module, "parts_from_files", ()):
            raise UserError(
                f"{path} leaves out the frozen weights {prefix}*: let {SOURCES[prefix]} name the "
                "file that has them"
            )
        if expected is not None and expected != checksum(module, prefix):
            raise UserError(
                f"{path} was trained with other frozen weights {prefix}* than those in the file "
                f"of {SOURCES[prefix]}: name the one that it was trained with"
            )
    module.load_state_dict(weights, strict=not left_out)
