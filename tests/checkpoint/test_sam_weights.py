"""Segment Anything's weights: loaded whole, or refused in one sentence."""

import copy
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn

from cfrsam_d2.checkpoint.sam import load_sam_weights
from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.mask_head import PointPromptedMaskHead, mask_head_parts
from cfrsam_d2.modeling.sam import SAMEncoder

SIZES = {
    "embed_dim": 12,
    "depth": 4,
    "num_heads": 3,
    "global_attn_indexes": [1, 3],
}
WINDOW = 14  # cells


@pytest.fixture(scope="module")
def sam() -> dict[str, Tensor]:
    """A tiny model of Segment Anything's own making, as its state dict."""
    torch.manual_seed(0)
    model = Sam(
        image_encoder=ImageEncoderViT(
            img_size=1024,
            patch_size=16,
            out_chans=256,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=WINDOW,
            **SIZES,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=256,
            image_embedding_size=(64, 64),
            input_image_size=(1024, 1024),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
        ),
    )
    return {name: torch.randn_like(value) for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def _parts() -> tuple[SAMEncoder, PointPromptedMaskHead]:
    return tiny_encoder(), PointPromptedMaskHead(**mask_head_parts())


def tiny_encoder(**changes: Any) -> SAMEncoder:
    sizes = {"adapter_rank": 4, "attention_window": WINDOW, **SIZES}
    return SAMEncoder(frozen=True, **{**sizes, **changes})


@pytest.fixture
def parts(_parts: tuple) -> tuple[SAMEncoder, PointPromptedMaskHead]:
    return copy.deepcopy(_parts)


def save(weights: dict[str, Tensor], folder: Path, name: str = "tiny.pth") -> str:
    torch.save(weights, folder / name)
    return str(folder / name)


def test_every_weight_is_loaded_and_the_others_stay(parts: tuple, sam: dict, tmp_path: Path):
    encoder, head = parts
    before = copy.deepcopy({**encoder.state_dict(), **head.state_dict()})
    load_sam_weights(encoder, head, save(sam, tmp_path))
    for name, value in sam.items():
        if name.startswith("image_encoder."):
            loaded = encoder.state_dict()[name.replace("image_encoder.", "vit.")]
        else:
            loaded = head.state_dict()[name]
        assert torch.equal(loaded, value), name
    for name, value in {**encoder.state_dict(), **head.state_dict()}.items():
        if not name.startswith(("vit.", "prompt_encoder.", "mask_decoder.")):
            assert torch.equal(value, before[name]), name
    assert not any(each.requires_grad for each in encoder.vit.parameters())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"embed_dim": 24},
            r"is SAM of another size \(12 channels\), but MODEL.SAM.EMBED_DIM is 24: name the file",
        ),
        (
            {"depth": 8},
            r"does not fit MODEL.SAM: \d+ weights of image_encoder differ, .*missing",
        ),
        (
            {"attention_window": 7},
            r"\(27, 4\) in the file and \(13, 4\) in the model; use the file of",
        ),
    ],
)
def test_weights_of_another_size_are_refused(
    parts: tuple, sam: dict, tmp_path: Path, changed: dict, message: str
):
    with pytest.raises(UserError, match=message):
        load_sam_weights(tiny_encoder(**changed), parts[1], save(sam, tmp_path))


def test_the_size_of_metas_files_is_named(parts: tuple, sam: dict, tmp_path: Path):
    weights = sam | {"image_encoder.pos_embed": torch.zeros(1, 1, 1, 1280)}
    with pytest.raises(UserError, match=r"tiny.pth is SAM ViT-H \(1280 channels\), but .* is 12: "):
        load_sam_weights(*parts, save(weights, tmp_path))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("image_encoder.pos_embed", "image_encoder"),
        ("prompt_encoder.no_mask_embed.weight", "prompt_encoder"),
        ("mask_decoder.iou_token.weight", "mask_decoder"),
    ],
)
def test_a_missing_weight_is_named(parts: tuple, sam: dict, tmp_path: Path, name: str, part: str):
    path = save({k: v for k, v in sam.items() if k != name}, tmp_path)
    with pytest.raises(
        UserError, match=rf"fit MODEL.SAM: 1 weights of {part} differ, .* {name}, missing in the f"
    ):
        load_sam_weights(*parts, path)


def test_an_extra_weight_is_named(parts: tuple, sam: dict, tmp_path: Path):
    path = save(sam | {"image_encoder.more": torch.zeros(2)}, tmp_path)
    with pytest.raises(
        UserError, match=r"instance image_encoder.more, \(2,\) in the file and unknown in the model"
    ):
        load_sam_weights(*parts, path)


