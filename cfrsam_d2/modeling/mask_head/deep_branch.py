"""The fused encoder features, brought from a sixteenth to a quarter of the input's size."""

from torch import nn

from .layers import upsample_conv


def deep_branch(in_channels: int = 256, out_channels: int = 32) -> nn.Sequential:
    """Two rounds of upsampling and convolution (paper 3.6.1): (B, 256, h, w) → (B, 32, 4h, 4w)."""
    return nn.Sequential(upsample_conv(in_channels, 64), upsample_conv(64, out_channels))
