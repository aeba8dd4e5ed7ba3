"""Boundary-Guided Mask Refinement (paper 3.6).

B images, R nuclei, H×W px of a frame or a crop. S, D and Y are the paper's semantic, detail and
fused features.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checkpointing import run_once, run_twice
from .deform_conv import DeformConv
from .layers import conv_bn, conv_bn_relu, kaiming_conv_bn_relu, upsample_conv
from .pieces import PIECE, in_pieces

SMOOTHINGS = 3  # levels of MCBE beyond the first
# Px around its own that a detail feature depends on: a convolution, and the averages of the last
# level with the one that it is compared with.
DETAIL_REACH = 1 + SMOOTHINGS + 1


class MCBE(nn.Module):
    """Multi-Context Boundary Enhancement: detail features of an image (3.6.2, Eq. 9 and 10).

    Attributes:
        fast: averages are sums of moved maps, on CPUs far faster than pooling.
    """

    fast = True

    def __init__(self, channels: int = 32, context_channels: int = 16) -> None:
        super().__init__()
        self.base = conv_bn_relu(3, channels, 3)
        self.first = conv_bn(channels, context_channels, 1, nn.Sigmoid())
        self.contexts = nn.ModuleList(
            conv_bn(context_channels, context_channels, 1, nn.Sigmoid()) for _ in range(SMOOTHINGS)
        )
        self.enhancers = nn.ModuleList(
            conv_bn(context_channels, context_channels, 1, nn.Sigmoid()) for _ in range(SMOOTHINGS)
        )
        self.out = conv_bn_relu((1 + SMOOTHINGS) * context_channels, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Args: normalised images (B, 3, H, W). Returns: D (B, 32, H, W)."""
        base = self.base(images)
        context = self.first(base)
        features = [context]
        for widen, enhance in zip(self.contexts, self.enhancers, strict=True):
            context = widen(self._smooth(context))
            features.append(context + enhance(context - self._smooth(context)))
        return base + self.out(torch.cat(features, dim=1))

    def _smooth(self, x: Tensor) -> Tensor:
        """3×3 average, zeros outside."""
        if not self.fast:
            return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        x = F.pad(x, (1, 1, 1, 1))
        x = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
        return (x[..., :-2] + x[..., 1:-1] + x[..., 2:]) / 9


class SpatialAttention(nn.Module):
    """x + x·attention, the attention from its channel mean and maximum (Eq. 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x + x * self.conv(pooled.sigmoid())


class BGFF(nn.Module):
    """Boundary-Guided Feature Fusion of S and D in a plain and a deformable branch (3.6.3)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        half = channels // 2
        self.plain = kaiming_conv_bn_relu(channels + half, half, 1)
        self.plain_attention = SpatialAttention()
        self.deform = DeformConv(channels + half, half)
        self.deform_attention = SpatialAttention()
        self.fuse = kaiming_conv_bn_relu(channels, channels, 1)

    def forward(self, semantic: Tensor, detail: Tensor) -> Tensor:
        """Args: S and D (R, 32, H, W). Returns: Y (R, 32, H, W)."""
        first, second = semantic.chunk(2, dim=1)
        plain = self.plain_attention(self.plain(torch.cat([detail, first], dim=1)))
        deform = self.deform_attention(self.deform(torch.cat([detail, second], dim=1)))
        return self.fuse(torch.cat([plain, deform], dim=1))


class BoundaryRefinement(nn.Module):
    """S reinforced where Y sees a boundary: a deformable bottleneck with a residual (Eq. 14)."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 2, kernel_size=1)
        self.deform = DeformConv(channels // 2, channels // 2)
        self.expand = nn.Conv2d(channels // 2, channels, kernel_size=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, semantic: Tensor, fused: Tensor) -> Tensor:
        """Args: S and Y (R, 32, H, W). Returns: the refined S (R, 32, H, W)."""
        x = self.reduce(fused.sigmoid() * semantic)
        return semantic + self.norm(self.expand(self.deform(x)))


class BGMR(nn.Module):
    """From mask features at a quarter of the size to refined and boundary logits (3.6).

    Attributes:
        checkpoint_activations: in training, a part's activations are not kept but computed again
            in the backward pass, part by part; all nuclei at once, since batch norm joins them.
    """

    checkpoint_activations = False
    outputs: tuple[str, ...] = ("refined", "boundary")  # what `forward` gives, in order

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        half = channels // 2
        self.mcbe = MCBE(channels, half)
        self.upsample = nn.Sequential(
            conv_bn_relu(2 * channels, channels, 3),
            upsample_conv(channels, channels),
            upsample_conv(channels, channels),
        )
        self.bgff = BGFF(channels)
        self.boundary_head = nn.Sequential(
            kaiming_conv_bn_relu(channels, half, 1),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, 1, kernel_size=1),
        )
        self.refinement = BoundaryRefinement(channels)
        self.mask_head = nn.Sequential(
            conv_bn_relu(channels, channels, 3),
            conv_bn_relu(channels, half, 3),
            nn.Conv2d(half, 1, kernel_size=1),
        )

    def detail(self, images: Tensor) -> Tensor:
        """D, once per image: normalised images (B, 3, H, W) to (B, 32, H, W)."""
        whole = (
            self.training
            or isinstance(images.shape[-1], torch.SymInt)  # as in an export
            or max(images.shape[-2:]) <= PIECE
        )
        return self.mcbe(images) if whole else in_pieces(self.mcbe, images, DETAIL_REACH)

    def forward(
        self, detail: Tensor, mask_features: Tensor, deep_features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refine R nuclei, each in its own frame or crop.

        Args:
            detail: D of each nucleus's image, (R, 32, H, W).
            mask_features: U, the decoder's up-scaled embedding, (R, 32, H/4, W/4).
            deep_features: G of each nucleus's image, (R, 32, H/4, W/4).

        Returns:
            Refined logits and boundary logits, each (R, H, W).
        """
        if detail.is_cpu and not self.training:
            # Convolutions and samplings of a CPU are faster with channels together in memory.
            together = partial(torch.Tensor.contiguous, memory_format=torch.channels_last)
            inputs = detail, mask_features, deep_features
            detail, mask_features, deep_features = map(together, inputs)
        run = run_twice if self.checkpoint_activations and self.training else run_once
        semantic = run(self.upsample, torch.cat([mask_features, deep_features], dim=1))
        fused = run(self.bgff, semantic, detail)
        boundary_logits = run(self.boundary_head, fused)
        refined_logits = run(self.mask_head, run(self.refinement, semantic, fused))
        return refined_logits.squeeze(1), boundary_logits.squeeze(1)
