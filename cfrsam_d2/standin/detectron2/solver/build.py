"""Parameter groups, gradient clipping and the schedule of the learning rate, by config."""

from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from fvcore.common import param_scheduler as schedulers
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

_NORM_LAYERS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)


def maybe_add_gradient_clipping(cfg: CfgNode, optimizer: Optimizer) -> Optimizer:
    """Clip each element (CLIP_TYPE "value") or each parameter's own norm ("norm") before steps."""
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return optimizer
    if clip.CLIP_TYPE not in ("value", "norm"):
        raise ValueError(f"'{clip.CLIP_TYPE}' is not a valid GradientClipType")

    def clip_each(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            if clip.CLIP_TYPE == "value":
                nn.utils.clip_grad_value_(parameter, clip.CLIP_VALUE)
            else:
                nn.utils.clip_grad_norm_(parameter, clip.CLIP_VALUE, clip.NORM_TYPE)

    optimizer.register_step_pre_hook(clip_each)
    return optimizer


def get_default_optimizer_params(
    model: nn.Module,
    base_lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_norm: float | None = None,
    bias_lr_factor: float | None = 1.0,
    weight_decay_bias: float | None = None,
    lr_factor_func: Callable[[str], float] | None = None,
    overrides: dict[str, dict[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """Trainable parameters in as few groups as their settings allow.

    `overrides` are by a parameter's own name, such as "bias"; `lr_factor_func` is of its full name.
    """
    bias = {} if weight_decay_bias is None else {"weight_decay": weight_decay_bias}
    if bias_lr_factor not in (None, 1.0):
        assert base_lr is not None, "bias_lr_factor needs base_lr"
        bias["lr"] = base_lr * bias_lr_factor
    overrides = {**(overrides or {}), **({"bias": bias} if bias else {})}
    defaults = {"lr": base_lr, "weight_decay": weight_decay}
    groups: dict[tuple, dict[str, Any]] = {}
    seen: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            settings = {key: value for key, value in defaults.items() if value is not None}
            if isinstance(module, _NORM_LAYERS) and weight_decay_norm is not None:
                settings["weight_decay"] = weight_decay_norm
            if lr_factor_func is not None:
                settings["lr"] *= lr_factor_func(f"{module_name}.{name}")
            settings.update(overrides.get(name, {}))
            group = groups.setdefault(tuple(settings.items()), {**settings, "params": []})
            group["params"].append(parameter)
    return list(groups.values())


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """SOLVER.LR_SCHEDULER_NAME, "WarmupMultiStepLR" or "WarmupCosineLR", with its warm-up."""
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR":
        steps = [step for step in solver.STEPS if step <= solver.MAX_ITER]
        values = [solver.GAMMA**k for k in range(len(steps) + 1)]
        main = schedulers.MultiStepParamScheduler(values, solver.MAX_ITER, milestones=steps)
    elif solver.LR_SCHEDULER_NAME == "WarmupCosineLR":
        main = schedulers.CosineParamScheduler(1, solver.BASE_LR_END / solver.BASE_LR)
    else:
        raise ValueError(f"Unknown LR scheduler: {solver.LR_SCHEDULER_NAME}")
    length = min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0)
    start, end = solver.WARMUP_FACTOR * main(0.0), main(length)
    warmup = {
        "constant": schedulers.ConstantParamScheduler(start),
        "linear": schedulers.LinearParamScheduler(start, end),
    }[solver.WARMUP_METHOD]
    lengths, scaling = [length, 1 - length], ["rescaled", "fixed"]
    whole = schedulers.CompositeParamScheduler([warmup, main], lengths, scaling)
    return LambdaLR(optimizer, lambda iteration: whole(iteration / solver.MAX_ITER))
