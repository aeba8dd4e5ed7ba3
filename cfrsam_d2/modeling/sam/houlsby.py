"""The adapter of Houlsby et al., "Parameter-Efficient Transfer Learning for NLP" (Table 8).

D encoder width, r adapter rank.
"""

import torch
import torch.nn.functional as F
from torch import nn

INIT_STD = 1e-2  # theirs; normal, cut off at two standard deviations


class HoulsbyAdapter(nn.Module):
    """A bottleneck with a residual: down to rank r, GELU, up. It starts near the identity.

    Args:
        dim: D, channels of the encoder.
        rank: r, channels of the bottleneck.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank)
        self.up = nn.Linear(rank, dim)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args and returns: (…, D)."""
        return x + self.up(F.gelu(self.down(x)))
