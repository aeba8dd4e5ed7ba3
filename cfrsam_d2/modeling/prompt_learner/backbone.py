"""ConvNeXt feature maps at strides 4, 8, 16 and 32, from timm."""

import re
from collections.abc import Sequence
from pathlib import Path

import timm
from safetensors.torch import load_file
from torch import Tensor, nn

from cfrsam_d2.checkpoint.files import read_checkpoint
from cfrsam_d2.errors import UserError


def build_convnext(
    name: str,
    *,
    depths: Sequence[int] = (),
    dims: Sequence[int] = (),
    pretrained: bool = False,
    pretrained_file: str = "",
) -> nn.Module:
    """A ConvNeXt of timm without its head: (B, 3, H, W) to four maps, no norm after a stage.

    Args:
        name: timm's name of the network, such as "convnext_small".
        depths: blocks in each of the four stages; empty for the network's own.
        dims: channels of each of the four stages; empty for the network's own.
        pretrained: start from timm's ImageNet weights.
        pretrained_file: where they are, as timm or ConvNeXt's authors publish them (.safetensors or
            .pth); empty to let timm download them, or take them from its cache.

    Returns:
        A module whose `feature_info` tells channels and strides of the maps, finest first.

    Raises:
        UserError: if timm has no such ConvNeXt, or the ImageNet weights cannot be had.
    """
    if not name.startswith("convnext") or not timm.is_model(name):
        raise UserError(
            f"MODEL.PROMPT_LEARNER.BACKBONE is {name!r}, which is no ConvNeXt of timm: "
            "take one of timm.list_models('convnext*'), such as 'convnext_small'."
        )
    if pretrained and (depths or dims):
        raise UserError(
            "ImageNet weights do not fit a resized ConvNeXt: set MODEL.PROMPT_LEARNER.PRETRAINED "
            "False, or leave MODEL.PROMPT_LEARNER.DEPTHS and DIMS empty."
        )
    sizes = {}
    if depths:
        sizes["depths"] = tuple(depths)
    if dims:
        sizes["dims"] = tuple(dims)
    backbone = timm.create_model(name, features_only=True, **sizes)
    if pretrained:
        weights = _pretrained_weights(name, pretrained_file)
        backbone.load_state_dict({key: weights[_with_head(key)] for key in backbone.state_dict()})
    return backbone


def _with_head(key: str) -> str:
    """The name of a weight in the network that has its head, where stages are in a list."""
    return re.sub(r"^(stem|stages)_(\d)", r"\1.\2", key)


def _pretrained_weights(name: str, file: str) -> dict[str, Tensor]:
    """Of the whole network; unlike without its head, timm then insists on every weight."""
    source = {"state_dict": _read(file)} if file else {}
    try:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source)
    except Exception as error:  # the hub's client raises errors of many libraries
        if file:
            raise UserError(
                f"{file} does not hold the ImageNet weights of {name!r}: let "
                "MODEL.PROMPT_LEARNER.PRETRAINED_FILE name timm's own file of that network."
            ) from error
        hub_id = timm.models.get_pretrained_cfg(name).hf_hub_id
        raise UserError(
            f"ImageNet weights of {name!r} could not be downloaded ({error}): get "
            f"model.safetensors of https://huggingface.co/{hub_id} on a machine that can, and name "
            "it in MODEL.PROMPT_LEARNER.PRETRAINED_FILE; or set MODEL.PROMPT_LEARNER.PRETRAINED "
            "False."
        ) from error
    return network.state_dict()


def _read(file: str) -> dict[str, Tensor]:
    if not file.endswith(".safetensors"):
        return read_checkpoint(file)["model"]
    if not Path(file).is_file():
        raise UserError(f"MODEL.PROMPT_LEARNER.PRETRAINED_FILE: {file} does not exist.")
    try:
        return load_file(file)
    except Exception as error:  # the library has no one kind of error
        raise UserError(
            f"MODEL.PROMPT_LEARNER.PRETRAINED_FILE: {file} cannot be loaded ({error}): download it "
            "again."
        ) from error
