"""From a config file to a config that is known to be usable, and to a trained model."""

import difflib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from torch import nn

from ..checkpoint.checkpointer import load_weights
from ..checkpoint.frozen import SOURCES, sources_of_left_out
from ..config import add_cfrsam_config
from ..data.registration import register_custom_datasets
from ..errors import UserError

logger = logging.getLogger(__name__)

AMPERE = (8, 0)  # compute capability of the first NVIDIA GPUs with bfloat16


def load_config(config_file: str, overrides: Sequence[str] = ()) -> CfgNode:
    """Read a config file, override keys of it, register its datasets; and check all that.

    Where CUDA is wanted and there is none, the config asks for the CPU.

    Args:
        config_file: a YAML of Detectron2's and this project's keys; `_BASE_` names one it extends.
        overrides: key, value, key, value, … as typed on a command line.

    Returns:
        The config; not frozen.

    Raises:
        UserError: the file is missing or is no such YAML, a key does not exist or has a value of
            another type, a dataset is not registered, or the GPU has not the wanted precision.
    """
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    _merge_file(cfg, config_file)
    _merge_overrides(cfg, overrides)
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("MODEL.DEVICE is %s, but there is no CUDA: using cpu", cfg.MODEL.DEVICE)
        cfg.MODEL.DEVICE = "cpu"
    _check_precision(cfg)
    register_custom_datasets(cfg)
    _check_registered(cfg)
    return cfg


def _check_precision(cfg: CfgNode) -> None:
    for key, node in (("SOLVER", cfg.SOLVER), ("TEST", cfg.TEST)):
        if (
            node.AMP.ENABLED
            and cfg.MODEL.DEVICE.startswith("cuda")
            and torch.cuda.get_device_capability() < AMPERE
        ):
            raise UserError(
                f"{key}.AMP.ENABLED is True, but {torch.cuda.get_device_name()} has no bfloat16 "
                f"(it came with NVIDIA's Ampere): set {key}.AMP.ENABLED False"
            )


def load_config_for(
    config_file: str, overrides: Sequence[str], dataset: str | None
) -> tuple[CfgNode, str]:
    """Read a config, as `load_config`, to use its model on one dataset.

    Args:
        config_file, overrides: see `load_config`.
        dataset: of --dataset; None: the first of DATASETS.TEST.

    Returns:
        The config, with the dataset alone in DATASETS.TEST if it was named, and the dataset.

    Raises:
        UserError: see `load_config`; or no dataset is named.
    """
    # As a part of the config, the dataset is checked with it: its name, and that classes fit.
    chosen = ["DATASETS.TEST", repr((dataset,))] if dataset else []
    cfg = load_config(config_file, [*overrides, *chosen])
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: let --dataset name a registered dataset")
    return cfg, cfg.DATASETS.TEST[0]


def check_training(cfg: CfgNode) -> None:
    """Find out now, rather than after days of training, what would stop it or spoil it.

    Raises:
        UserError: training as `cfg` says would fail, or would choose weights on test data.
    """
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: name a registered dataset")
    if both := set(cfg.DATASETS.VAL) & set(cfg.DATASETS.TEST):
        raise UserError(
            f"{', '.join(sorted(both))} is in DATASETS.VAL and in DATASETS.TEST: the best weights "
            "are chosen on VAL, so take a test set that has no part in it"
        )
    patience = cfg.TEST.EARLY_STOPPING_PATIENCE
    if patience < 0:
        raise UserError(
            f"TEST.EARLY_STOPPING_PATIENCE is {patience}: give a number of evaluations, or 0 to "
            "train all iterations"
        )
    if patience and not (cfg.DATASETS.VAL and cfg.TEST.EVAL_PERIOD > 0):
        raise UserError(
            f"TEST.EARLY_STOPPING_PATIENCE is {patience}, but DATASETS.VAL is "
            f"{tuple(cfg.DATASETS.VAL)} and TEST.EVAL_PERIOD is {cfg.TEST.EVAL_PERIOD}: name a "
            "validation set and the iterations between its evaluations"
        )
    check_classes(cfg)
    for name in (*cfg.DATASETS.VAL, *cfg.DATASETS.TEST):
        DatasetCatalog.get(name)  # those of TRAIN are loaded soon enough


def check_classes(cfg: CfgNode) -> None:
    """
    Raises:
        UserError: a dataset has other classes than the model.
    """
    num_classes = cfg.MODEL.PROMPT_LEARNER.NUM_CLASSES
    for _, name in _dataset_names(cfg):
        classes = MetadataCatalog.get(name).thing_classes
        if len(classes) != num_classes:
            raise UserError(
                f"MODEL.PROMPT_LEARNER.NUM_CLASSES is {num_classes}, but {name} has "
                f"{len(classes)} classes ({', '.join(classes)}): set it to {len(classes)}"
            )


