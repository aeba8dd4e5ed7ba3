"""MODEL.COMPILE: compiled parts give the same results and gradients, under the same names."""

import copy
import shutil

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from torch import nn

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.engine.setup import skip_initial_weights


@pytest.fixture
def cfg() -> CfgNode:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU: install g++")
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    skip_initial_weights(cfg)
    cfg.MODEL.DEVICE = "cpu"
    learner, sam = cfg.MODEL.PROMPT_LEARNER, cfg.MODEL.SAM
    learner.DEPTHS, learner.DIMS, learner.HIDDEN_DIM = [1, 1, 1, 1], [8, 8, 16, 16], 16
    sam.EMBED_DIM, sam.DEPTH, sam.NUM_HEADS, sam.GLOBAL_ATTN_INDEXES = 24, 4, 2, [1, 3]
    sam.ADAPTER_RANK = 4
    return cfg


def build(cfg: CfgNode) -> nn.Module:
    torch.manual_seed(0)
    return build_model(cfg).eval()


def test_the_prompt_learner_compiled(cfg: CfgNode) -> None:
    cfg.MODEL.META_ARCHITECTURE = "PromptLearner"
    images, results = torch.randn(2, 3, 64, 64), []
    for cfg.MODEL.COMPILE in (False, True):
        learner = build(cfg).proposal_generator
        predictions = learner.predict(images)
        (predictions.points.sum() + predictions.logits.square().sum()).backward()
        gradients = [each.grad for each in learner.backbone.parameters()]
        assert (learner.backbone._compiled_call_impl is not None) == cfg.MODEL.COMPILE
        results.append([predictions.points, predictions.logits, *gradients])
    for expected, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, expected, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_the_encoder_compiled(cfg: CfgNode) -> None:
    images, results = torch.randn(1, 3, 64, 96), []
    for cfg.MODEL.COMPILE in (False, True):
        results.append(build(cfg).backbone(images))
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, atol=1e-4, rtol=1e-3)


def test_compiled_parts_keep_the_names_of_weights_and_can_be_copied(cfg: CfgNode) -> None:
    names = build(cfg).state_dict().keys()
    cfg.MODEL.COMPILE = True
    model = build(cfg)
    assert model.state_dict().keys() == names
    assert copy.deepcopy(model).state_dict().keys() == names
