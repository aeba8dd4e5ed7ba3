"""ImageNet weights of a ConvNeXt: from a local file or the network, whole or not at all."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cfrsam_d2.checkpoint.imagenet import load_imagenet_weights
from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext

SMALLEST = "convnext_atto"


@pytest.fixture(scope="module")
def imagenet() -> dict[str, Tensor]:
    """As timm publishes a ConvNeXt, its head included."""
    torch.manual_seed(0)
    state = timm.create_model(SMALLEST).state_dict()
    return {name: torch.randn_like(each) for name, each in state.items()}


def test_a_local_file_fills_every_weight(imagenet: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(imagenet, tmp_path / "model.safetensors")
    torch.save({"model": imagenet}, tmp_path / "convnext.pth")
    wrapped = {f"module.{name}": each for name, each in imagenet.items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "trained.pth")
    for path in tmp_path.iterdir():
        backbone = build_convnext(SMALLEST)
        load_imagenet_weights(backbone, SMALLEST, str(path))
        for key, weight in backbone.state_dict().items():
            assert torch.equal(weight, imagenet[key.replace("_", ".", 1)]), key


def test_the_file_of_the_authors_of_convnext_does_as_well(
    imagenet: dict[str, Tensor], tmp_path: Path
) -> None:
    """The same weights under the names of facebookresearch/ConvNeXt."""
    renames = {
        r"stem\.": "downsample_layers.0.",
        r"stages\.(\d)\.downsample\.": r"downsample_layers.\1.",
        r"stages\.(\d)\.blocks\.": r"stages.\1.",
        "conv_dw": "dwconv",
        r"mlp\.fc": "pwconv",
        r"head\.norm": "norm",
        r"head\.fc": "head",
    }
    theirs = {}
    for name, weight in imagenet.items():
        for old, new in renames.items():
            name = re.sub(old, new, name)
        theirs[name] = weight.flatten(1) if "pwconv" in name and weight.ndim == 4 else weight
    torch.save({"model": theirs}, tmp_path / "convnext_1k_224_ema.pth")
    backbone = build_convnext(SMALLEST)
    load_imagenet_weights(backbone, SMALLEST, str(tmp_path / "convnext_1k_224_ema.pth"))
    for key, weight in backbone.state_dict().items():
        assert torch.equal(weight, imagenet[key.replace("_", ".", 1)]), key


def test_what_cannot_be_downloaded_says_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "convnext_small.fb_in1k"
    backbone, create_model = build_convnext(name), timm.create_model

    def offline(*args: Any, pretrained: bool = False, **kwargs: Any) -> nn.Module:
        if pretrained:
            raise OSError("no route to host")
        return create_model(*args, **kwargs)

    monkeypatch.setattr("timm.create_model", offline)
    remedy = r"no route to host.*huggingface.co/timm/convnext_small.fb_in1k on .*PRETRAINED_FILE"
    with pytest.raises(UserError, match=remedy):
        load_imagenet_weights(backbone, name)


def test_a_file_that_does_not_fill_the_backbone_is_refused(
    imagenet: dict[str, Tensor], tmp_path: Path
) -> None:
    short = {name: each for name, each in imagenet.items() if name != "stages.1.blocks.0.gamma"}
    save_file(short, tmp_path / "short.safetensors")
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html>")
    backbone = build_convnext(SMALLEST)
    before = {name: each.clone() for name, each in backbone.state_dict().items()}
    for name, remedy in {
        "short.safetensors": r"does not hold the weights of 'convnext_atto': let MODEL",
        "page.safetensors": r"page.safetensors cannot be loaded: it is a web page, not weights",
        "none.safetensors": r"PRETRAINED_FILE is '\S+none.safetensors', which does not exist: cor",
    }.items():
        with pytest.raises(UserError, match=remedy):
            load_imagenet_weights(backbone, SMALLEST, str(tmp_path / name))
    assert all(torch.equal(each, before[name]) for name, each in backbone.state_dict().items())
