"""The deformable convolution is torchvision's, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d

from cfrsam_d2.modeling.mask_head.layers import DeformConv, sample_taps, tap_products


def inputs(size: tuple[int, int], reach: float) -> list[torch.Tensor]:
    """A map, offsets of about `reach` px, modulation and weights; double, so that all is exact."""
    torch.manual_seed(0)
    tensors = [
        torch.randn(2, 5, *size),
        reach * torch.randn(2, 9, 2, *size),
        torch.rand(2, 9, *size),
        torch.randn(4, 5, 3, 3),
    ]
    return [each.double().requires_grad_() for each in tensors]


def deform_conv3x3(x, offset, mask, weight) -> torch.Tensor:
    return sample_taps(tap_products(x, weight), offset, mask)


def of_torchvision(x, offset, mask, weight) -> torch.Tensor:
    return deform_conv2d(x, offset.flatten(1, 2), weight, padding=1, mask=mask)


@pytest.mark.parametrize("size", [(11, 13), (8, 16), (1, 3)])
@pytest.mark.parametrize("reach", [0.5, 3.0, 30.0, 1e6])
def test_equals_torchvision(size: tuple[int, int], reach: float):
    """From taps within the map to taps that are all far outside it."""
    arguments = inputs(size, reach)
    actual, expected = deform_conv3x3(*arguments), of_torchvision(*arguments)
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)
    weighting = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual, arguments, weighting),
        torch.autograd.grad(expected, arguments, weighting),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=0)
    if reach == 1e6:
        assert not actual.any()


def test_equals_torchvision_where_training_starts():
    """At offset 0 the slope is one-sided; in maps of 2ⁿ px, where positions are exact, the same."""
    arguments = inputs((16, 8), 0.0)
    actual, expected = deform_conv3x3(*arguments), of_torchvision(*arguments)
    weighting = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual, arguments, weighting),
        torch.autograd.grad(expected, arguments, weighting),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=0)


def test_an_offset_is_y_before_x_and_moves_the_tap():
    x = torch.arange(30.0).view(1, 1, 5, 6)
    offset = torch.zeros(1, 9, 2, 5, 6)
    offset[:, 4, 0], offset[:, 4, 1] = 1, 2  # the centre tap, one down and two right
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    out = deform_conv3x3(x, offset, torch.ones(1, 9, 5, 6), weight)
    torch.testing.assert_close(out, F.pad(x, (-2, 2, -1, 1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_positions(dtype: torch.dtype):
    """0.3 px at column 200 is finer than half-precision numbers of that size can tell."""
    x = (torch.arange(256) % 2).expand(1, 1, 4, 256).to(dtype)
    offset = torch.zeros(1, 9, 2, 4, 256, dtype=dtype)
    offset[:, 4, 1] = 0.3
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    with torch.autocast("cpu", dtype=dtype):
        out = deform_conv3x3(x, offset, torch.ones(1, 9, 4, 256, dtype=dtype), weight).float()
    expected = torch.tensor([0.3, 0.7]).repeat(128)[:-1].expand(1, 1, 4, 255)
    torch.testing.assert_close(out[..., :-1], expected, atol=3e-3, rtol=0)


def test_a_new_layer_is_half_a_plain_convolution():
    torch.manual_seed(0)
    layer = DeformConv(5, 4)
    layer.norm.running_mean.normal_()
    x = torch.randn(2, 5, 7, 9)
    layer.eval()
    plain = F.conv2d(x, layer.conv.weight, padding=1)
    torch.testing.assert_close(layer(x), F.relu(layer.norm(plain / 2)), atol=1e-5, rtol=0)


def test_the_layer_follows_its_predicted_offsets_and_modulation():
    torch.manual_seed(0)
    layer = DeformConv(5, 4).eval()
    nn.init.normal_(layer.offset.weight, std=0.3)
    nn.init.normal_(layer.offset.bias, std=0.3)
    x = torch.randn(2, 5, 7, 9)
    offset, mask = layer.offset(x).split((18, 9), dim=1)
    expected = deform_conv2d(x, offset, layer.conv.weight, padding=1, mask=mask.sigmoid())
    torch.testing.assert_close(layer(x), F.relu(layer.norm(expected)), atol=1e-5, rtol=1e-5)


def test_every_parameter_of_a_new_layer_gets_a_gradient():
    torch.manual_seed(0)
    layer = DeformConv(3, 4)
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in layer.parameters())
