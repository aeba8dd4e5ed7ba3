"""The convolutions that the mask head is made of. Below: n maps of h×w px."""

import torch
import torch.nn.functional as F
from torch import nn

TAPS = 9  # of a 3×3 kernel


def conv_bn(in_channels: int, out_channels: int, kernel_size: int, *activation: nn.Module):
    """Convolution without bias at the same size, batch norm, and what is given to follow."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        *activation,
    )


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return conv_bn(in_channels, out_channels, kernel_size, nn.ReLU(inplace=True))


def upsample_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Bilinear upsampling to twice the size, then convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        *conv_bn_relu(in_channels, out_channels, 3),
    )


class DeformConv(nn.Module):
    """Modulated deformable 3×3 convolution, batch norm, ReLU (deformable convolution v2).

    Computes what `torchvision.ops.deform_conv2d` does, through `grid_sample`, whose CPU kernels
    are several times faster, forward and backward (benchmarks/deform_conv.py).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, kernel_size=3, padding=1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: (n, in_channels, h, w). Returns: (n, out_channels, h, w)."""
        offset_and_mask = self.offset(x)
        offset = offset_and_mask[:, : 2 * TAPS].unflatten(1, (TAPS, 2))  # (n, 9, (y, x), h, w)
        mask = offset_and_mask[:, 2 * TAPS :].sigmoid()  # (n, 9, h, w)
        return F.relu(self.norm(deform_conv3x3(x, offset, mask, self.conv.weight)))


def deform_conv3x3(
    x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Modulated deformable 3×3 convolution without bias, zeros outside the map.

    Args:
        x: (n, in_channels, h, w).
        offset: displacement of each tap in px, (n, 9, 2, h, w), y before x.
        mask: weight of each tap, (n, 9, h, w).
        weight: (out_channels, in_channels, 3, 3).

    Returns:
        (n, out_channels, h, w).
    """
    height, width = x.shape[-2:]
    if x.dtype in (torch.float16, torch.bfloat16):  # too coarse for positions
        x, offset = x.float(), offset.float()
    rows = torch.arange(height, device=x.device, dtype=x.dtype).view(1, height, 1)
    columns = torch.arange(width, device=x.device, dtype=x.dtype).view(1, 1, width)
    # Weighting channels and sampling places commute: sampled are the few output channels.
    taps = weight.flatten(2).permute(2, 0, 1).flatten(0, 1)[..., None, None]
    products = F.conv2d(x, taps).chunk(TAPS, dim=1)  # (n, out_channels, h, w) each
    out = x.new_zeros(())
    for tap in range(TAPS):
        y = rows + (tap // 3 - 1) + offset[:, tap, 0]
        x_ = columns + (tap % 3 - 1) + offset[:, tap, 1]
        # Cell centres in [-1, 1] of the whole extent: align_corners=False, as for map edges.
        grid = torch.stack([(2 * x_ + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        sampled = F.grid_sample(products[tap], grid, padding_mode="zeros", align_corners=False)
        out = out + sampled * mask[:, tap, None]
    return out
