"""Anchor points on a regular grid, and sampling of feature maps at points.

B images, H×W px, gh×gw anchors, h×w cells of a map. Points are (x, y) in px.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def anchor_grid(height: int, width: int, stride: int, device: torch.device | None = None) -> Tensor:
    """One anchor per `stride`-sized cell of an image, cells cut by the border included.

    Column j is at `j·stride + r/2`, where r is the width of the last column's cell (`width mod
    stride`, or `stride` if that is 0); rows likewise. Padding of the image belongs to it here.

    Returns:
        (gh, gw, 2) = (⌈H/stride⌉, ⌈W/stride⌉, 2) points (x, y) in px, float32.
    """
    y = _anchor_line(height, stride, device)
    x = _anchor_line(width, stride, device)
    return torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)


def _anchor_line(length: int, stride: int, device: torch.device | None) -> Tensor:
    cells = torch.arange(math.ceil(length / stride), dtype=torch.float32, device=device)
    return cells * stride + (length % stride or stride) / 2


def sample_at_points(feature: Tensor, points: Tensor, stride: int) -> Tensor:
    """Sample a map bilinearly at image points; outside of the map there are zeros.

    Args:
        feature: (B, C, h, w) map.
        points: (B, gh, gw, 2) points (x, y) in px of the image.
        stride: px of the image to a cell of the map.

    Returns:
        (B, C, gh, gw) samples.
    """
    height, width = feature.shape[-2:]
    size = points.new_tensor([width * stride, height * stride])
    grid = 2 * points / size - 1
    return F.grid_sample(feature.to(grid.dtype), grid, padding_mode="zeros", align_corners=True)
