"""Anchors, sampling and the feature pyramid against answers worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from cfrsam_d2.modeling.prompt_learner.anchors import anchor_grid, sample_at_points
from cfrsam_d2.modeling.prompt_learner.neck import FeaturePyramid
from safetensors.torch import save_file
from torch import nn

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext


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


@pytest.mark.parametrize("name", ["resnet50", "convnext_gigantic"])
def test_unknown_backbone_is_named(name: str):
    with pytest.raises(UserError, match=f"BACKBONE is '{name}'.*such as 'convnext_small'"):
        build_convnext(name)


def test_pretrained_weights_need_the_networks_own_sizes():
    with pytest.raises(UserError, match=r"PRETRAINED False, or leave .*DEPTHS and DIMS empty"):
        build_convnext("convnext_small", dims=[8, 16, 24, 32], pretrained=True)


def test_missing_pretrained_weights_say_the_remedy(monkeypatch: pytest.MonkeyPatch):
    create_model = timm.create_model

    def offline(*args: Any, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        if pretrained:
            raise OSError("no route to host")
        return create_model(*args, **kwargs)

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(UserError, match=r"no route to host.*huggingface.co/timm/.*PRETRAINED_FILE"):
        build_convnext("convnext_small", pretrained=True)


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    """As timm publishes a ConvNeXt, its head included; of the smallest."""
    torch.manual_seed(0)
    state = timm.create_model("convnext_atto").state_dict()
    return {name: torch.randn_like(each) for name, each in state.items()}


@pytest.mark.parametrize("name", ["model.safetensors", "convnext.pth"])
def test_pretrained_weights_come_from_a_local_file(imagenet: dict, name: str, tmp_path: Path):
    path = str(tmp_path / name)
    if name.endswith(".safetensors"):
        save_file(imagenet, path)
    else:
        torch.save({"model": imagenet}, path)
    backbone = build_convnext("convnext_atto", pretrained=True, pretrained_file=path)
    for key, weight in backbone.state_dict().items():
        assert torch.equal(weight, imagenet[key.replace("_", ".", 1)]), key


def test_a_file_that_does_not_fill_the_backbone_is_refused(imagenet: dict, tmp_path: Path):
    short = {name: each for name, each in imagenet.items() if name != "stages.1.blocks.0.gamma"}
    save_file(short, tmp_path / "short.safetensors")
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html>")
    for name, remedy in {
        "short.safetensors": r"does not hold the ImageNet weights of 'convnext_atto': let MODEL",
        "page.safetensors": r"page.safetensors cannot be loaded .*: download it again",
        "none.safetensors": r"none.safetensors does not exist",
        "none.pth": r"none.pth does not exist",
    }.items():
        with pytest.raises(UserError, match=remedy):
            build_convnext("convnext_atto", pretrained=True, pretrained_file=str(tmp_path / name))
