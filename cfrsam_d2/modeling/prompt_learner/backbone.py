"""ConvNeXt feature maps at strides 4, 8, 16 and 32, from timm."""

from collections.abc import Sequence

import timm
from torch import nn

from cfrsam_d2.errors import UserError


def build_convnext(
    name: str, *, depths: Sequence[int] = (), dims: Sequence[int] = (), pretrained: bool = False
) -> nn.Module:
    """A ConvNeXt of timm without its head: (B, 3, H, W) to four maps, no norm after a stage.

    Args:
        name: timm's name of the network, such as "convnext_small".
        depths: blocks in each of the four stages; empty for the network's own.
        dims: channels of each of the four stages; empty for the network's own.
        pretrained: start from timm's ImageNet weights (downloaded, or from its cache).

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
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True, **sizes)
    except Exception as error:  # the hub's client raises errors of many libraries
        if not pretrained:
            raise
        raise UserError(
            f"ImageNet weights of {name!r} could not be loaded ({error}): put timm's file into the "
            "Hugging Face cache (HF_HOME) of this machine, or set MODEL.PROMPT_LEARNER.PRETRAINED "
            "False."
        ) from error