def check_registered(source: str, name: str) -> None:
    """
    Args:
        source: the config key or the switch that names the dataset.
        name: the dataset.

    Raises:
        UserError: there is no such dataset of nuclei.
    """
    registered = [
        each
        for each in DatasetCatalog.list()
        if MetadataCatalog.get(each).get("evaluator_type") == "nucleus"
    ]
    if name not in registered:
        raise UserError(
            f"{source} has {name!r}, which is not registered: take one of "
            f"{', '.join(sorted(registered))}, or name files of your own in DATASETS.CUSTOM"
        )


def check_initial_weights(cfg: CfgNode) -> None:
    """
    Raises:
        UserError: run 2 would start from a prompt learner or a frozen encoder of random weights.
    """
    if cfg.MODEL.META_ARCHITECTURE != "CFRSAM":
        return
    if not cfg.MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS:
        raise UserError(
            "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS is empty: train the prompt learner first, and "
            "name its model_best.pth"
        )
    if cfg.MODEL.SAM.FREEZE and not cfg.MODEL.SAM.WEIGHTS:
        raise UserError(
            "MODEL.SAM.WEIGHTS is empty and MODEL.SAM.FREEZE is True: name SAM's weights, or set "
            "MODEL.SAM.FREEZE False to train the encoder from scratch"
        )


def skip_initial_weights(cfg: CfgNode, checkpoint: str = "") -> None:
    """For a model whose weights follow: read and download nothing else.

    Args:
        cfg: changed in place.
        checkpoint: the weights that follow; what it leaves out is still read from its own file.

    Raises:
        UserError: there is no such checkpoint.
    """
    needed = sources_of_left_out(checkpoint) if checkpoint else set()
    cfg.MODEL.PROMPT_LEARNER.PRETRAINED = False
    for key in {*SOURCES.values()} - needed:
        cfg.merge_from_list([key, ""])


def build_trained_model(cfg: CfgNode) -> nn.Module:
    """Build the model with MODEL.WEIGHTS, or else with the best or final weights of OUTPUT_DIR.

    Returns:
        The model, in eval mode.

    Raises:
        UserError: there are no weights, they do not fit, or a dataset has other classes.
    """
    check_classes(cfg)
    path = _trained_weights(cfg)
    cfg = cfg.clone()
    cfg.defrost()
    skip_initial_weights(cfg, path)
    model = build_model(cfg)
    logger.info("Loading weights from %s", path)
    load_weights(model, path)
    return model.eval()


def _trained_weights(cfg: CfgNode) -> str:
    if cfg.MODEL.WEIGHTS:
        return cfg.MODEL.WEIGHTS
    for name in ("model_best.pth", "model_final.pth"):
        path = os.path.join(cfg.OUTPUT_DIR, name)
        if os.path.isfile(path):
            return path
    raise UserError(
        f"there are no trained weights: MODEL.WEIGHTS is empty, and {cfg.OUTPUT_DIR} has neither "
        "model_best.pth nor model_final.pth; train first, or set MODEL.WEIGHTS or OUTPUT_DIR"
    )


def _merge_file(cfg: CfgNode, config_file: str) -> None:
    if not os.path.isfile(config_file):
        raise UserError(
            f"the config file {config_file!r} does not exist: "
            "let --config-file name one, such as configs/prompt_learner.yaml"
        )
    try:
        loaded = CfgNode.load_yaml_with_base(config_file)
    except (OSError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{config_file} or its _BASE_ is no YAML of keys: {error}") from error
    if not isinstance(loaded, Mapping):
        raise UserError(f"{config_file} is no YAML of keys, but begins with {str(loaded)[:40]!r}")
    for key in _leaf_keys(loaded):
        _require_key(cfg, key, config_file)
    try:
        cfg.merge_from_file(config_file)
    except ValueError as error:
        raise UserError(_type_mismatch(config_file, error)) from error


def _merge_overrides(cfg: CfgNode, overrides: Sequence[str]) -> None:
    for option in overrides:
        if option.startswith("--"):
            raise UserError(f"{option} stands after a KEY VALUE pair: put it before them")
    if len(overrides) % 2:
        raise UserError(f"{overrides[-1]} has no value: give KEY VALUE pairs")
    for key in overrides[::2]:
        _require_key(cfg, key, "the command line")
    try:
        cfg.merge_from_list(list(overrides))
    except ValueError as error:
        raise UserError(_type_mismatch("the command line", error)) from error


def _type_mismatch(source: str, error: ValueError) -> str:
    return f"{source} gives a key a value of another type than its default's: {error}"


def _leaf_keys(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaf_keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _require_key(cfg: CfgNode, key: str, source: str) -> None:
    valid = list(_leaf_keys(cfg))
    if key not in valid:
        nearest = difflib.get_close_matches(key, valid, n=1, cutoff=0)[0]
        raise UserError(f"{source} has {key}, which is no config key: did you mean {nearest}?")


def _dataset_names(cfg: CfgNode) -> Iterator[tuple[str, str]]:
    """Pairs of a split's config key and a dataset in it."""
    for split in ("TRAIN", "VAL", "TEST"):
        for name in cfg.DATASETS[split]:
            yield f"DATASETS.{split}", name


def _check_registered(cfg: CfgNode) -> None:
    for key, name in _dataset_names(cfg):
        check_registered(key, name)
