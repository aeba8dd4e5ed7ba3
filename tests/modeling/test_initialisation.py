"""How widely the weights of new layers are spread: as in the released code."""

import math

import pytest
import torch
from torch import nn

from cfrsam_d2.modeling.mask_head.bgmr import BGMR
from cfrsam_d2.modeling.mask_head.deep_branch import deep_branch
from cfrsam_d2.modeling.prompt_learner.generator import FeaturePyramid


def deviation(layer: nn.Module) -> float:
    return layer.weight.std().item()


def test_pyramids_as_convolutions_of_mmcv():
    """Kaiming's rule over the outputs: the same deviation whatever comes in."""
    torch.manual_seed(0)
    pyramid = FeaturePyramid(in_channels=[96, 192, 384, 768], out_channels=256, num_outputs=4)
    for lateral, output in zip(pyramid.lateral_convs, pyramid.output_convs, strict=True):
        assert deviation(lateral) == pytest.approx(0.088, rel=0.02)
        assert deviation(output) == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.02)
        assert not lateral.bias.any()
        assert not output.bias.any()


def test_bgmr_by_the_kind_of_its_layers():
    torch.manual_seed(0)
    bgmr = BGMR()
    for deform in (bgmr.bgff.deform, bgmr.refinement.deform):
        assert deviation(deform.conv) == pytest.approx(0.118, rel=0.05)
        assert not deform.offset.weight.any()
    # What the released module makes of its ConvBNReLU: 1/√fan-in.
    for block, fan_in in [
        (bgmr.bgff.plain, 48),
        (bgmr.bgff.fuse, 32),
        (bgmr.boundary_head[0], 32),
    ]:
        assert deviation(block[0]) == pytest.approx(fan_in**-0.5, rel=0.1)
    # All else is PyTorch's own, uniform: 1/√(3·fan-in).
    for conv in (bgmr.upsample[0][0], bgmr.mask_head[0][0], deep_branch()[0][1]):
        assert deviation(conv) == pytest.approx((3 * conv.weight[0].numel()) ** -0.5, rel=0.05)
