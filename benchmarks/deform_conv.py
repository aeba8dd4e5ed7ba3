#!/usr/bin/env python
"""The project's deformable convolution beside torchvision's: same numbers, milliseconds, ratio.

    python benchmarks/deform_conv.py

The sizes are those of BGMR: 48 channels to 16, on 25 crops of 64 px. Medians of 5 runs each.
"""

from collections.abc import Callable

import torch
from tabulate import tabulate
from timing import median_seconds
from torch import Tensor
from torchvision.ops import deform_conv2d

from cfrsam_d2.modeling.mask_head.layers import TAPS, sample_taps, tap_products

NUCLEI, IN_CHANNELS, OUT_CHANNELS, SIDE, RUNS = 25, 48, 16, 64, 5


def ours(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return sample_taps(tap_products(x, weight), offset.unflatten(1, (TAPS, 2)), mask)


def torchvisions(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return deform_conv2d(x, offset, weight, padding=1, mask=mask)


def median_ms(work: Callable[[], object]) -> float:
    return 1000 * median_seconds(work, RUNS)


def main() -> None:
    torch.manual_seed(0)
    inputs = [
        torch.randn(NUCLEI, IN_CHANNELS, SIDE, SIDE),
        0.5 * torch.randn(NUCLEI, 2 * TAPS, SIDE, SIDE),
        torch.rand(NUCLEI, TAPS, SIDE, SIDE),
        0.05 * torch.randn(OUT_CHANNELS, IN_CHANNELS, 3, 3),
    ]
    print(f"largest difference: {(ours(*inputs) - torchvisions(*inputs)).abs().max():.1e}")
    rows = []
    with torch.no_grad():
        forward = [median_ms(lambda f=f: f(*inputs)) for f in (torchvisions, ours)]
    rows.append(["forward", *forward, forward[0] / forward[1]])
    for each in inputs:
        each.requires_grad_()
    both = [median_ms(lambda f=f: f(*inputs).sum().backward()) for f in (torchvisions, ours)]
    rows.append(["forward and backward", *both, both[0] / both[1]])
    headers = [f"{torch.get_num_threads()} threads", "torchvision ms", "ours ms", "ratio"]
    print(tabulate(rows, headers=headers, floatfmt=".1f"))


if __name__ == "__main__":
    main()
