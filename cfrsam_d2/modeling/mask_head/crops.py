"""Cut windows out of maps, and lay them back into frames. R windows, in px of their maps.

Autograd's own gradients of slices are of the size of a whole map each; these are summed in place.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

Area = tuple  # the index of a window's part of a batch of maps


def crop(maps: Tensor, index: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut one window a nucleus from its map.

    Args:
        maps: (n, C, h, w).
        index: which map each window is cut from, (R,).
        corners: x0, y0 of each window, (R, 2).
        size: (height, width) of all windows.

    Returns:
        (R, C, height, width).
    """
    return _Crop.apply(maps, _areas(index.tolist(), corners, size))


def paste(crops: Tensor, corners: Tensor, frame_size: tuple[int, int], outside: float) -> Tensor:
    """Lay each window into a frame of its own.

    Args:
        crops: (R, height, width).
        corners: x0, y0 of each window in its frame, (R, 2).
        frame_size: (H, W).
        outside: what fills the rest of the frame.

    Returns:
        (R, H, W).
    """
    areas = _areas(range(len(crops)), corners, crops.shape[-2:])
    return _Paste.apply(crops, areas, frame_size, outside)


def _areas(index: Iterable[int], corners: Tensor, size: tuple[int, int]) -> list[Area]:
    height, width = size
    return [
        (i, ..., slice(y, y + height), slice(x, x + width))
        for i, (x, y) in zip(index, corners.tolist(), strict=True)
    ]


class _Crop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps: Tensor, areas: list[Area]) -> Tensor:
        ctx.areas, ctx.shape = areas, maps.shape
        return torch.stack([maps[area] for area in areas])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        of_maps = grad.new_zeros(ctx.shape)
        for area, each in zip(ctx.areas, grad, strict=True):
            of_maps[area] += each
        return of_maps, None


class _Paste(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, crops: Tensor, areas: list[Area], frame_size: tuple[int, int], outside: float
    ) -> Tensor:
        ctx.areas = areas
        frames = crops.new_full((len(crops), *frame_size), outside)
        for area, each in zip(areas, crops, strict=True):
            frames[area] = each
        return frames

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return torch.stack([grad[area] for area in ctx.areas]), None, None, None
