"""Low-rank adaptation of attention: Hu et al., "LoRA" (Table 8).

D encoder width, r adapter rank.
"""

import torch
from torch import nn


class LoRA(nn.Module):
    """An addition to the projection to queries, keys and values: rank r for queries and values.

    It starts as zero and is not scaled (their alpha is r).

    Args:
        dim: D, channels of the encoder.
        rank: r.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.query = _low_rank(dim, rank)
        self.value = _low_rank(dim, rank)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: the projection's input (…, D). Returns: (…, 3·D), zero for the keys."""
        return torch.cat([self.query(x), torch.zeros_like(x), self.value(x)], dim=-1)


def _low_rank(dim: int, rank: int) -> nn.Sequential:
    down, up = nn.Linear(dim, rank, bias=False), nn.Linear(rank, dim, bias=False)
    nn.init.zeros_(up.weight)
    return nn.Sequential(down, up)
