"""What can take HMFM's place: each on levels whose sum, mean and mixture are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cfrsam_d2.modeling.mask_head.fusions import FUSIONS


@pytest.fixture
def levels() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 6, 4, 5) for _ in range(4)]


def constant(*values: float) -> list[torch.Tensor]:
    return [torch.full((1, 6, 4, 4), value) for value in values]


@pytest.mark.parametrize(("name", "expected"), [("last", 7.0), ("add", 9.0), ("average", 2.25)])
def test_known_answers(name: str, expected: float):
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


@pytest.mark.parametrize("name", FUSIONS)
def test_all_keep_the_shape_and_the_levels(name: str, levels: list[torch.Tensor]):
    before = [level.clone() for level in levels]
    fusion: nn.Module = FUSIONS[name](6).eval()
    assert fusion(levels).shape == (2, 6, 4, 5)
    assert all(torch.equal(old, new) for old, new in zip(before, levels, strict=True))


@pytest.mark.parametrize("name", sorted(FUSIONS.keys() - {"last"}))
def test_all_but_the_last_use_every_level(name: str, levels: list[torch.Tensor]):
    levels = [F.relu(level).requires_grad_() for level in levels]
    FUSIONS[name](6).eval()(levels).square().sum().backward()
    assert all(level.grad.any() for level in levels)
