"""The encoder computed as published: what its multiply-adds are counted of, and compared with.

B maps, h×w cells, r adapter rank.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, Block

from .blocks import skip_padding
from .encoder import SAMEncoder
from .mala import KERNEL_SIZES, AdaptiveMultiScaleConv


class UnfoldedConv(AdaptiveMultiScaleConv):
    """Three convolutions, each on a copy of the map for every place of its kernel (Eq. 3 to 5)."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Args and returns: a map (B, r, h, w)."""
        convolved = torch.zeros_like(z)
        for size, conv in zip(KERNEL_SIZES, self.kernel_convs, strict=True):
            kernel = conv(z).softmax(dim=1).flatten(2)  # (B, k², h·w)
            padded = F.pad(z, (size // 2,) * 4, mode="reflect")
            patches = F.unfold(padded, size).unflatten(1, (z.shape[1], size**2))  # (B, r, k², h·w)
            convolved += torch.einsum("brkp,bkp->brp", patches, kernel).view_as(z)
        z = z + convolved / len(KERNEL_SIZES)
        return z + self.mix(z)


@contextmanager
def as_published(encoder: SAMEncoder) -> Iterator[None]:
    """A context in which windows are computed with their padding, and MALA unfolds its maps.

    The numbers are the same.
    """
    adaptive = [each for each in encoder.modules() if type(each) is AdaptiveMultiScaleConv]
    for block in encoder.vit.blocks:
        block.__class__, block.attn.__class__ = Block, Attention
    for conv in adaptive:
        conv.__class__ = UnfoldedConv
    try:
        yield
    finally:
        skip_padding(encoder.vit)
        for conv in adaptive:
            conv.__class__ = AdaptiveMultiScaleConv
