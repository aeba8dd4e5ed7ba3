"""ViTs of timm in SAM's place: their own features, what trains, and where weights come from."""

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone, build_model
from safetensors.torch import save_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from tiny_demo import TINY
from tiny_segmenter import random_image, squares, tiny_cfrsam
from torch import Tensor, nn

from cfrsam_d2.checkpoint.files import read_checkpoint
from cfrsam_d2.checkpoint.frozen import frozen_parts
from cfrsam_d2.complexity import analyze_model
from cfrsam_d2.engine import build_trained_model, load_config, load_initial_weights
from cfrsam_d2.engine.resuming import kept_keys
from cfrsam_d2.engine.weights import check_initial_weights
from cfrsam_d2.errors import UserError
from cfrsam_d2.model_zoo import get_config_file
from cfrsam_d2.modeling.sam import TimmEncoder
from cfrsam_d2.modeling.sam.adapters import ADAPTERS, AdapterKind
from cfrsam_d2.modeling.sam.timm_encoder import build_vit, vit_options

SMALLEST = "test_vit2"  # 8 blocks, D = 64, a register and no class token; for images of 160 px
OTHER_PATCHES = "patch_size={}, reg_tokens=2, class_token=True, mlp_layer=SwiGLUPacked"


def tiny_timm(options: str = "", *, adapter: str = "MALA", frozen: bool = True) -> TimmEncoder:
    return TimmEncoder(
        network=build_vit(SMALLEST, options),
        scale=[1.0] * 3,
        shift=[0.0] * 3,
        adapter_rank=4,
        frozen=frozen,
        adapter=ADAPTERS[adapter],
    )


def config(*keys: object) -> CfgNode:
    own = ["MODEL.BACKBONE.NAME", "TimmEncoder", "MODEL.TIMM.NAME", SMALLEST]
    return load_config(
        get_config_file("train_demo/cfrsam.yaml"), [*TINY, *own, *(str(each) for each in keys)]
    )


def as_timm_has_it(encoder: TimmEncoder, options: str = "") -> Any:
    """timm's own network with the encoder's weights, for images of its own size."""
    network = timm.create_model(SMALLEST, **{**vit_options(options), "dynamic_img_size": False})
    weights = encoder.network.state_dict()
    assert network.load_state_dict(weights, strict=False).unexpected_keys == []
    return network.eval()


