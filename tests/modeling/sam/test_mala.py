"""The adapter does what its formula says, on maps and windows of any shape from four cells on."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cfrsam_d2.modeling.sam import MALA


@pytest.fixture
def mala() -> MALA:
    mala = MALA(dim=12, rank=5).eval()
    for parameter in mala.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mala


def as_written(mala: MALA, x: torch.Tensor) -> torch.Tensor:
    """MALA pixel by pixel and kernel by kernel, for one map (h, w, D)."""
    height, width, dim = x.shape
    y = mala.norm_scale * F.layer_norm(x, (dim,), mala.norm.weight, mala.norm.bias, 1e-5)
    z = (y + mala.input_scale * x) @ mala.down.weight.T + mala.down.bias  # (h, w, r)
    total = torch.zeros_like(z)
    for size, conv in zip((3, 5, 7), mala.conv.kernel_convs, strict=True):
        kernels = conv(z.permute(2, 0, 1)[None])[0].softmax(dim=0)  # (k², h, w)
        half = size // 2
        padded = F.pad(z.permute(2, 0, 1)[None], (half,) * 4, mode="reflect")[0]
        for row in range(height):
            for column in range(width):
                patch = padded[:, row : row + size, column : column + size].flatten(1)
                total[row, column] += patch @ kernels[:, row, column]
    z = total / 3 + z
    z = z + z @ mala.conv.mix.weight[:, :, 0, 0].T + mala.conv.mix.bias
    return x + F.gelu(z) @ mala.up.weight.T + mala.up.bias


def test_equals_its_formula(mala: MALA):
    for size in [(4, 4), (4, 7), (6, 5)]:
        x = torch.randn(2, *size, 12)
        with torch.no_grad():
            expected = torch.stack([as_written(mala, each) for each in x])
            torch.testing.assert_close(mala(x), expected, atol=1e-5, rtol=1e-5)


def test_starts_from_the_input_scaled_by_one():
    mala = MALA(dim=12, rank=5)
    assert torch.equal(mala.norm_scale, torch.full((12,), 1e-6))
    assert torch.equal(mala.input_scale, torch.ones(12))


def test_without_its_last_layer_it_changes_nothing(mala: MALA):
    nn.init.zeros_(mala.up.weight)
    nn.init.zeros_(mala.up.bias)
    x = torch.randn(1, 5, 5, 12)
    assert torch.equal(mala(x), x)


def test_every_parameter_gets_a_gradient(mala: MALA):
    mala(torch.randn(1, 5, 6, 12)).square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in mala.parameters())


def test_dropout_only_in_training(mala: MALA):
    x = torch.randn(1, 5, 5, 12)
    assert torch.equal(mala(x), mala(x))
    mala.train()
    assert not torch.equal(mala(x), mala(x))


def test_fewer_than_four_cells_are_refused(mala: MALA):
    for size in [(3, 8), (8, 3)]:
        with pytest.raises(RuntimeError, match="Padding size should be less than"):
            mala(torch.zeros(1, *size, 12))


def test_published_parameter_counts():
    for dim, depth, millions in [(768, 12, 3.702), (1280, 32, 14.231)]:
        count = 2 * depth * sum(each.numel() for each in MALA(dim, rank=64).parameters())
        assert count / 1e6 == pytest.approx(millions, abs=5e-4)
