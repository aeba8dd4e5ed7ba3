"""ConvNeXt of timm: its maps, and the names that it does not have."""

import pytest
import torch

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext


def test_backbone_takes_sizes_and_knows_its_strides():
    backbone = build_convnext("convnext_small", depths=[1, 1, 2, 1], dims=[8, 16, 24, 32])
    assert backbone.feature_info.reduction() == [4, 8, 16, 32]
    maps = backbone(torch.rand(1, 3, 64, 96))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (8, 16, 24),
        (16, 8, 12),
        (24, 4, 6),
        (32, 2, 3),
    ]


def test_unknown_backbones_are_refused():
    for name in ("resnet50", "convnext_gigantic"):
        with pytest.raises(UserError, match=f"is '{name}'.*ConvNeXt of timm"):
            build_convnext(name)
