"""Names of released checkpoints become the project's, each of them once, values untouched."""

import json
import logging
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from tiny_demo import TINY
from torch import nn

from cfrsam_d2.checkpoint import convert_published_state_dict
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.model_zoo import get_config_file
from cfrsam_d2.modeling.mask_head import PointPromptedMaskHead, mask_head_parts
from cfrsam_d2.modeling.mask_head.bgmr import BGMR
from cfrsam_d2.modeling.mask_head.hmfm import HMFM
from cfrsam_d2.modeling.sam import MALA, SAMEncoder

VIT_B = {
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "global_attn_indexes": [2, 5, 8, 11],
    "attention_window": 14,
    "adapter_rank": 64,
}
VIT_H = VIT_B | {
    "embed_dim": 1280,
    "depth": 32,
    "num_heads": 16,
    "global_attn_indexes": [7, 15, 23, 31],
}


def released(fixtures: Path, kind: str) -> dict[str, torch.Tensor]:
    """A state dict of released names and shapes, without values."""
    names = json.loads((fixtures / f"{kind}_names.json").read_text())
    return {name: torch.empty(shape, device="meta") for name, shape in names.items()}


def sizes_of(fixtures: Path, kind: str) -> dict:
    """The arguments of an encoder: of the published sizes, or those of the manifest."""
    if kind in ("stage2_b", "stage2_h"):
        return VIT_B if kind == "stage2_b" else VIT_H
    manifest = json.loads((fixtures / "manifest.json").read_text())
    entry = next(each for each in manifest.values() if each.get("weights") == kind)
    of_manifest = {"adapter_rank": "mala_rank", "attention_window": "window_size"}
    return {name: entry[of_manifest.get(name, name)] for name in VIT_B}


@pytest.mark.parametrize("kind", ["stage2_b", "stage2_h", "stage2_tiny"])
def test_every_name_of_stage_2_becomes_one_of_ours(fixtures: Path, kind: str):
    """Shapes included: what is converted is what the model is made of, no more and no less."""
    weights = released(fixtures, kind)
    converted = convert_published_state_dict(weights)
    with torch.device("meta"):
        parts = nn.ModuleDict(
            {
                "backbone": SAMEncoder(frozen=True, **sizes_of(fixtures, kind)),
                "mask_head": PointPromptedMaskHead(**mask_head_parts()),
            }
        )
    own = {name: value.shape for name, value in parts.state_dict().items()}
    assert {name: value.shape for name, value in converted.items()} == own
    unused = [name for name in weights if name.startswith("deep_out_conv.")]
    assert len(unused) > 0
    assert len(converted) == len(weights) - len(unused)
    kept = {id(value) for name, value in weights.items() if name not in unused}
    assert {id(value) for value in converted.values()} == kept


@pytest.mark.parametrize("kind", ["mala", "hmfm", "bgmr"])
def test_every_name_of_a_module_becomes_one_of_ours(fixtures: Path, kind: str):
    weights = released(fixtures, kind)
    with torch.device("meta"):
        if kind == "mala":
            rank, dim = weights["project1.weight"].shape
            module = MALA(dim, rank)
        else:
            module = {"hmfm": HMFM, "bgmr": BGMR}[kind]()
    converted = convert_published_state_dict(weights)
    assert len(converted) == len(weights)
    assert {name: value.shape for name, value in converted.items()} == {
        name: value.shape for name, value in module.state_dict().items()
    }