def test_four_levels_at_any_size_and_with_any_patches() -> None:
    for options in ("", OTHER_PATCHES.format(14), OTHER_PATCHES.format(8)):
        encoder = tiny_timm(options).eval()
        for height, width in ((160, 160), (64, 96), (16, 48)):
            with torch.no_grad():
                levels = encoder(torch.randn(2, 3, height, width))
            assert list(levels) == ["level0", "level1", "level2", "level3"]
            shape = (2, 256, height // 16, width // 16)
            assert {tuple(level.shape) for level in levels.values()} == {shape}
    assert encoder.size_divisibility == 16


@torch.no_grad()
def test_features_are_those_of_timm_where_adapters_do_nothing() -> None:
    """At its own size; images of other patches are resized to as many of them."""
    for options, side in (("", 160), (OTHER_PATCHES.format(14) + ", img_size=140", 140)):
        encoder = tiny_timm(options).eval()
        for name, parameter in encoder.adapters.named_parameters():
            if ".up." in name:
                nn.init.zeros_(parameter)
        images = torch.randn(1, 3, side // 10, side // 10).repeat_interleave(10, 2)
        images = images.repeat_interleave(10, 3)
        network = as_timm_has_it(encoder, options)
        expected = network.forward_intermediates(
            images, indices=[1, 3, 5, 7], intermediates_only=True
        )
        seen = []
        handle = encoder.network.patch_embed.register_forward_pre_hook(
            lambda module, args, seen=seen, images=images: (seen.append(args[0]), images)[1]
        )
        found = encoder.encode_blocks(torch.randn(1, 3, 160, 160))
        handle.remove()
        assert seen[0].shape == images.shape
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


class Doubled(nn.Module):
    """An adapter of maps that keeps what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return 2 * x


@torch.no_grad()
def test_an_adapter_sees_the_map_and_not_the_tokens_before_it() -> None:
    encoder = TimmEncoder(
        network=build_vit(SMALLEST),
        scale=[2.0, 1.0, 0.5],
        shift=[0.1, 0.2, 0.3],
        adapter_rank=1,
        frozen=True,
        adapter=AdapterKind(lambda dim, rank: Doubled(), {"block": ""}, reach=1),
    ).eval()
    images = torch.randn(2, 3, 64, 96)
    inputs: list[Tensor] = []
    encoder.network.blocks[1].register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    encoder.encode_blocks(images)
    plain = build_vit(SMALLEST).eval()
    plain.load_state_dict(encoder.network.state_dict(), strict=False)
    scale, shift = torch.tensor([2.0, 1.0, 0.5]), torch.tensor([0.1, 0.2, 0.3])
    known = scale.view(3, 1, 1) * images + shift.view(3, 1, 1)
    _, ((cells, prefix),) = plain.forward_intermediates(
        known, indices=[0], return_prefix_tokens=True
    )
    torch.testing.assert_close(encoder.adapters[0]["block"].given, cells.permute(0, 2, 3, 1))
    torch.testing.assert_close(inputs[0][:, :1], prefix)
    torch.testing.assert_close(inputs[0][:, 1:], 2 * cells.flatten(2).transpose(1, 2))


def test_frozen_means_that_adapters_necks_and_detail_train_and_all_of_them() -> None:
    for adapter in ADAPTERS:
        encoder = tiny_timm(adapter=adapter)
        for name, parameter in encoder.named_parameters():
            if name.startswith("adapters.") or name == "detail.neck.norm.weight":
                nn.init.normal_(parameter, std=0.2)  # LoRA and the branch start as zero
        levels = encoder(torch.randn(1, 3, 64, 64))
        sum(level.square().sum() for level in levels.values()).backward()
        for name, parameter in encoder.named_parameters():
            trains = name.startswith(("adapters.", "necks.", "detail."))
            assert parameter.requires_grad == trains, name
            assert (parameter.grad is not None and parameter.grad.any()) == trains, name
    whole = tiny_timm(frozen=False)
    sum(level.square().sum() for level in whole(torch.randn(1, 3, 64, 64)).values()).backward()
    assert all(each.grad is not None for each in whole.parameters())  # so it has no head


@torch.no_grad()
def test_detail_starts_as_nothing_and_is_part_of_the_shallowest_level() -> None:
    encoder = tiny_timm().eval()
    images = torch.randn(1, 3, 64, 64)
    assert not encoder.detail(images).any()
    before = encoder(images)
    nn.init.ones_(encoder.detail.neck.norm.weight)
    after = encoder(images)
    torch.testing.assert_close(
        after["level0"] - before["level0"], encoder.detail(images), atol=1e-5, rtol=1e-5
    )
    assert all(torch.equal(before[f"level{i}"], after[f"level{i}"]) for i in (1, 2, 3))
    assert encoder.detail(images).any()


@torch.no_grad()
def test_a_deep_copy_has_its_own_adapters() -> None:
    encoder = tiny_timm().eval()
    images = torch.randn(1, 3, 64, 64)
    before = encoder(images)["level3"]
    twin = copy.deepcopy(encoder)
    for parameter in twin.adapters.parameters():
        nn.init.normal_(parameter)
    assert torch.equal(encoder(images)["level3"], before)
    assert not torch.equal(twin(images)["level3"], before)


def test_images_come_in_the_statistics_of_the_weights() -> None:
    """ImageNet's, as the config has them; timm's are 0.5, the user's in PIXEL_MEAN and _STD."""
    mean, std = torch.tensor(IMAGENET_DEFAULT_MEAN), torch.tensor(IMAGENET_DEFAULT_STD)
    pixels = torch.rand(3, 1, 1)
    normalized = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    own = ["MODEL.TIMM.PIXEL_MEAN", "[0.7, 0.6, 0.5]", "MODEL.TIMM.PIXEL_STD", "[0.2, 0.1, 0.5]"]
    for keys, center, spread in (
        ([], [0.5] * 3, [0.5] * 3),
        (own, [0.7, 0.6, 0.5], [0.2, 0.1, 0.5]),
    ):
        encoder: Any = build_backbone(config(*keys))
        expected = (pixels.flatten() - torch.tensor(center)) / torch.tensor(spread)
        found = encoder.scale * normalized + encoder.shift
        torch.testing.assert_close(found.flatten(), expected)


def test_a_training_step_changes_only_what_trains() -> None:
    torch.manual_seed(0)
    model = tiny_cfrsam()
    model.backbone = tiny_timm()
    model.train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam((each for each in model.parameters() if each.requires_grad), 1e-2)
    batch = [{"image": random_image(64, 64), "instances": squares((64, 64), [(8, 8), (40, 20)])}]
    losses = model(batch)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    optimizer.step()
    after = model.state_dict()
    changed = {name for name, each in before.items() if not torch.equal(each, after[name])}
    parts = {".".join(name.split(".")[:2]) for name in changed if name.startswith("backbone.")}
    assert parts == {"backbone.adapters", "backbone.necks", "backbone.detail"}


def test_what_is_no_plain_vit_of_timm_is_named() -> None:
    for name, options, message in (
        (
            "resnet18",
            "",
            r"NAME is 'resnet18' and .* which timm cannot build as .*dynamic_im",
        ),
        ("nothing", "", r"NAME is 'nothing': take one of timm\.list_models"),
        ("hf-hub:someone/vit", "", r"NAME is 'hf-hub:someone/vit': take one of"),
        (f"{SMALLEST}.nothing", "", r"Invalid pretrained tag"),
        (SMALLEST, "depth=3", r"is no plain ViT of 4 blocks or more"),
        ("vit_small_patch16_18x2_224", "", r"is no plain ViT"),
        (SMALLEST, "depth", r"OPTIONS has 'depth': give name=value"),
        (SMALLEST, "depths=5", r"OPTIONS is 'depths=5', .*unexpected keyword argument 'depths'"),
        (SMALLEST, "mlp_layer=Big", r"mlp_layer of MODEL\.TIMM\.OPTIONS is 'Big': choose one of"),
    ):
        with torch.device("meta"), pytest.raises(UserError, match=message):
            build_vit(name, options)
    for key, value in (("MEAN", "[1.0]"), ("STD", "[0.5, 0.0, 0.5]")):
        with pytest.raises(UserError, match=rf"^MODEL\.TIMM\.PIXEL_{key} is "):
            config(f"MODEL.TIMM.PIXEL_{key}", value)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a prompt learner, and with a ViT as timm distributes it, and otherwise."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    vit = timm.create_model(SMALLEST).state_dict()
    vit = {name: torch.randn_like(each) for name, each in vit.items()}
    save_file(vit, folder / "vit.safetensors")
    bare = {f"module.{name}": each for name, each in vit.items() if not name.startswith("head.")}
    torch.save({"state_dict": bare}, folder / "bare.pth")
    short = {name: each for name, each in vit.items() if name != "blocks.3.ls1.gamma"}
    save_file({**short, "blocks.8.ls1.gamma": torch.ones(64)}, folder / "other.safetensors")
    (folder / "page.pth").write_text("<!DOCTYPE html>")
    model = build_model(config())
    learner = model.proposal_generator.state_dict(prefix="proposal_generator.")
    torch.save({"model": learner}, folder / "learner.pth")
    sam = {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}  # and more, which nobody reads
    for part in ("prompt_encoder", "mask_decoder"):
        sam |= getattr(model.mask_head, part).state_dict(prefix=f"{part}.")
    torch.save(sam, folder / "sam.pth")
    return folder


def starting_from(files: Path, name: str, *keys: object) -> CfgNode:
    return config(
        *("MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS", files / "learner.pth", "MODEL.SAM.FREEZE", True),
        *("MODEL.TIMM.PRETRAINED_FILE", files / name, *keys),
    )


def test_stage_2_starts_from_a_file(files: Path, tmp_path: Path) -> None:
    """And leaves it out of checkpoints where the encoder stays frozen, to read it again."""
    expected = read_checkpoint(str(files / "vit.safetensors"))["model"]
    for name in ("vit.safetensors", "bare.pth"):
        cfg = starting_from(files, name)
        model = build_model(cfg)
        load_initial_weights(model, cfg)
        for key, each in model.backbone.network.state_dict().items():
            assert torch.equal(each, expected[key]), key
    assert frozen_parts(model).keys() == {"proposal_generator.", "backbone.network."}

    cfg.MODEL.SAM.WEIGHTS = str(files / "sam.pth")  # of its decoder alone
    model = build_model(cfg)
    load_initial_weights(model, cfg)
    for key, each in torch.load(cfg.MODEL.SAM.WEIGHTS, weights_only=True).items():
        if key.startswith("mask_decoder."):
            assert torch.equal(each, model.mask_head.state_dict()[key]), key
    left_out = frozen_parts(model)
    of_files = {"proposal_generator.", "backbone.network.", "mask_head.prompt_encoder."}
    assert left_out.keys() == of_files
    assert not any("PRETRAINED" in key for key in kept_keys(cfg) if "TIMM" in key)

    rest = {
        name: each
        for name, each in model.state_dict().items()
        if not name.startswith(tuple(left_out))
    }
    torch.save({"model": rest, "left_out": left_out}, tmp_path / "small.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "small.pth")
    again = build_trained_model(cfg).state_dict()
    assert all(torch.equal(each, again[name]) for name, each in model.state_dict().items())
    cfg.MODEL.TIMM.PRETRAINED = False
    with pytest.raises(UserError, match=r"backbone\.network\.\*: let MODEL\.TIMM\.PRETRAINED_FILE"):
        build_trained_model(cfg)


def test_a_file_that_does_not_fill_the_vit_is_refused(files: Path) -> None:
    for name, message in {
        "other.safetensors": r"does not hold the weights of 'test_vit2': let MODEL\.TIMM\.PRET.*"
        r"Missing key.*blocks\.3\.ls1\.gamma.*Unexpected key.*blocks\.8\.ls1\.gamma",
        "learner.pth": r"learner\.pth does not hold the weights of",
        "page.pth": r"page\.pth cannot be loaded: it is a web page",
        "gone.pth": r"MODEL\.TIMM\.PRETRAINED_FILE is '\S+gone\.pth', which does not exist",
    }.items():
        cfg = starting_from(files, name)
        model = build_model(cfg)
        before = copy.deepcopy(model.backbone.network.state_dict())
        with pytest.raises(UserError, match=message):
            load_initial_weights(model, cfg)
        after = model.backbone.network.state_dict()
        assert all(torch.equal(each, after[key]) for key, each in before.items())


def test_a_frozen_vit_of_random_weights_is_refused(files: Path) -> None:
    keys = ("MODEL.TIMM.PRETRAINED", False)
    with pytest.raises(UserError, match=r"TIMM\.PRETRAINED is False and MODEL\.SAM\.FREEZE is Tr"):
        check_initial_weights(starting_from(files, "vit.safetensors", *keys))
    check_initial_weights(starting_from(files, "x", *keys, "MODEL.SAM.FREEZE", False))


@pytest.mark.slow
def test_its_size_and_its_multiply_adds() -> None:
    """One token more than cells, whose products with all others count as others do."""
    costs = analyze_model(config())
    encoder = build_backbone(config())
    count = sum(each.numel() for each in encoder.parameters())
    assert costs["stage2.encoder"].parameters == count
    tokens, dim, blocks = 16 * 16 + 1, 64, 8
    attention = 2 * tokens**2 * dim
    linear = tokens * dim * dim * (4 + 2 * 3)
    detail = 128**2 * 32 * 27 + 64**2 * 32 * 9 * 32
    necks = 256 * 256 * (4 * dim + 32 * 16)
    patches = 256 * dim * 3 * 16**2
    vit = blocks * (attention + linear) + patches + detail + necks
    found = costs["stage2.encoder"].macs - costs["stage2.encoder.adapters"].macs
    assert found == pytest.approx(vit, rel=0.02)  # norms are counted, too
