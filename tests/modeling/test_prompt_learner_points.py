"""Anchors, sampling and the feature pyramid against answers worked out by hand."""

import pytest
import torch

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.prompt_learner.generator import FeaturePyramid
from cfrsam_d2.modeling.prompt_learner.points import anchor_grid, sample_at_points


def test_anchors_are_cell_centres_of_a_whole_image():
    grid = anchor_grid(16, 24, 8)
    assert grid.shape == (2, 3, 2)
    assert grid.flatten(0, 1).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_anchors_of_a_cut_image_start_at_half_the_rest():
    grid = anchor_grid(17, 13, 8)
    assert grid.shape == (3, 2, 2)
    assert grid[0, :, 0].tolist() == [2.5, 10.5]
    assert grid[:, 0, 1].tolist() == [0.5, 8.5, 16.5]


def test_sampling_hits_corners_and_is_zero_outside():
    feature = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # a map of 8×8 px at stride 4
    points = torch.tensor([[[[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [4.0, 4.0], [20.0, 4.0]]]])
    assert sample_at_points(feature, points, 4).flatten().tolist() == [1, 2, 4, 2.5, 0]


def test_sampling_moves_gradients_into_points():
    feature = torch.rand(1, 2, 4, 4)
    points = torch.full((1, 1, 1, 2), 7.0, requires_grad=True)
    sample_at_points(feature, points, 4).sum().backward()
    assert (points.grad != 0).all()


def test_pyramid_adds_the_nearest_coarser_cell_even_if_sizes_do_not_halve():
    pyramid = FeaturePyramid(in_channels=[1, 1], out_channels=1, num_outputs=1)
    for conv in pyramid.lateral_convs:
        torch.nn.init.ones_(conv.weight)
    torch.nn.init.dirac_(pyramid.output_convs[0].weight)
    fine, coarse = torch.zeros(1, 1, 3, 5), torch.tensor([[[[1.0, 2.0]]]])
    (out,) = pyramid([fine, coarse])
    assert out[0, 0].tolist() == [[1, 1, 1, 2, 2]] * 3


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


def test_unknown_backbone_is_named():
    for name in ("resnet50", "convnext_gigantic"):
        with pytest.raises(UserError, match=f"^name is '{name}': take a ConvNeXt of timm"):
            build_convnext(name)
