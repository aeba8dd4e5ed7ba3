"""Load a ConvNeXt's ImageNet weights as timm, or ConvNeXt's authors, distribute them."""

import re
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from ..errors import UserError
from .files import read_weights

# What training in another framework puts before all names.
_PREFIXES = ("_orig_mod.", "module.", "model.")


def load_imagenet_weights(backbone: nn.Module, name: str, file: str = "") -> None:
    """Fill a ConvNeXt, every key of it.

    Args:
        backbone: what `build_convnext` made of `name`, in the network's own sizes.
        name: timm's name of the network and its weights, such as "convnext_small.fb_in1k".
        file: where the weights are, .safetensors or .pth; empty to let timm download them, or take
            them from its cache.

    Raises:
        UserError: the weights cannot be had, or are of another network.
    """
    weights = _weights_of_network(name, file)
    backbone.load_state_dict({key: weights[_with_head(key)] for key in backbone.state_dict()})


def _with_head(key: str) -> str:
    """The name of a weight in the network that has its head, where stages are in a list."""
    return re.sub(r"^(stem|stages)_(\d)", r"\1.\2", key)


def _weights_of_network(name: str, file: str) -> dict[str, Tensor]:
    """Of the whole network; unlike without its head, timm then insists on every weight."""
    source = {"state_dict": _read(file)} if file else {}
    try:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)
    except Exception as error:  # the hub's client raises errors of many libraries
        if file:
            raise UserError(
                f"{file} does not hold the ImageNet weights of {name!r}: let "
                "MODEL.PROMPT_LEARNER.PRETRAINED_FILE name timm's own file of that network"
            ) from error
        pretrained: Any = timm.models.get_pretrained_cfg(name)
        raise UserError(
            f"ImageNet weights of {name!r} could not be downloaded ({error}): get "
            f"model.safetensors of https://huggingface.co/{pretrained.hf_hub_id} on a machine that "
            "can, and name it in MODEL.PROMPT_LEARNER.PRETRAINED_FILE; or set "
            "MODEL.PROMPT_LEARNER.PRETRAINED False"
        ) from error
    return network.state_dict()


def _read(file: str) -> dict[str, Tensor]:
    if not Path(file).is_file():
        raise UserError(
            f"MODEL.PROMPT_LEARNER.PRETRAINED_FILE is {file!r}, which does not exist: correct the "
            "path, or download the file"
        )
    weights = read_weights(file)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): each for name, each in weights.items()}
    return weights
