"""Large maps piece by piece, so that the activations of a piece stay in a CPU's caches.

n maps of h×w px.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

PIECE = 256  # px, a side


class Span(NamedTuple):
    """A piece along a side of a map.

    Attributes:
        read: its px and those around that they depend on.
        own: its px, in those that are read.
    """

    read: slice
    own: slice


def in_pieces(function: Callable[[Tensor], Tensor], maps: Tensor, reach: int) -> Tensor:
    """A function of maps (n, C, h, w) to others (n, c, h, w), exactly as of the whole.

    Args:
        function: pads maps with zeros, if at all.
        maps: (n, C, h, w).
        reach: px around its own that an output depends on.
    """
    return torch.cat(
        [
            torch.cat(
                [
                    function(maps[..., y.read, x.read])[..., y.own, x.own]
                    for x in _spans(maps.shape[-1], reach)
                ],
                dim=-1,
            )
            for y in _spans(maps.shape[-2], reach)
        ],
        dim=-2,
    )


def _spans(length: int, reach: int) -> list[Span]:
    """The pieces along a side of a map."""
    return [
        Span(
            slice(max(first - reach, 0), first + PIECE + reach),
            slice(min(first, reach), min(first, reach) + PIECE),
        )
        for first in range(0, length, PIECE)
    ]
