"""The deformable convolution is torchvision's, values and gradients."""

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d

from cfrsam_d2.modeling.mask_head.deform_conv import DeformConv, deform_conv_by_taps


def inputs(size: tuple[int, int], reach: float) -> list[torch.Tensor]:
    """A map, offsets of about `reach` px, weights and modulation; double, so that all is exact."""
    torch.manual_seed(0)
    tensors = [
        torch.randn(2, 5, *size),
        reach * torch.randn(2, 18, *size),
        torch.randn(4, 5, 3, 3),
        torch.rand(2, 9, *size),
    ]
    return [each.double().requires_grad_() for each in tensors]


def of_torchvision(x, offset, weight, mask) -> torch.Tensor:
    return deform_conv2d(x, offset, weight, padding=1, mask=mask)


def assert_same_gradients(
    actual: torch.Tensor, expected: torch.Tensor, arguments: list[torch.Tensor]
) -> None:
    weighting = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual, arguments, weighting),
        torch.autograd.grad(expected, arguments, weighting),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=0)


def test_equals_torchvision():
    """From taps within the map to taps that are all far outside it."""
    for size in [(11, 13), (8, 16), (1, 3)]:
        for reach in (0.5, 3.0, 30.0, 1e6):
            arguments = inputs(size, reach)
            actual, expected = deform_conv_by_taps(*arguments), of_torchvision(*arguments)
            torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)
            assert_same_gradients(actual, expected, arguments)
            if reach == 1e6:
                assert not actual.any()


def test_equals_torchvision_where_training_starts():
    """At offset 0 the slope is one-sided; in maps of 2ⁿ px, where positions are exact, the same."""
    arguments = inputs((16, 8), 0.0)
    assert_same_gradients(deform_conv_by_taps(*arguments), of_torchvision(*arguments), arguments)


def centre_tap() -> torch.Tensor:
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    return weight


def test_an_offset_is_y_before_x_and_moves_the_tap():
    x = torch.arange(30.0).view(1, 1, 5, 6)
    offset = torch.zeros(1, 18, 5, 6)
    offset[:, 8], offset[:, 9] = 1, 2  # the centre tap, one down and two right
    out = deform_conv_by_taps(x, offset, centre_tap(), torch.ones(1, 9, 5, 6))
    torch.testing.assert_close(out, F.pad(x, (-2, 2, -1, 1)))


def test_half_precision_keeps_positions():
    """0.3 px at column 200 is finer than half-precision numbers of that size can tell."""
    for dtype in (torch.float16, torch.bfloat16):
        x = (torch.arange(256) % 2).expand(1, 1, 4, 256).to(dtype)
        offset = torch.zeros(1, 18, 4, 256, dtype=dtype)
        offset[:, 9] = 0.3
        mask = torch.ones(1, 9, 4, 256, dtype=dtype)
        with torch.autocast("cpu", dtype=dtype):
            out = deform_conv_by_taps(x, offset, centre_tap(), mask).float()
        expected = torch.tensor([0.3, 0.7]).repeat(128)[:-1].expand(1, 1, 4, 255)
        torch.testing.assert_close(out[..., :-1], expected, atol=3e-3, rtol=0)


def test_a_new_layer_is_half_a_plain_convolution():
    layer = DeformConv(5, 4)
    layer.norm.running_mean.normal_()
    x = torch.randn(2, 5, 7, 9)
    layer.eval()
    plain = F.conv2d(x, layer.conv.weight, padding=1)
    torch.testing.assert_close(layer(x), F.relu(layer.norm(plain / 2)), atol=1e-5, rtol=0)


def test_the_layer_follows_its_predicted_offsets_and_modulation():
    layer = DeformConv(5, 4).eval()
    nn.init.normal_(layer.offset.weight, std=0.3)
    nn.init.normal_(layer.offset.bias, std=0.3)
    x = torch.randn(2, 5, 7, 9)
    offset, mask = layer.offset(x).split((18, 9), dim=1)
    expected = deform_conv2d(x, offset, layer.conv.weight, padding=1, mask=mask.sigmoid())
    torch.testing.assert_close(layer(x), F.relu(layer.norm(expected)), atol=1e-5, rtol=1e-5)


def test_every_parameter_of_a_new_layer_gets_a_gradient():
    layer = DeformConv(3, 4)
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in layer.parameters())
