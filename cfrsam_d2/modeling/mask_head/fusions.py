"""The fusions of the encoder's levels by the names of MODEL.MASK_HEAD.FUSION (Table 7).

B images, C channels, h×w cells.
"""

from collections.abc import Callable
from functools import reduce

import torch
from torch import nn

from .hmfm import HMFM


class LastLevel(nn.Module):
    """The deepest level alone, as in SAM."""

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Args: maps (B, C, h, w), shallow to deep. Returns: (B, C, h, w)."""
        return levels[-1]


class Addition(nn.Module):
    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Args and returns: as of `LastLevel`."""
        return reduce(torch.add, levels)


class Average(nn.Module):
    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Args and returns: as of `LastLevel`."""
        return reduce(torch.add, levels) / len(levels)


class Concatenation(nn.Module):
    """All channels of all levels, mixed by a 1×1 convolution.

    Args:
        channels: of every level.
        num_levels: how many levels are fused.
    """

    def __init__(self, channels: int = 256, num_levels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_levels * channels, channels, kernel_size=1)

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Args and returns: as of `LastLevel`."""
        return self.conv(torch.cat(levels, dim=1))


# Each makes a module for levels of so many channels.
FUSIONS: dict[str, Callable[[int], nn.Module]] = {
    "HMFM": HMFM,
    "last": lambda channels: LastLevel(),
    "add": lambda channels: Addition(),
    "average": lambda channels: Average(),
    "concatenate": Concatenation,
}
