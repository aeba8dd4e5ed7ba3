"""The model computed as published: what multiply-adds are counted of, and what times compare with.

Same weights, same results, none of the short cuts of docs/performance.md in the modules themselves.

B maps, h×w cells, r adapter rank.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, Block
from torch import nn
from torchvision.ops import deform_conv2d

from .modeling.mask_head.bgmr import BGFF, MCBE
from .modeling.mask_head.layers import TAPS, DeformConv
from .modeling.sam.blocks import UnpaddedAttention, UnpaddedBlock
from .modeling.sam.mala import KERNEL_SIZES, AdaptiveMultiScaleConv


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


class PooledMCBE(MCBE):
    """Averages by pooling."""

    @staticmethod
    def _smooth(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)


class JointBGFF(BGFF):
    """Convolutions over [D, S], for each nucleus anew."""

    def of_detail(self, detail: torch.Tensor) -> torch.Tensor:
        """D itself, (B, 32, H, W)."""
        return detail

    def forward(self, semantic: torch.Tensor, of_detail: torch.Tensor) -> torch.Tensor:
        """Args: S and D (R, 32, H, W). Returns: Y (R, 32, H, W)."""
        first, second = semantic.chunk(2, dim=1)
        plain = self.plain_attention(self.plain(torch.cat([of_detail, first], dim=1)))
        deform = self.deform_attention(self.deform(torch.cat([of_detail, second], dim=1)))
        return self.fuse(torch.cat([plain, deform], dim=1))


class OperatorDeformConv(DeformConv):
    """Torchvision's operator."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: (n, in_channels, h, w). Returns: (n, out_channels, h, w)."""
        offset, mask = self.offset(x).split([2 * TAPS, TAPS], dim=1)
        return F.relu(
            self.norm(deform_conv2d(x, offset, self.conv.weight, padding=1, mask=mask.sigmoid()))
        )


PUBLISHED = {
    UnpaddedBlock: Block,
    UnpaddedAttention: Attention,
    AdaptiveMultiScaleConv: UnfoldedConv,
    MCBE: PooledMCBE,
    BGFF: JointBGFF,
    DeformConv: OperatorDeformConv,
}


@contextmanager
def as_published(model: nn.Module) -> Iterator[None]:
    """A context in which all modules of a model, or of a part of it, compute as published.

    Windows of the encoder with their padding, MALA on three unfolded copies of its map, BGMR's
    convolutions over [D, S] for each nucleus, torchvision's deformable convolution.
    """
    changed = [(each, type(each)) for each in model.modules() if type(each) in PUBLISHED]
    for module, kind in changed:
        module.__class__ = PUBLISHED[kind]
    try:
        yield
    finally:
        for module, kind in changed:
            module.__class__ = kind
