"""Configuration: a tree with defaults, files with `_BASE_`, and classes built from a config."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import yaml
from fvcore.common.config import CfgNode as _CfgNode

# Detectron2's own keys that the project uses, with Detectron2's values.
_DEFAULTS = """
VERSION: 2
MODEL:
  {DEVICE: cuda, META_ARCHITECTURE: GeneralizedRCNN, WEIGHTS: "",
  PIXEL_MEAN: [103.530, 116.280, 123.675], PIXEL_STD: [1.0, 1.0, 1.0],
  BACKBONE: {NAME: build_resnet_backbone}, PROPOSAL_GENERATOR: {NAME: RPN}}
INPUT: {FORMAT: BGR}
DATASETS: {TRAIN: !!python/tuple [], TEST: !!python/tuple []}
DATALOADER: {NUM_WORKERS: 4, ASPECT_RATIO_GROUPING: true, FILTER_EMPTY_ANNOTATIONS: true}
SOLVER:
  {LR_SCHEDULER_NAME: WarmupMultiStepLR, MAX_ITER: 40000, BASE_LR: 0.001, BASE_LR_END: 0.0,
  GAMMA: 0.1, STEPS: !!python/tuple [30000], IMS_PER_BATCH: 16, CHECKPOINT_PERIOD: 5000,
  WARMUP_FACTOR: 0.001, WARMUP_ITERS: 1000, WARMUP_METHOD: linear, BIAS_LR_FACTOR: 1.0,
  WEIGHT_DECAY: 0.0001, WEIGHT_DECAY_NORM: 0.0, WEIGHT_DECAY_BIAS: null,
  CLIP_GRADIENTS: {ENABLED: false, CLIP_TYPE: value, CLIP_VALUE: 1.0, NORM_TYPE: 2.0},
  AMP: {ENABLED: false}}
TEST: {EVAL_PERIOD: 0, AUG: {ENABLED: false}}
OUTPUT_DIR: ./output
SEED: -1
CUDNN_BENCHMARK: false
"""


class CfgNode(_CfgNode):
    """fvcore's CfgNode, which also checks the VERSION of the files that are merged into it."""

    def merge_from_file(self, cfg_filename: str, allow_unsafe: bool = True) -> None:
        """Merge a YAML file and its `_BASE_`; keys that this config lacks raise KeyError."""
        loaded = CfgNode(self.load_yaml_with_base(cfg_filename, allow_unsafe=allow_unsafe))
        version = loaded.get("VERSION") or self.VERSION
        assert version == self.VERSION, f"Cannot merge a v{version} config into v{self.VERSION}."
        self.merge_from_other_cfg(loaded)


def get_cfg() -> CfgNode:
    """A copy of the default config."""
    return CfgNode(yaml.full_load(_DEFAULTS))


def configurable(init_func: Any = None, *, from_config: Callable | None = None) -> Any:
    """Let `__init__`, or a function with a `from_config`, also be called with a config.

    Then the arguments are what `from_config(cfg, …)` returns, and keywords that it does not take.
    """
    if init_func is None:
        return functools.partial(_configurable, from_config=from_config)
    return _configurable(init_func, None)


def _configurable(function: Callable, from_config: Callable | None) -> Callable:
    """For `__init__`, `from_config` is the class's own."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        owner, rest = ((), args) if from_config else (args[:1], args[1:])
        if not isinstance(rest[0] if rest else kwargs.get("cfg"), _CfgNode):
            return function(*args, **kwargs)
        translate = from_config or type(args[0]).from_config
        parameters = inspect.signature(translate).parameters
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
            return function(*owner, **translate(*rest, **kwargs))
        taken = {name: kwargs.pop(name) for name in list(kwargs) if name in parameters}
        return function(*owner, **{**translate(*rest, **taken), **kwargs})

    return wrapped