def test_names_lead_to_the_places_they_mean(fixtures: Path):
    """Where shapes are alike, they cannot tell an exchange; these places are told by the paper."""
    weights = released(fixtures, "stage2_tiny")
    converted = convert_published_state_dict(weights)
    for name, ours in {
        "image_encoder.pos_embed": "backbone.vit.pos_embed",
        "image_encoder.blocks.3.attn.qkv.weight": "backbone.vit.blocks.3.attn.qkv.weight",
        "image_encoder.blocks.2.my_module_1.gamma": "backbone.adapters.2.attn.norm_scale",
        "image_encoder.blocks.2.my_module_2.gammax": "backbone.adapters.2.block.input_scale",
        "mask_decoder.iou_token.weight": "mask_head.mask_decoder.iou_token.weight",
        "fusion_block.attn_conv.1.0.weight": "mask_head.fusion.gates.1.0.weight",
        "deep_feautre_conv.5.weight": "mask_head.deep_branch.1.1.weight",
        "detail_enhance.LSE.conv1.weight": "mask_head.bgmr.bgff.plain_attention.conv.weight",
        "detail_enhance.LSE.conv2.weight": "mask_head.bgmr.bgff.deform_attention.conv.weight",
        "detail_enhance.out_conv.bias": "mask_head.bgmr.mask_head.2.bias",
    }.items():
        assert converted[ours] is weights[name]


@pytest.mark.parametrize("kind", ["stage1", "stage2_tiny", "hmfm"])
def test_the_prefix_of_a_distributed_model_is_removed(fixtures: Path, kind: str):
    weights = released(fixtures, kind)
    plain = convert_published_state_dict(weights)
    prefixed = convert_published_state_dict({f"module.{k}": v for k, v in weights.items()})
    assert list(prefixed) == list(plain)
    assert all(prefixed[name] is plain[name] for name in plain)


def test_the_unused_head_is_left_out_and_the_log_says_so(
    fixtures: Path, caplog: pytest.LogCaptureFixture
):
    weights = released(fixtures, "stage2_tiny")
    count = sum(name.startswith("deep_out_conv.") for name in weights)
    # Detectron2's set-up keeps records of the package from the root's handlers.
    logger = logging.getLogger("cfrsam_d2.checkpoint.released")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger.name):
            converted = convert_published_state_dict(weights)
            messages = {record.getMessage() for record in caplog.records}
            assert messages == {f"Skipped {count} entries of the unused head deep_out_conv."}
            caplog.clear()
            convert_published_state_dict(released(fixtures, "bgmr"))
            assert not caplog.records
    finally:
        logger.removeHandler(caplog.handler)
    assert not any("deep_out" in name for name in converted)


@pytest.mark.parametrize("kind", ["stage1", "stage2_b", "mala", "hmfm", "bgmr"])
def test_unknown_names_are_refused(fixtures: Path, kind: str):
    weights = released(fixtures, kind) | {"zz.weight": None, "zz.bias": None}
    with pytest.raises(
        UserError, match=r"^2 names are not of a released .* instance 'zz.bias': convert the auth"
    ):
        convert_published_state_dict(weights)


@pytest.mark.parametrize(
    ("weights", "first"), [({}, "None"), ({"backbone.vit.pos_embed": None}, "'backbone.vit.pos_e")]
)
def test_other_checkpoints_are_refused(weights: dict, first: str):
    with pytest.raises(
        UserError, match=rf"^These {len(weights)} names \(first: {first}.*give one of stage 1"
    ):
        convert_published_state_dict(weights)


def test_promptnucseg_names_its_weights_like_sam():
    """Its segmenter is SAM with other weights: all that a model without additions has is there."""
    keys = [*TINY, "MODEL.SAM.GLOBAL_ATTN_INDEXES", "[1, 3]", "MODEL.SAM.DEPTH", "4"]
    cfg = load_config(get_config_file("promptnucseg_b.yaml"), [*keys])
    model = build_model(cfg)
    ours = {k: v for k, v in model.state_dict().items() if not k.startswith("proposal_generator.")}
    theirs = {
        name.replace("backbone.vit.", "image_encoder.").removeprefix("mask_head."): value
        for name, value in ours.items()
    }
    assert any(name.startswith("mask_decoder.") for name in theirs)
    converted = convert_published_state_dict(theirs)
    assert list(converted) == list(ours)
    assert all(converted[name] is value for name, value in ours.items())
