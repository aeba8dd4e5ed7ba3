"""SAM's encoder with adapters: levels, sizes, positions, what trains, copies."""

import copy

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from tiny_segmenter import TINY_ENCODER, tiny_encoder
from torch import nn

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.modeling.sam import SAMEncoder
from cfrsam_d2.modeling.sam.static_mala import StaticMALA


@pytest.fixture
def encoder() -> SAMEncoder:
    torch.manual_seed(0)
    return tiny_encoder().eval()


def silence(encoder: SAMEncoder) -> None:
    """Let all adapters pass their input on."""
    for block in encoder.adapters:
        for mala in block.values():
            nn.init.zeros_(mala.up.weight)
            nn.init.zeros_(mala.up.bias)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 112), (240, 80)])
def test_four_levels_at_any_size(encoder: SAMEncoder, height: int, width: int):
    with torch.no_grad():
        levels = encoder(torch.randn(2, 3, height, width))
    assert list(levels) == ["level0", "level1", "level2", "level3"]
    for name, level in levels.items():
        stride, channels = encoder._out_feature_strides[name], encoder._out_feature_channels[name]
        assert level.shape == (2, channels, height // stride, width // stride)
        assert (channels, stride) == (256, 16)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (80, 240)])
def test_with_silent_adapters_it_is_sams_own(encoder: SAMEncoder, height: int, width: int):
    silence(encoder)
    images = torch.randn(2, 3, height, width)
    sam = copy.deepcopy(encoder.vit)
    sam.pos_embed.data = encoder._position_table(height // 16, width // 16)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images)["level3"], sam(images), atol=1e-5, rtol=1e-5)


def test_images_of_a_batch_do_not_meet(encoder: SAMEncoder):
    images = torch.randn(2, 3, 64, 256)
    with torch.no_grad():
        together = encoder(images)["level3"]
        alone = torch.cat([encoder(image[None])["level3"] for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_position_table_is_resized_to_cell_centres(encoder: SAMEncoder):
    """Bicubic interpolation keeps a linear function, so resized indices are known."""
    index = torch.arange(64.0)
    with torch.no_grad():
        encoder.vit.pos_embed[0, :, :, 0] = index[:, None]
        encoder.vit.pos_embed[0, :, :, 1] = index[None, :]
        table = encoder._position_table(4, 8)
        assert table.shape == (1, 4, 8, 48)
        torch.testing.assert_close(table[0, :, 3, 0], torch.tensor([7.5, 23.5, 39.5, 55.5]))
        torch.testing.assert_close(table[0, 2, :, 1], 8 * torch.arange(8.0) + 3.5)
        assert torch.equal(encoder._position_table(64, 64), encoder.vit.pos_embed)


@pytest.mark.parametrize(
    ("depth", "taken"), [(4, (1, 2, 3, 4)), (8, (2, 4, 6, 8)), (6, (1, 3, 3, 6))]
)
def test_levels_come_from_the_specified_blocks(depth: int, taken: tuple[int, ...]):
    encoder = tiny_encoder(depth=depth).eval()
    encoder.vit.neck = nn.Identity()
    outputs = []
    for block in encoder.vit.blocks:
        block.register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.no_grad():
        levels = encoder(torch.randn(1, 3, 64, 64))
    for number, level in zip(taken, levels.values(), strict=True):
        assert torch.equal(level, outputs[number - 1].permute(0, 3, 1, 2))


def test_adapters_see_as_much_padding_as_they_read(encoder: SAMEncoder):
    seen = {}
    for number, block in enumerate(encoder.adapters):
        for place, mala in block.items():
            mala.register_forward_hook(
                lambda module, args, output, key=(number, place): seen.setdefault(key, []).append(
                    tuple(args[0].shape)
                )
            )
    with torch.no_grad():
        encoder(torch.randn(2, 3, 64, 256))  # 4×16 cells: a window of 4×14, and one of 4×2
    for number in range(4):
        in_windows = number not in TINY_ENCODER["global_attn_indexes"]
        attended = [(2, 7, 14, 48), (2, 7, 5, 48)] if in_windows else [(2, 4, 16, 48)]
        assert seen[number, "attn"] == attended
        assert seen[number, "block"] == [(2, 4, 16, 48)]


def test_frozen_means_that_only_adapters_train(encoder: SAMEncoder):
    sum(level.sum() for level in encoder(torch.randn(1, 3, 64, 64)).values()).backward()
    for name, parameter in encoder.named_parameters():
        is_adapter = name.startswith("adapters.")
        assert parameter.requires_grad == is_adapter, name
        assert (parameter.grad is not None) == is_adapter, name


def test_not_frozen_means_that_all_train():
    encoder = tiny_encoder(frozen=False)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_a_deep_copy_has_its_own_adapters(encoder: SAMEncoder):
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = encoder(images)["level3"]
        twin = copy.deepcopy(encoder)
        assert torch.equal(twin(images)["level3"], before)
        silence(twin)
        assert not torch.allclose(twin(images)["level3"], before)
        assert torch.equal(encoder(images)["level3"], before)
        silent = twin(images)["level3"]
        silence(encoder)
        assert torch.equal(encoder(images)["level3"], silent)


def test_images_of_fewer_than_four_cells_are_refused(encoder: SAMEncoder):
    with pytest.raises(RuntimeError, match="Padding size should be less than"):
        encoder(torch.randn(1, 3, 48, 64))


def test_every_config_key_reaches_the_encoder():
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    node = cfg.MODEL.SAM
    node.EMBED_DIM, node.DEPTH, node.NUM_HEADS, node.ADAPTER_RANK = 32, 5, 4, 6
    node.GLOBAL_ATTN_INDEXES, node.ATTENTION_WINDOW, node.FREEZE = [0], 7, False
    node.ADAPTER = "StaticMALA"
    encoder = build_backbone(cfg)
    assert isinstance(encoder, SAMEncoder)
    assert encoder.vit.pos_embed.shape == (1, 64, 64, 32)
    assert [block.window_size for block in encoder.vit.blocks] == [0, 7, 7, 7, 7]
    assert encoder.vit.blocks[0].attn.num_heads == 4
    assert len(encoder.adapters) == 5
    assert encoder.adapters[0]["attn"].down.out_features == 6
    assert isinstance(encoder.adapters[0]["attn"], StaticMALA)
    assert encoder.vit.pos_embed.requires_grad
    assert encoder.size_divisibility == 16
