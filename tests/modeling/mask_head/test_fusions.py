"""HMFM and what can take its place: each on levels whose sum, mean and mixture are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cfrsam_d2.modeling.mask_head.fusions import FUSIONS
from cfrsam_d2.modeling.mask_head.hmfm import HMFM


@pytest.fixture
def levels() -> list[torch.Tensor]:
    return [torch.randn(2, 6, 4, 5) for _ in range(4)]


def constant(*values: float) -> list[torch.Tensor]:
    return [torch.full((1, 6, 4, 4), value) for value in values]


def test_hmfm_equals_its_formula():
    fusion = HMFM(channels=6, num_levels=3).eval()
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, mean=0.05, std=0.2)
    for gate in fusion.gates:
        gate[1].running_mean.normal_()
        gate[1].running_var.uniform_(0.5, 1.5)
    levels = [torch.randn(2, 6, 4, 5) for _ in range(3)]
    expected = torch.zeros(2, 6, 4, 5)
    for gate, level in zip(fusion.gates, levels, strict=True):
        response = gate[1](F.conv2d(level, gate[0].weight)).relu()
        expected += level * (1 + response.mean(dim=(2, 3), keepdim=True).sigmoid())
    torch.testing.assert_close(fusion(levels), expected)


def test_hmfms_published_parameter_count():
    count = sum(each.numel() for each in HMFM().parameters())
    assert count / 1e6 == pytest.approx(0.264, abs=5e-4)


def test_known_answers():
    for name, expected in {"last": 7.0, "add": 9.0, "average": 2.25}.items():
        fusion = FUSIONS[name](6)
        assert torch.equal(fusion(constant(1.0, -2.0, 3.0, 7.0)), constant(expected)[0])
        assert list(fusion.parameters()) == []


def test_concatenation_is_one_product_a_pixel(levels: list[torch.Tensor]):
    fusion = FUSIONS["concatenate"](6)
    weights = fusion.conv.weight[:, :, 0, 0].split(6, dim=1)
    expected = sum(
        torch.einsum("oc,bchw->bohw", weight, level)
        for weight, level in zip(weights, levels, strict=True)
    )
    expected = expected + fusion.conv.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(fusion(levels), expected)


def test_concatenation_takes_four_times_the_channels():
    parameters = FUSIONS["concatenate"](256).parameters()
    assert sum(each.numel() for each in parameters) == 4 * 256 * 256 + 256


def test_all_keep_the_shape_and_the_levels(levels: list[torch.Tensor]):
    before = [level.clone() for level in levels]
    for build in FUSIONS.values():
        assert build(6).eval()(levels).shape == (2, 6, 4, 5)
        assert all(torch.equal(old, new) for old, new in zip(before, levels, strict=True))


def test_all_but_the_last_use_every_level(levels: list[torch.Tensor]):
    for name, build in FUSIONS.items():
        given = [F.relu(level).requires_grad_() for level in levels]
        build(6).eval()(given).square().sum().backward()
        used = [level.grad is not None and bool(level.grad.any()) for level in given]
        assert used == ([False, False, False, True] if name == "last" else [True] * 4), name
