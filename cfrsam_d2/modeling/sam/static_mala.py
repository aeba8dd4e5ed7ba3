"""MALA with kernels that are the same everywhere, in place of predicted ones (Table 7).

B maps (images or attention windows), h×w cells of 16 px, r adapter rank.
"""

import torch
from torch import nn

from .mala import KERNEL_SIZES, MALA


class StaticMultiScaleConv(nn.Module):
    """Convolve each channel with kernels of its own of 3, 5 and 7 px."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(
                channels,
                channels,
                size,
                padding=size // 2,
                padding_mode="reflect",
                groups=channels,
                bias=False,
            )
            for size in KERNEL_SIZES
        )
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Args and returns: a map (B, r, h, w), h and w at least 4 (the padding reflects)."""
        z = z + sum(conv(z) for conv in self.convs) / len(self.convs)
        return z + self.mix(z)


class StaticMALA(MALA):
    """All else is MALA's."""

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__(dim, rank)
        self.conv = StaticMultiScaleConv(rank)
