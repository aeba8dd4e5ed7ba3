"""What can adapt the encoder: each kind as its paper writes it, in its places, copied with it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny_segmenter import TINY_ENCODER, tiny_encoder
from torch import nn

from cfrsam_d2.modeling.sam import SAMEncoder
from cfrsam_d2.modeling.sam.adapters import ADAPTERS
from cfrsam_d2.modeling.sam.houlsby import HoulsbyAdapter
from cfrsam_d2.modeling.sam.lora import LoRA
from cfrsam_d2.modeling.sam.static_mala import StaticMALA

DIM = TINY_ENCODER["embed_dim"]
KINDS = [name for name in ADAPTERS if name != "none"]


def shake(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)


def deepest(encoder: SAMEncoder, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return encoder.eval()(images)["level3"]


def bare_twin(encoder: SAMEncoder) -> SAMEncoder:
    """The same ViT without adapters."""
    twin = tiny_encoder("none")
    twin.vit.load_state_dict(encoder.vit.state_dict())
    return twin


def own_names(encoder: SAMEncoder) -> list[str]:
    return [name for name in encoder.state_dict() if not name.startswith("vit.")]


def test_names_of_adapters_in_checkpoints():
    for adapter, names in {
        "MALA": ["attn", "block"],
        "StaticMALA": ["attn", "block"],
        "Houlsby": ["attn", "mlp"],
        "LoRA": ["qkv"],
        "none": [],
    }.items():
        found = {tuple(name.split(".")[1:3]) for name in own_names(tiny_encoder(adapter))}
        assert found == {(str(block), name) for block in range(4) for name in names}


def test_frozen_means_that_only_adapters_train_and_all_of_them():
    images = torch.randn(1, 3, 64, 64)
    for adapter in KINDS:
        encoder = tiny_encoder(adapter)
        shake(encoder.adapters)  # LoRA starts where half of its gradients are zero
        sum(level.square().sum() for level in encoder(images).values()).backward()
        for name, parameter in encoder.named_parameters():
            is_adapter = name.startswith("adapters.")
            assert parameter.requires_grad == is_adapter, name
            assert (parameter.grad is not None and bool(parameter.grad.any())) == is_adapter, name


def test_a_deep_copy_has_its_own_adapters():
    images = torch.randn(1, 3, 64, 64)
    for adapter in KINDS:
        encoder = tiny_encoder(adapter)
        shake(encoder.adapters)
        before = deepest(encoder, images)
        twin = copy.deepcopy(encoder)
        assert torch.equal(deepest(twin, images), before)
        shake(twin.adapters)
        assert not torch.allclose(deepest(twin, images), before)
        assert torch.equal(deepest(encoder, images), before)


def test_without_adapters_it_is_the_vit_alone():
    encoder = tiny_encoder("none")
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert own_names(encoder) == []


def test_lora_starts_as_the_vit_alone():
    encoder, images = tiny_encoder("LoRA"), torch.randn(2, 3, 64, 80)
    assert torch.equal(deepest(encoder, images), deepest(bare_twin(encoder), images))


def test_lora_is_a_change_of_the_weights_of_queries_and_values():
    encoder, images = tiny_encoder("LoRA"), torch.randn(2, 3, 64, 80)
    shake(encoder.adapters)
    twin = bare_twin(encoder)
    with torch.no_grad():
        for block, adapters in zip(twin.vit.blocks, encoder.adapters, strict=True):
            lora = adapters["qkv"]
            change = [up.weight @ down.weight for down, up in (lora.query, lora.value)]
            block.attn.qkv.weight[:DIM] += change[0]
            block.attn.qkv.weight[2 * DIM :] += change[1]
    torch.testing.assert_close(deepest(encoder, images), deepest(twin, images))
    assert not torch.allclose(deepest(encoder, images), deepest(bare_twin(encoder), images))


def test_loras_size():
    assert sum(each.numel() for each in LoRA(768, 64).parameters()) == 4 * 768 * 64


def test_houlsbys_adapter_equals_its_formula():
    adapter = HoulsbyAdapter(dim=12, rank=5)
    shake(adapter)
    x = torch.randn(2, 3, 12)
    hidden = F.gelu(x @ adapter.down.weight.T + adapter.down.bias)
    expected = x + hidden @ adapter.up.weight.T + adapter.up.bias
    torch.testing.assert_close(adapter(x), expected)


def test_houlsbys_adapter_starts_near_the_identity():
    adapter, x = HoulsbyAdapter(dim=768, rank=64), torch.randn(50, 768)
    change = adapter(x) - x
    assert 0 < change.std() < 0.05
    assert change.abs().max() < 0.2
    for layer in (adapter.down, adapter.up):
        assert layer.weight.abs().max() <= 0.02
        assert layer.weight.std().item() == pytest.approx(
            0.0088, abs=2e-4
        )  # of a normal cut off at 2σ
        assert not layer.bias.any()


def test_houlsbys_adapters_come_before_the_residuals_of_a_block():
    encoder = tiny_encoder("Houlsby", global_attn_indexes=[0, 1, 2, 3]).eval()
    shake(encoder.adapters)
    block, adapters = encoder.vit.blocks[0], encoder.adapters[0]
    plain = copy.deepcopy(block)
    for module in plain.modules():
        module._forward_hooks.clear()
    x = torch.randn(1, 4, 6, DIM)
    with torch.no_grad():
        y = x + adapters["attn"](plain.attn(plain.norm1(x)))
        expected = y + adapters["mlp"](plain.mlp(plain.norm2(y)))
        torch.testing.assert_close(block(x), expected)


def static_mala_as_written(mala: StaticMALA, x: torch.Tensor) -> torch.Tensor:
    """Cell by cell and kernel by kernel, of one map (h, w, D)."""
    height, width, dim = x.shape
    y = mala.norm_scale * F.layer_norm(x, (dim,), mala.norm.weight, mala.norm.bias)
    z = (y + mala.input_scale * x) @ mala.down.weight.T + mala.down.bias  # (h, w, r)
    total = torch.zeros_like(z)
    for size, conv in zip((3, 5, 7), mala.conv.convs, strict=True):
        padded = F.pad(z.permute(2, 0, 1)[None], (size // 2,) * 4, mode="reflect")[0]
        for row in range(height):
            for column in range(width):
                patch = padded[:, row : row + size, column : column + size]
                total[row, column] += (patch * conv.weight[:, 0]).sum(dim=(1, 2))
    z = total / 3 + z
    z = z + z @ mala.conv.mix.weight[:, :, 0, 0].T + mala.conv.mix.bias
    return x + F.gelu(z) @ mala.up.weight.T + mala.up.bias


def test_static_mala_equals_its_formula():
    mala = StaticMALA(dim=12, rank=5).eval()
    shake(mala)
    for size in [(4, 4), (6, 5)]:
        x = torch.randn(*size, 12)
        expected = static_mala_as_written(mala, x)
        torch.testing.assert_close(mala(x[None])[0], expected, atol=1e-5, rtol=1e-5)


def test_static_kernels_add_what_83_weights_a_channel_are():
    conv = StaticMALA(dim=12, rank=5).conv
    kernels = sum(each.numel() for each in conv.convs.parameters())
    assert kernels == 5 * (3**2 + 5**2 + 7**2)
