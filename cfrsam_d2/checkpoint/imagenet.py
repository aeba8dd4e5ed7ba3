"""Load a ConvNeXt's ImageNet weights as timm, or ConvNeXt's authors, distribute them."""

import re

from torch import nn

from .pretrained import pretrained_weights


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
    weights = pretrained_weights(name, file, "MODEL.PROMPT_LEARNER")
    backbone.load_state_dict({key: weights[_with_head(key)] for key in backbone.state_dict()})


def _with_head(key: str) -> str:
    """The name of a weight in the network that has its head, where stages are in a list."""
    return re.sub(r"^(stem|stages)_(\d)", r"\1.\2", key)
