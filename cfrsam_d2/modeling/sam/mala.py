"""Multi-scale Adaptive Local-aware Adapter (paper 3.4).

B maps (images or attention windows), h×w cells of 16 px, D encoder width, r adapter rank.
"""

import torch
import torch.nn.functional as F
from torch import nn

KERNEL_SIZES = (3, 5, 7)


class AdaptiveMultiScaleConv(nn.Module):
    """Convolve each pixel with its own softmax kernels of 3, 5 and 7 px (Eq. 3 to 5)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kernel_convs = nn.ModuleList(
            nn.Conv2d(channels, size**2, kernel_size=3, padding=1) for size in KERNEL_SIZES
        )
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Args and returns: a map (B, r, h, w), h and w at least 4 (the padding reflects)."""
        z = z + self._convolve(z, self._predict_kernel(z))
        return z + self.mix(z)

    def _predict_kernel(self, z: torch.Tensor) -> torch.Tensor:
        """The mean of the three kernels, as one of 7×7 a pixel: (B, 49, h, w).

        The small kernels sit in its centre, and reflection pads all sizes alike, so one
        convolution does the work of three.
        """
        largest = KERNEL_SIZES[-1]
        kernel = z.new_zeros(())
        for size, conv in zip(KERNEL_SIZES, self.kernel_convs, strict=True):
            weights = conv(z).softmax(dim=1).unflatten(1, (size, size))  # (B, k, k, h, w)
            margin = (largest - size) // 2
            kernel = kernel + F.pad(weights, (0, 0, 0, 0, margin, margin, margin, margin))
        return kernel.flatten(1, 2) / len(KERNEL_SIZES)

    @staticmethod
    def _convolve(z: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        """Apply a kernel a pixel, (B, 49, h, w), shared by all channels of z (B, r, h, w).

        Place by place of the kernel: no copies of z are laid out, and it is several times faster.
        """
        height, width = z.shape[-2:]
        size = KERNEL_SIZES[-1]
        padded = F.pad(z, (size // 2,) * 4, mode="reflect")
        convolved = torch.zeros_like(z)
        for place in range(size**2):
            y, x = divmod(place, size)
            moved = padded[:, :, y : y + height, x : x + width]
            convolved = torch.addcmul(convolved, moved, kernel[:, place, None])
        return convolved


class MALA(nn.Module):
    """The adapter: scaled normalisation, down to rank r, adaptive convolution, up, residual.

    Args:
        dim: D, channels of the encoder.
        rank: r, channels of the bottleneck (64 published).
        dropout: on the activated bottleneck.
    """

    def __init__(self, dim: int, rank: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.norm_scale = nn.Parameter(torch.full((dim,), 1e-6))
        self.input_scale = nn.Parameter(torch.ones(dim))
        self.down = nn.Linear(dim, rank)
        self.conv = AdaptiveMultiScaleConv(rank)
        self.dropout = nn.Dropout(dropout)
        self.up = nn.Linear(rank, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args and returns: a channels-last map (B, h, w, D), h and w at least 4."""
        y = self.norm_scale * self.norm(x) + self.input_scale * x
        z = self.down(y).permute(0, 3, 1, 2)  # (B, r, h, w)
        z = self.conv(z).permute(0, 2, 3, 1)  # (B, h, w, r)
        return x + self.up(self.dropout(F.gelu(z)))
