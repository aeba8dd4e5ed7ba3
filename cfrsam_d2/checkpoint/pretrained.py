"""Weights that timm, or somebody else, distributes for a network of timm."""

import re
import textwrap
from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from ..errors import UserError
from .files import read_weights

# What training in another framework puts before all names.
_PREFIXES = ("_orig_mod.", "module.", "model.")
_HEAD = re.compile(r"head\.(fc\.)?(weight|bias)")


def pretrained_weights(name: str, file: str, node: str, **options: Any) -> dict[str, Tensor]:
    """The weights of a network, every one of them, by timm's names.

    Args:
        name: timm's name of the network and its weights, such as "convnext_small.fb_in1k".
        file: where the weights are, .safetensors or .pth, whatever head they have; empty to let
            timm download them, or take them from its cache.
        node: of the config, whose PRETRAINED and PRETRAINED_FILE these are.
        options: of the network's constructor.

    Raises:
        UserError: the weights cannot be had, or are of another network.
    """
    # Of the network without classes: with others than the weights, timm would not insist on all.
    source = {"state_dict": _read(file, node), "num_classes": 0} if file else {}
    try:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **options)
    except Exception as error:  # the hub's client raises errors of many libraries
        if file:
            raise UserError(
                f"{file} does not hold the weights of {name!r}: let {node}.PRETRAINED_FILE name a "
                f"file of that network ({_shortened(error)})"
            ) from error
        pretrained: Any = timm.models.get_pretrained_cfg(name)
        raise UserError(
            f"pretrained weights of {name!r} could not be downloaded ({_shortened(error)}): get "
            f"model.safetensors of https://huggingface.co/{pretrained.hf_hub_id} on a machine that "
            f"can, and name it in {node}.PRETRAINED_FILE; or set {node}.PRETRAINED False"
        ) from error
    return network.state_dict()


def _read(file: str, node: str) -> dict[str, Tensor]:
    if not Path(file).is_file():
        raise UserError(
            f"{node}.PRETRAINED_FILE is {file!r}, which does not exist: correct the path, or "
            "download the file"
        )
    weights = read_weights(file)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): each for name, each in weights.items()}
    return {name: each for name, each in weights.items() if not _HEAD.fullmatch(name)}


def _shortened(error: Exception) -> str:
    """PyTorch lists all names that are missing, and then all that there should not be."""
    lines = str(error).splitlines()
    return "; ".join(textwrap.shorten(line, 120) for line in lines[1:] or lines)
