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
        return self.combine(self.offset(x), tap_products(x, self.conv.weight))

    def combine(self, offset_and_mask: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
        """The second half of `forward`.

        Args:
            offset_and_mask: what `offset` gives, (n, 27, h, w).
            products: what `tap_products` gives, (n, 9·out_channels, h, w).
        """
        offset = offset_and_mask[:, : 2 * TAPS].unflatten(1, (TAPS, 2))  # (n, 9, (y, x), h, w)
        mask = offset_and_mask[:, 2 * TAPS :].sigmoid()  # (n, 9, h, w)
        return F.relu(self.norm(sample_taps(products, offset, mask)))


def conv_part(conv: nn.Conv2d, x: torch.Tensor, channels: slice) -> torch.Tensor:
    """A convolution of some of its input channels; those of all, with one bias, are its sum.

    Args:
        conv: the whole convolution.
        x: the maps of those channels.
        channels: which they are.
    """
    return F.conv2d(x, conv.weight[:, channels], padding=conv.padding)


def tap_products(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """What each tap of a 3×3 convolution would add to the pixel that it lies on.

    Weighting channels and sampling places commute: sampled are then the few output channels.

    Args:
        x: (n, in_channels, h, w).
        weight: (out_channels, in_channels, 3, 3).

    Returns:
        (n, 9·out_channels, h, w).
    """
    return F.conv2d(x, weight.flatten(2).permute(2, 0, 1).flatten(0, 1)[..., None, None])


def sample_taps(products: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The modulated deformable 3×3 convolution of what `tap_products` gives; zeros outside the map.

    Args:
        products: (n, 9·out_channels, h, w).
        offset: displacement of each tap in px, (n, 9, 2, h, w), y before x.
        mask: weight of each tap, (n, 9, h, w).

    Returns:
        (n, out_channels, h, w).
    """
    height, width = products.shape[-2:]
    if offset.dtype in (torch.float16, torch.bfloat16):  # too coarse for positions
        offset = offset.float()
    products = products.to(offset.dtype).chunk(TAPS, dim=1)
    rows = torch.arange(height, device=offset.device, dtype=offset.dtype).view(1, height, 1)
    columns = torch.arange(width, device=offset.device, dtype=offset.dtype).view(1, 1, width)
    out = offset.new_zeros(())
    for tap in range(TAPS):
        y = rows + (tap // 3 - 1) + offset[:, tap, 0]
        x = columns + (tap % 3 - 1) + offset[:, tap, 1]
        # Cell centres in [-1, 1] of the whole extent: align_corners=False, as for map edges.
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
        sampled = F.grid_sample(products[tap], grid, padding_mode="zeros", align_corners=False)
        out = out + sampled * mask[:, tap, None]
    return out
