"""The small heads of the prompt learner: an MLP for points, convolutions for the mask."""

from torch import nn


def point_head(dim: int, out_dim: int) -> nn.Sequential:
    """A two-layer MLP on the descriptor of a point: (…, dim) to (…, out_dim)."""
    return nn.Sequential(
        nn.Linear(dim, dim),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(dim, out_dim),
    )


def auxiliary_mask_head(dim: int) -> nn.Sequential:
    """Foreground logits of a map: (B, dim, h, w) to (B, 1, h + 2, w + 2).

    The last convolution is padded although it is 1×1: the published model's map grows by 2.
    """
    return nn.Sequential(
        nn.Conv2d(dim, dim, kernel_size=3, padding=1),
        nn.BatchNorm2d(dim),
        nn.ReLU(),
        nn.Conv2d(dim, 1, kernel_size=1, padding=1),
    )