def test_weights_that_are_not_sams_are_refused(parts: tuple, sam: dict, tmp_path: Path):
    path = save(sam | {"fusion.weight": torch.zeros(2)}, tmp_path)
    before = copy.deepcopy(parts[0].state_dict())
    with pytest.raises(
        UserError, match=r"holds 1 weights that are not Segment Anything's, .* 'fusion.weight': do"
    ):
        load_sam_weights(*parts, path)
    assert all(torch.equal(value, before[name]) for name, value in parts[0].state_dict().items())


def test_a_missing_file_is_named_with_its_source(parts: tuple, tmp_path: Path):
    with pytest.raises(
        UserError, match=r"MODEL.SAM.WEIGHTS: \S+none.pth does not exist: download it from https://"
    ):
        load_sam_weights(*parts, str(tmp_path / "none.pth"))


@pytest.mark.parametrize("name", ["tiny.pth", "sam_vit_b_01ec64.pth"])
def test_a_web_page_is_told_from_weights(parts: tuple, tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text("<!DOCTYPE html><html><body>Not found</body></html>")
    with pytest.raises(UserError, match=rf"{name} cannot be loaded: it is a web page, not weights"):
        load_sam_weights(*parts, str(path))


@pytest.mark.parametrize("name", ["tiny.pth", "sam_vit_b_01ec64.pth"])
def test_a_truncated_file_is_refused(parts: tuple, sam: dict, tmp_path: Path, name: str):
    path = Path(save(sam, tmp_path, name))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=rf"{name} cannot be loaded: .* or is cut short: download"):
        load_sam_weights(*parts, str(path))


def test_the_hash_in_the_name_is_verified(parts: tuple, sam: dict, tmp_path: Path):
    path = Path(save(sam, tmp_path, "sam_vit_b_000000.pth"))
    digest = hashlib.md5(path.read_bytes()).hexdigest()[:6]
    with pytest.raises(
        UserError,
        match=rf"sam_vit_b_000000.pth is damaged: its MD5 starts with {digest}, its name says "
        r"000000; download it again from https://",
    ):
        load_sam_weights(*parts, str(path))
    right = path.rename(tmp_path / f"sam_vit_b_{digest}.pth")
    load_sam_weights(*parts, str(right))
    assert torch.equal(parts[0].vit.pos_embed, sam["image_encoder.pos_embed"])


@pytest.mark.parametrize("prefix", ["module.", "model.", "sam.", "sam_model.", "_orig_mod.module."])
def test_what_stands_before_all_names_of_a_fine_tuned_file(
    prefix: str, parts: tuple, sam: dict, tmp_path: Path
) -> None:
    weights = {f"{prefix}{name}": each for name, each in sam.items()}
    weights[f"{prefix}pixel_mean"] = torch.zeros(3, 1, 1)
    load_sam_weights(*parts, save(weights, tmp_path))
    assert torch.equal(parts[0].vit.pos_embed, sam["image_encoder.pos_embed"])


@pytest.mark.parametrize("entry", ["model", "state_dict", "model_state", "model_state_dict"])
def test_where_fine_tuned_files_have_their_weights(
    entry: str, parts: tuple, sam: dict, tmp_path: Path
) -> None:
    """MedSAM's training, Lightning, micro-sam."""
    weights = {f"sam.{name}": each for name, each in sam.items()}
    held = {entry: weights, "optimizer_state": {"lr": 1e-4}, "epoch": 3, "best_metric": 0.5}
    load_sam_weights(*parts, save(held, tmp_path))
    assert torch.equal(parts[0].vit.pos_embed, sam["image_encoder.pos_embed"])


def test_safetensors(parts: tuple, sam: dict, tmp_path: Path) -> None:
    save_file(sam, tmp_path / "sam.safetensors")
    load_sam_weights(*parts, str(tmp_path / "sam.safetensors"))
    assert torch.equal(parts[0].vit.pos_embed, sam["image_encoder.pos_embed"])


def test_names_that_are_not_metas_are_named(parts: tuple, sam: dict, tmp_path: Path) -> None:
    """Those of Hugging Face's SAM; and such as stand beside a fine-tuned model's."""
    theirs = {name.replace("image_encoder", "vision_encoder"): each for name, each in sam.items()}
    with pytest.raises(
        UserError, match=r"no image_encoder\.\*, .*, but .*vision_encoder\.pos_embed,"
    ):
        load_sam_weights(*parts, save(theirs, tmp_path))
    wrapped = {f"module.{name}": each for name, each in sam.items()} | {"head.bias": torch.ones(1)}
    with pytest.raises(UserError, match=r"has 'module.' before .* 1 without it, .* 'head.bias': s"):
        load_sam_weights(*parts, save(wrapped, tmp_path))
