"""Optimisers and the clipping of the total norm."""

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from torch import nn

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.engine.optimizer import build_optimizer
from cfrsam_d2.errors import UserError


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    cfg.SOLVER.BASE_LR = 0.01
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.1
    return cfg


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 1), nn.LayerNorm(1), nn.Linear(1, 1).requires_grad_(False))


def set_gradients(model: nn.Module) -> None:
    """3 and 4 on the first layer, whose total norm is 5, and 0 on the norm."""
    model[0].weight.grad = torch.full((1, 1), 3.0)
    model[0].bias.grad = torch.full((1,), 4.0)
    model[1].weight.grad = torch.zeros(1)
    model[1].bias.grad = torch.zeros(1)


@pytest.mark.parametrize(("name", "kind"), [("ADAM", "Adam"), ("ADAMW", "AdamW")])
def test_settings_and_parameters(cfg: CfgNode, model: nn.Module, name: str, kind: str) -> None:
    cfg.SOLVER.OPTIMIZER = name
    optimizer = build_optimizer(cfg, model)
    assert type(optimizer).__name__ == kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.01, 1e-4, (0.9, 0.999))
    assert len(group["params"]) == 4  # none of the frozen layer


def test_total_norm_is_clipped(cfg: CfgNode, model: nn.Module) -> None:
    optimizer = build_optimizer(cfg, model)
    set_gradients(model)
    optimizer.step()
    gradients = torch.cat([model[0].weight.grad.flatten(), model[0].bias.grad])
    torch.testing.assert_close(gradients, torch.tensor([0.06, 0.08]), atol=1e-6, rtol=0)


def test_small_gradients_are_left(cfg: CfgNode, model: nn.Module) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 5.1
    optimizer = build_optimizer(cfg, model)
    set_gradients(model)
    optimizer.step()
    assert model[0].weight.grad.item() == 3


def test_other_clipping_is_detectron2s(cfg: CfgNode, model: nn.Module) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "norm"  # of each parameter by itself
    optimizer = build_optimizer(cfg, model)
    set_gradients(model)
    optimizer.step()
    assert model[0].weight.grad.item() == pytest.approx(0.1, abs=1e-6)
    assert model[0].bias.grad.item() == pytest.approx(0.1, abs=1e-6)


def test_without_clipping(cfg: CfgNode, model: nn.Module) -> None:
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    optimizer = build_optimizer(cfg, model)
    set_gradients(model)
    optimizer.step()
    assert model[0].bias.grad.item() == 4


def test_unknown_optimizer(cfg: CfgNode, model: nn.Module) -> None:
    cfg.SOLVER.OPTIMIZER = "SGD"
    with pytest.raises(UserError, match=r"SOLVER\.OPTIMIZER is 'SGD': choose one of ADAM, ADAMW"):
        build_optimizer(cfg, model)
