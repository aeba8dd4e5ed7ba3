"""Hierarchical Modulated Fusion Module (paper 3.5)."""

from functools import reduce

import torch
from torch import nn


class HMFM(nn.Module):
    """Sum encoder levels, each amplified per channel by its own gate (Eq. 6 to 8).

    Args:
        channels: of every level.
        num_levels: how many levels are fused.
    """

    def __init__(self, channels: int = 256, num_levels: int = 4) -> None:
        super().__init__()
        self.gates = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, kernel_size=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.AdaptiveAvgPool2d(1),
                nn.Sigmoid(),
            )
            for _ in range(num_levels)
        )

    def forward(self, levels: list[torch.Tensor]) -> torch.Tensor:
        """Args: maps (B, C, h, w). Returns: the fused map (B, C, h, w)."""
        amplified = (
            gate(level) * level + level for gate, level in zip(self.gates, levels, strict=True)
        )
        return reduce(torch.add, amplified)
