"""ConvNeXt feature maps at strides 4, 8, 16 and 32, from timm."""

from collections.abc import Sequence
from typing import Any

import timm

from ...errors import UserError

NUM_LEVELS = 4


def is_convnext(name: str) -> bool:
    """Whether timm has a ConvNeXt of that name and, behind a point, weights of that name for it."""
    has_weights = "." not in name or timm.models.is_model_pretrained(name)
    return name.startswith("convnext") and timm.is_model(name) and has_weights


def build_convnext(name: str, *, depths: Sequence[int] = (), dims: Sequence[int] = ()) -> Any:
    """A ConvNeXt of timm without its head: (B, 3, H, W) to four maps, each without a norm.

    Args:
        name: timm's name of the network, such as "convnext_small.fb_in1k"; the weights that it
            may name are not read.
        depths: blocks of each of the four levels; empty for the network's own.
        dims: channels of each of the four levels; empty for the network's own.

    Returns:
        timm's `FeatureListNet` with random weights; its `feature_info` tells channels and strides
        of the maps, finest first.

    Raises:
        UserError: timm has no such ConvNeXt.
    """
    if not is_convnext(name):
        raise UserError(
            f"name is {name!r}: take a ConvNeXt of timm, one of "
            "timm.list_models('convnext*', pretrained=True)"
        )
    sizes = {"depths": tuple(depths), "dims": tuple(dims)}
    own: dict[str, Any] = {argument: size for argument, size in sizes.items() if size}
    return timm.create_model(name, features_only=True, **own)
