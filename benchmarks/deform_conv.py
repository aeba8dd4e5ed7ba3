#!/usr/bin/env python
"""The project's deformable convolution beside torchvision's: same numbers, milliseconds, ratio.

    python benchmarks/deform_conv.py

The sizes are those of BGMR: 48 channels to 16, on 25 crops of 64 px. Medians of 5 runs each.
"""

from collections.abc import Callable
from functools import partial

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from tabulate import tabulate
from timing import median_seconds
from torch import Tensor
from torchvision.ops import deform_conv2d

from cfrsam_d2.modeling.mask_head.deform_conv import TAPS, deform_conv_by_taps

NUCLEI, IN_CHANNELS, OUT_CHANNELS, SIDE, RUNS = 25, 48, 16, 64, 5


def by_torchvision(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    return deform_conv2d(x, offset, weight, padding=(1, 1), mask=mask)


def row(name: str, *works: Callable[[], object]) -> list[str | float]:
    """Milliseconds of torchvision's work and of ours, and their ratio."""
    theirs, ours = (1000 * median_seconds(work, RUNS) for work in works)
    return [name, theirs, ours, theirs / ours]


def main() -> None:
    torch.manual_seed(0)
    inputs = [
        torch.randn(NUCLEI, IN_CHANNELS, SIDE, SIDE),
        0.5 * torch.randn(NUCLEI, 2 * TAPS, SIDE, SIDE),
        0.05 * torch.randn(OUT_CHANNELS, IN_CHANNELS, 3, 3),
        torch.rand(NUCLEI, TAPS, SIDE, SIDE),
    ]
    forward = [partial(form, *inputs) for form in (by_torchvision, deform_conv_by_taps)]
    theirs, ours = (work() for work in forward)
    print(f"largest difference: {(ours - theirs).abs().max():.1e}")
    rows = [row("forward", *forward)]
    for each in inputs:
        each.requires_grad_()
    rows.append(row("forward and backward", *(lambda f=f: f().sum().backward() for f in forward)))
    headers = [f"{torch.get_num_threads()} threads", "torchvision ms", "ours ms", "ratio"]
    print(tabulate(rows, headers=headers, floatfmt=".1f"))


if __name__ == "__main__":
    main()
