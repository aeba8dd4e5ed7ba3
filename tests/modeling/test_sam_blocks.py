"""Blocks that skip padding give what segment_anything's give, and their gradients."""

import copy

import pytest
import torch
from cfrsam_d2.modeling.sam.blocks import UnpaddedAttention, UnpaddedBlock
from cfrsam_d2.published import UnfoldedConv, as_published
from segment_anything.modeling.image_encoder import Attention, Block
from tiny_segmenter import tiny_encoder
from torch import nn

from cfrsam_d2.modeling.sam.mala import AdaptiveMultiScaleConv


def random_encoder(adapter: str) -> nn.Module:
    """With position tables, biases and adapters that matter."""
    torch.manual_seed(0)
    encoder = tiny_encoder(adapter=adapter, frozen=False).eval()
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name or "bias" in name or name.startswith("adapters."):
            nn.init.normal_(parameter, std=0.3)
    return encoder


@pytest.mark.parametrize("adapter", ["MALA", "StaticMALA", "Houlsby", "LoRA", "none"])
@pytest.mark.parametrize(
    "cells", [(4, 4), (14, 14), (16, 16), (4, 16), (17, 5), (28, 15), (12, 31)], ids=str
)
def test_levels_are_those_of_the_published_blocks(adapter: str, cells: tuple[int, int]):
    encoder = random_encoder(adapter)
    images = torch.randn(2, 3, 16 * cells[0], 16 * cells[1])
    with torch.no_grad():
        ours = encoder(images)
        with as_published(encoder):
            theirs = encoder(images)
    for name, level in ours.items():
        scale = float(theirs[name].abs().max())
        torch.testing.assert_close(level, theirs[name], atol=2e-5 * scale, rtol=0)


def test_gradients_are_those_of_the_published_blocks():
    encoder = random_encoder("MALA").double()
    images = torch.randn(1, 3, 80, 256, dtype=torch.float64)

    def gradients() -> dict[str, torch.Tensor]:
        encoder.zero_grad()
        sum(level.square().sum() for level in encoder(images).values()).backward()
        return {name: each.grad.clone() for name, each in encoder.named_parameters()}

    ours = gradients()
    with as_published(encoder):
        theirs = gradients()
    for name, each in ours.items():
        torch.testing.assert_close(each, theirs[name], rtol=1e-8, atol=1e-8)


def test_what_is_published_is_undone():
    encoder = tiny_encoder()
    names = list(encoder.state_dict())
    with as_published(encoder):
        assert {type(block) for block in encoder.vit.blocks} == {Block}
        assert {type(block.attn) for block in encoder.vit.blocks} == {Attention}
        assert type(encoder.adapters[0]["attn"].conv) is UnfoldedConv
    for block in copy.deepcopy(encoder).vit.blocks:
        assert type(block) is UnpaddedBlock
        assert type(block.attn) is UnpaddedAttention
    assert type(encoder.adapters[0]["attn"].conv) is AdaptiveMultiScaleConv
    assert list(encoder.state_dict()) == names
