"""The convolutions that the mask head is made of. Below: n maps of h×w px."""

from torch import nn


def conv_bn(in_channels: int, out_channels: int, kernel_size: int, *activation: nn.Module):
    """Convolution without bias at the same size, batch norm, and what is given to follow."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        *activation,
    )


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return conv_bn(in_channels, out_channels, kernel_size, nn.ReLU(inplace=True))


def kaiming_conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """As `conv_bn_relu`, its weights at first normal with a deviation of 1/√fan-in, as released."""
    block = conv_bn_relu(in_channels, out_channels, kernel_size)
    nn.init.kaiming_normal_(block.get_parameter("0.weight"), a=1)
    return block


def upsample_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Bilinear upsampling to twice the size, then convolution, batch norm and ReLU."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        *conv_bn_relu(in_channels, out_channels, 3),
    )
