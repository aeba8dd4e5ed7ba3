"""SAM's encoder with adapters: levels, sizes, positions, configs."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.modeling import build_backbone
from segment_anything.modeling import ImageEncoderViT
from tiny_segmenter import TINY_ENCODER, tiny_encoder
from torch import Tensor, nn

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.sam import SAMEncoder
from cfrsam_d2.modeling.sam.adapters import ADAPTERS
from cfrsam_d2.modeling.sam.static_mala import StaticMALA


@pytest.fixture
def encoder() -> SAMEncoder:
    return tiny_encoder().eval()


def test_four_levels_at_any_size(encoder: SAMEncoder):
    for height, width in [(64, 64), (64, 112), (240, 80)]:
        with torch.no_grad():
            levels = encoder(torch.randn(2, 3, height, width))
        assert list(levels) == ["level0", "level1", "level2", "level3"]
        for name, level in levels.items():
            stride = encoder._out_feature_strides[name]
            channels = encoder._out_feature_channels[name]
            assert level.shape == (2, channels, height // stride, width // stride)
            assert (channels, stride) == (256, 16)


def awake_encoder(adapter: str) -> SAMEncoder:
    """With positions, biases and adapters that matter."""
    encoder = tiny_encoder(adapter).eval()
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name or "bias" in name or name.startswith("adapters."):
            nn.init.normal_(parameter, std=0.3)
    return encoder


def sams_own(encoder: SAMEncoder, adapter: str, height: int, width: int) -> ImageEncoderViT:
    """`segment_anything`'s ViT with the encoder's weights, its adapters beside it.

    Args:
        encoder: tiny.
        adapter: the name of its adapter.
        height, width: of the map in cells, to which positions are resized.
    """
    sizes = {name: TINY_ENCODER[name] for name in ("embed_dim", "depth", "num_heads")}
    vit = ImageEncoderViT(
        img_size=1024,
        out_chans=256,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=TINY_ENCODER["attention_window"],
        global_attn_indexes=tuple(TINY_ENCODER["global_attn_indexes"]),
        **sizes,
    )
    vit.load_state_dict(encoder.vit.state_dict())
    table = vit.pos_embed.data.permute(0, 3, 1, 2)
    table = F.interpolate(table, (height, width), mode="bicubic", align_corners=False)
    vit.pos_embed.data = table.permute(0, 2, 3, 1)
    kind = ADAPTERS[adapter]
    for block, adapters in zip(vit.blocks, encoder.adapters, strict=True):
        for name, place in kind.places.items():

            def adapt(module, args, output, adapter=adapters[name]):
                return output + adapter(*args) if kind.beside else adapter(output)

            block.get_submodule(place).register_forward_hook(adapt)
    return vit


@torch.no_grad()
def test_it_is_sams_own_with_adapters_in_its_blocks():
    """On maps of less than a window, of whole windows, and of windows that an edge cuts."""
    for adapter in ADAPTERS:
        encoder = awake_encoder(adapter)
        for cells in [(4, 4), (14, 14), (16, 16), (4, 16), (17, 5), (28, 15), (12, 31)]:
            images = torch.randn(2, 3, 16 * cells[0], 16 * cells[1])
            ours, sams = encoder(images)["level3"], sams_own(encoder, adapter, *cells)(images)
            scale = float(sams.abs().max())
            torch.testing.assert_close(ours, sams, atol=2e-5 * scale, rtol=0)


@torch.no_grad()
def test_how_many_rows_attend_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    encoder, images = awake_encoder("MALA"), torch.randn(2, 3, 256, 96)
    expected = encoder(images)
    for most in (1, 2 * 2 * 6 * 16**2):
        monkeypatch.setattr("cfrsam_d2.modeling.sam.encoder.MOST_LOGITS", most)
        for name, level in encoder(images).items():
            torch.testing.assert_close(level, expected[name], atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_images_of_fewer_than_four_cells_are_padded(encoder: SAMEncoder):
    """With zeros, and the padding's cells cut off again."""
    for height, width in [(32, 128), (96, 16), (48, 48)]:
        image = torch.randn(1, 3, height, width)
        padded = F.pad(image, (0, max(64 - width, 0), 0, max(64 - height, 0)))
        for ours, whole in zip(encoder(image).values(), encoder(padded).values(), strict=True):
            assert torch.equal(ours, whole[:, :, : height // 16, : width // 16])


def test_images_of_a_batch_do_not_meet(encoder: SAMEncoder):
    images = torch.randn(2, 3, 64, 256)
    with torch.no_grad():
        together = encoder(images)["level3"]
        alone = torch.cat([encoder(image[None])["level3"] for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def positions(encoder: SAMEncoder, height: int, width: int) -> Tensor:
    """What is added to the cells of a black image, (h, w, D)."""
    seen = []
    handle = encoder.vit.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    encoder(torch.zeros(1, 3, 16 * height, 16 * width))
    handle.remove()
    return seen[0][0]


@torch.no_grad()
def test_position_table_is_resized_to_cell_centres(encoder: SAMEncoder):
    """Bicubic interpolation keeps a linear function, so resized indices are known."""
    nn.init.zeros_(encoder.vit.patch_embed.proj.bias)
    index = torch.arange(64.0)
    encoder.vit.pos_embed[0, :, :, 0] = index[:, None]
    encoder.vit.pos_embed[0, :, :, 1] = index[None, :]
    table = positions(encoder, 4, 8)
    assert table.shape == (4, 8, 48)
    torch.testing.assert_close(table[:, 3, 0], torch.tensor([7.5, 23.5, 39.5, 55.5]))
    torch.testing.assert_close(table[2, :, 1], 8 * torch.arange(8.0) + 3.5)


def test_levels_come_from_the_specified_blocks():
    for depth, taken in {4: (1, 2, 3, 4), 8: (2, 4, 6, 8), 6: (1, 3, 3, 6)}.items():
        encoder = tiny_encoder(depth=depth).eval()
        encoder.vit.neck = nn.Identity()
        outputs = []
        for block in encoder.vit.blocks:
            block.register_forward_hook(
                lambda module, args, output, outputs=outputs: outputs.append(output)
            )
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


def test_not_frozen_means_that_all_train():
    encoder = tiny_encoder(frozen=False)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_ranks_below_one_are_refused():
    for rank in (0, -4):
        with pytest.raises(UserError, match=rf"^adapter_rank is {rank}: give 1 or more$"):
            tiny_encoder(adapter_rank=rank)


def test_every_config_key_reaches_the_encoder(cfg: CfgNode):
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
