"""ConvNeXt feature maps at strides 4, 8, 16 and 32, from timm."""

from collections.abc import Sequence

import timm
from torch import nn

from cfrsam_d2.errors import UserError

NUM_LEVELS = 4


def is_convnext(name: str) -> bool:
    """Whether timm has a ConvNeXt of that name."""
    return name.startswith("convnext") and timm.is_model(name)


def build_convnext(name: str, *, depths: Sequence[int] = (), dims: Sequence[int] = ()) -> nn.Module:
    """A ConvNeXt of timm without its head: (B, 3, H, W) to four maps, each without a norm.

    Args:
        name: timm's name of the network, such as "convnext_small".
        depths: blocks of each of the four levels; empty for the network's own.
        dims: channels of each of the four levels; empty for the network's own.

    Returns:
        A module of random weights whose `feature_info` tells channels and strides of the maps,
        finest first.

    Raises:
        UserError: timm has no such ConvNeXt.
    """
    if not is_convnext(name):
        raise UserError(
            f"name is {name!r}: take a ConvNeXt of timm, one of timm.list_models('convnext*')"
        )
    sizes = {"depths": tuple(depths), "dims": tuple(dims)}
    own = {argument: size for argument, size in sizes.items() if size}
    return timm.create_model(name, features_only=True, **own)
