"""MODEL.COMPILE and MODEL.CHANNELS_LAST: the same results, gradients, and names of weights."""

import copy
import shutil

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from torch import Tensor, nn

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.engine.setup import skip_initial_weights


@pytest.fixture(params=["COMPILE", "CHANNELS_LAST"])
def key(request: pytest.FixtureRequest) -> str:
    if request.param == "COMPILE" and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU: install g++")
    return request.param


def build(meta_architecture: str, **keys: bool) -> nn.Module:
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    skip_initial_weights(cfg)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE = meta_architecture, "cpu"
    cfg.MODEL.update(keys)
    shrink(cfg)
    torch.manual_seed(0)
    return build_model(cfg).eval()


def shrink(cfg: CfgNode) -> None:
    learner, sam = cfg.MODEL.PROMPT_LEARNER, cfg.MODEL.SAM
    learner.DEPTHS, learner.DIMS, learner.HIDDEN_DIM = [1, 1, 1, 1], [8, 8, 16, 16], 16
    sam.EMBED_DIM, sam.DEPTH, sam.NUM_HEADS, sam.GLOBAL_ATTN_INDEXES = 24, 4, 2, [1, 3]
    sam.ADAPTER_RANK = 4


def learn(learner: nn.Module, images: Tensor) -> list[Tensor]:
    """Predictions and gradients."""
    predictions = learner.predict(images)
    (predictions.points.sum() + predictions.logits.square().sum()).backward()
    gradients = [each.grad for each in learner.backbone.parameters()]
    return [predictions.points, predictions.logits, predictions.mask_logits, *gradients]


@torch.no_grad()
def segment(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Levels and logits."""
    levels = model.backbone(images)
    maps = model.mask_head.encode(images, levels)
    predictions = model.mask_head.predict(maps, torch.tensor([[30.0, 40.0]]), torch.tensor([0]))
    return [*levels.values(), predictions.initial_logits, predictions.refined_logits]


def test_the_prompt_learner(key: str) -> None:
    images = torch.randn(2, 3, 64, 64)
    plain, changed = (build("PromptLearner", **{key: on}) for on in (False, True))
    results = [learn(each.proposal_generator, images) for each in (plain, changed)]
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)
    backbone = changed.proposal_generator.backbone
    assert (backbone._compiled_call_impl is not None) == (key == "COMPILE")
    assert backbone.stem_0.weight.is_contiguous(memory_format=torch.channels_last) == (
        key == "CHANNELS_LAST"
    )


def test_both_stages(key: str) -> None:
    images = torch.randn(1, 3, 64, 96)
    plain, changed = (build("CFRSAM", **{key: on}) for on in (False, True))
    for expected, actual in zip(segment(plain, images), segment(changed, images), strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)
    compiled = [each.mlp._compiled_call_impl is not None for each in changed.backbone.vit.blocks]
    assert compiled == [key == "COMPILE"] * 4
    assert changed.mask_head.bgmr.mask_head[0][0].weight.is_contiguous(
        memory_format=torch.channels_last
    ) == (key == "CHANNELS_LAST")


def test_names_of_weights_stay_and_copies_are_made(key: str) -> None:
    names = build("CFRSAM").state_dict().keys()
    model = build("CFRSAM", **{key: True})
    assert model.state_dict().keys() == names
    assert copy.deepcopy(model).state_dict().keys() == names
