"""Boundary-Guided Mask Refinement: its parts as the paper writes them, sizes, gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cfrsam_d2.modeling.mask_head.bgmr import BGFF, BGMR, MCBE, BoundaryRefinement, SpatialAttention
from cfrsam_d2.modeling.mask_head.deep_branch import deep_branch


def awake(module: nn.Module) -> nn.Module:
    """The module in evaluation, with statistics and parameters that are nowhere 0 or 1."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.05, std=0.2)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 1.5)
    return module.eval()


def test_logits_at_four_times_the_size_of_the_mask_features():
    bgmr = awake(BGMR())
    for height, width in [(16, 16), (8, 20)]:
        quarter = torch.randn(2, 3, 32, height // 4, width // 4)
        detail = bgmr.detail(torch.randn(3, 3, height, width))
        assert detail.shape == (3, 32, height, width)
        refined, boundary = bgmr(detail, *quarter)
        assert refined.shape == boundary.shape == (3, height, width)


def test_nuclei_do_not_meet_in_evaluation():
    bgmr = awake(BGMR())
    detail, quarter = bgmr.detail(torch.randn(3, 3, 16, 16)), torch.randn(2, 3, 32, 4, 4)
    together = bgmr(detail, *quarter)
    for i in range(3):
        alone = bgmr(detail[i : i + 1], *quarter[:, i : i + 1])
        torch.testing.assert_close(alone[0][0], together[0][i], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone[1][0], together[1][i], atol=1e-5, rtol=1e-5)


def test_every_parameter_gets_a_gradient_from_its_own_loss():
    bgmr = BGMR()
    images, quarter = torch.randn(2, 3, 16, 16), torch.randn(2, 2, 32, 4, 4)
    refined, boundary = bgmr(bgmr.detail(images), *quarter)
    (refined.square().sum() + boundary.square().sum()).backward()
    for name, parameter in bgmr.named_parameters():
        assert parameter.grad is not None, name
        # A bias before batch norm shifts nothing: its gradient is rounding.
        assert parameter.grad.any() or name == "refinement.expand.bias", name


def test_mcbe_equals_its_formula():
    mcbe = awake(MCBE())
    images = torch.randn(2, 3, 9, 12)

    def layer(sequence: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        return sequence[1](F.conv2d(x, sequence[0].weight, padding=sequence[0].padding))

    def average(x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, torch.full((16, 1, 3, 3), 1 / 9), padding=1, groups=16)

    base = layer(mcbe.base, images).relu()
    m = layer(mcbe.first, base).sigmoid()
    features = [m]
    for t in range(3):
        m = layer(mcbe.contexts[t], average(m)).sigmoid()
        features.append(m + layer(mcbe.enhancers[t], m - average(m)).sigmoid())
    expected = base + layer(mcbe.out, torch.cat(features, dim=1)).relu()
    torch.testing.assert_close(mcbe(images), expected, atol=1e-5, rtol=1e-5)


def test_spatial_attention_equals_its_formula():
    attention = awake(SpatialAttention())
    x = torch.randn(2, 5, 9, 8)
    pooled = torch.stack([x.mean(dim=1), x.max(dim=1).values], dim=1).sigmoid()
    expected = x * (1 + F.conv2d(pooled, attention.conv.weight, attention.conv.bias, padding=3))
    torch.testing.assert_close(attention(x), expected)


def test_fusion_gives_each_branch_its_half_of_the_semantic_features():
    bgff = awake(BGFF())
    semantic, detail = torch.randn(1, 32, 8, 8), torch.randn(1, 32, 8, 8)
    plain = bgff.plain_attention(bgff.plain(torch.cat([detail, semantic[:, :16]], dim=1)))
    deform = bgff.deform_attention(bgff.deform(torch.cat([detail, semantic[:, 16:]], dim=1)))
    expected = bgff.fuse(torch.cat([plain, deform], dim=1))
    torch.testing.assert_close(bgff(semantic, detail), expected, atol=1e-5, rtol=1e-5)


def test_refinement_adds_to_the_semantic_features():
    refinement = awake(BoundaryRefinement())
    semantic, fused = torch.randn(2, 2, 32, 8, 8)
    bottleneck = refinement.deform(refinement.reduce(fused.sigmoid() * semantic))
    added = refinement.norm(refinement.expand(bottleneck))
    torch.testing.assert_close(refinement(semantic, fused), semantic + added)
    nn.init.zeros_(refinement.norm.weight)
    nn.init.zeros_(refinement.norm.bias)
    assert torch.equal(refinement(semantic, fused), semantic)


def test_published_parameter_counts():
    parameters = [*deep_branch().parameters(), *BGMR().parameters()]
    count = sum(each.numel() for each in parameters)
    assert count / 1e6 == pytest.approx(0.251, abs=5e-4)
