"""Modulated deformable convolution (Zhu et al., "Deformable ConvNets v2"), as BGMR uses it.

n maps of h×w px, C channels in, c channels out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

TAPS = 9  # of a 3×3 kernel


class DeformConv(nn.Module):
    """Modulated deformable 3×3 convolution, batch norm, ReLU.

    Attributes:
        fast: through `grid_sample` of few channels, on CPUs several times faster than torchvision's
            operator, forward and backward (benchmarks/deform_conv.py).
    """

    fast = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """
        Args:
            in_channels: C.
            out_channels: c.
        """
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 3 * TAPS, kernel_size=3, padding=1)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Args: (n, C, h, w). Returns: (n, c, h, w)."""
        offset, mask = self.offset(x).split([2 * TAPS, TAPS], dim=1)
        if self.fast:
            x = deform_conv_by_taps(x, offset, self.conv.weight, mask.sigmoid())
        else:
            x = deform_conv2d(x, offset, self.conv.weight, padding=(1, 1), mask=mask.sigmoid())
        return F.relu(self.norm(x))


def deform_conv_by_taps(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """As `torchvision.ops.deform_conv2d` of a 3×3 kernel with padding 1; zeros outside the map.

    Weighting channels and sampling places commute: what each tap adds to the pixel that it lies on
    is computed first, and sampled are then the c channels instead of the C.

    Args:
        x: (n, C, h, w).
        offset: displacement of each tap in px, y before x, (n, 18, h, w).
        weight: (c, C, 3, 3).
        mask: weight of each tap, (n, 9, h, w).

    Returns:
        (n, c, h, w).
    """
    height, width = x.shape[-2:]
    products = F.conv2d(x, weight.flatten(2).permute(2, 0, 1).flatten(0, 1)[..., None, None])
    if offset.dtype in (torch.float16, torch.bfloat16):  # too coarse for positions
        offset = offset.float()
    products = products.to(offset.dtype).chunk(TAPS, dim=1)  # (n, c, h, w) each
    taps = torch.arange(TAPS, device=offset.device)[:, None]
    y, x = offset.unflatten(1, (TAPS, 2)).unbind(dim=2)  # (n, 9, h, w) each
    y = y + _tap_places(height, taps // 3, offset)[..., None]  # px
    x = x + _tap_places(width, taps % 3, offset)[:, None]
    # Cell centres in [-1, 1] of the whole extent: align_corners=False, as for map edges.
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    out = offset.new_zeros(())
    for tap in range(TAPS):
        sampled = F.grid_sample(
            products[tap], grid[:, tap], padding_mode="zeros", align_corners=False
        )
        out = torch.addcmul(out, sampled, mask[:, tap, None])
    return out


def _tap_places(length: int, tap: Tensor, like: Tensor) -> Tensor:
    """Where taps lie without offsets.

    Args:
        length: rows or columns of the map.
        tap: the row or column of each tap in the kernel, (9, 1).
        like: of the type of the result.

    Returns:
        In px of the map, (9, length).
    """
    return (torch.arange(length, device=tap.device) + tap - 1).to(like.dtype)
