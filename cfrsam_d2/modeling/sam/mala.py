"""Multi-scale Adaptive Local-aware Adapter (paper 3.4).

B maps (images or attention windows), h×w cells of 16 px, D encoder width, r adapter rank.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL_SIZES = (3, 5, 7)


class AdaptiveMultiScaleConv(nn.Module):
    """Convolve each cell with its own softmax kernels of 3, 5 and 7 cells (Eq. 3 to 5).

    Attributes:
        fast: one convolution with the mean of the kernels, in place of one with each. The small
            ones sit in the middle of the largest, and reflection pads all sizes alike.
    """

    fast = True

    def __init__(self, channels: int) -> None:
        """
        Args:
            channels: r.
        """
        super().__init__()
        self.kernel_convs = nn.ModuleList(
            nn.Conv2d(channels, size**2, kernel_size=3, padding=1) for size in KERNEL_SIZES
        )
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, z: Tensor) -> Tensor:
        """Args and returns: a map (B, r, h, w), h and w at least 4 (the padding reflects)."""
        kernels = [conv(z).softmax(dim=1) for conv in self.kernel_convs]  # (B, k², h, w) each
        if self.fast:
            z = z + convolve_by_rows(z, mean_kernel(kernels))
        else:
            z = z + sum(convolve_by_unfolding(z, kernel) for kernel in kernels) / len(kernels)
        return z + self.mix(z)


def convolve_by_unfolding(z: Tensor, kernel: Tensor) -> Tensor:
    """Apply a kernel per cell, (B, k², h, w), shared by all channels of z, (B, r, h, w)."""
    size = math.isqrt(kernel.shape[1])
    padded = F.pad(z, (size // 2,) * 4, mode="reflect")
    patches = F.unfold(padded, size).unflatten(1, (z.shape[1], size**2))  # (B, r, k², h·w)
    return torch.einsum("brkp,bkp->brp", patches, kernel.flatten(2)).view_as(z)


def convolve_by_rows(z: Tensor, kernel: Tensor) -> Tensor:
    """As `convolve_by_unfolding`, as one product of matrices for each row of cells.

    A cell's kernel, moved to its place among the w+k−1 columns of the padded map, is a row of a
    band matrix of w×(w+k−1): that times the columns is what one row of the kernels gives.
    """
    height, width = z.shape[-2:]
    size = math.isqrt(kernel.shape[1])
    padded = F.pad(z, (size // 2,) * 4, mode="reflect").permute(0, 2, 3, 1)  # channels last
    seen = torch.stack([padded[:, y : y + height] for y in range(size)], dim=2)
    square = kernel.unflatten(1, (size, size)).permute(0, 3, 1, 4, 2)  # (B, h, k, w, k)
    # With w zeros after each kernel and w+k−1 columns to a line, each starts one further right.
    columns = width + size - 1
    band = F.pad(square, (0, width)).flatten(3)[..., : width * columns]
    band = band.unflatten(3, (width, columns)).transpose(2, 3)  # (B, h, w, k, w+k−1)
    return (band.flatten(3) @ seen.flatten(2, 3)).permute(0, 3, 1, 2)


def mean_kernel(kernels: Sequence[Tensor]) -> Tensor:
    """The mean of kernels (B, k², h, w), in the size of the largest, which is the last."""
    largest = math.isqrt(kernels[-1].shape[1])
    total = kernels[-1].new_zeros(())
    for kernel in kernels:
        size = math.isqrt(kernel.shape[1])
        margin = (largest - size) // 2
        square = kernel.unflatten(1, (size, size))  # (B, k, k, h, w)
        total = total + F.pad(square, (0, 0, 0, 0, margin, margin, margin, margin))
    return total.flatten(1, 2) / len(kernels)


class MALA(nn.Module):
    """The adapter: scaled normalisation, down to rank r, adaptive convolution, up, residual.

    Attributes:
        reach: how many cells around its own an output depends on.
    """

    reach = max(KERNEL_SIZES) // 2

    def __init__(self, dim: int, rank: int, dropout: float = 0.1) -> None:
        """
        Args:
            dim: D, channels of the encoder.
            rank: r, channels of the bottleneck (64 published).
            dropout: on the activated bottleneck.
        """
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.norm_scale = nn.Parameter(torch.full((dim,), 1e-6))
        self.input_scale = nn.Parameter(torch.ones(dim))
        self.down = nn.Linear(dim, rank)
        self.conv = AdaptiveMultiScaleConv(rank)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(rank, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Args and returns: a channels-last map (B, h, w, D), h and w at least 4."""
        y = self.norm_scale * self.norm(x) + self.input_scale * x
        z = self.down(y).permute(0, 3, 1, 2)  # (B, r, h, w)
        z = self.conv(z).permute(0, 2, 3, 1)  # (B, h, w, r)
        return x + self.up(self.dropout(F.gelu(z)))
