"""Checks of a config, before something is computed that it would stop or spoil."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from ..data.magnification import check_magnification
from ..errors import UserError
from ..evaluation import NucleusEvaluator
from ..modeling.prompt_learner.backbone import NUM_LEVELS, is_convnext

AMPERE = (8, 0)  # compute capability of the first NVIDIA GPUs with bfloat16


def _are_sides(sizes: list[int]) -> bool:
    return all(size > 0 and size % 4 == 0 for size in sizes)


# Keys of the model: what their values have to be, and what to do where they are not.
_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "PROMPT_LEARNER.BACKBONE": (
        is_convnext,
        "take a ConvNeXt of timm, one of timm.list_models('convnext*', pretrained=True), such as "
        "'convnext_small.fb_in1k'",
    ),
    "PROMPT_LEARNER.NUM_LEVELS": (
        lambda count: 1 <= count <= NUM_LEVELS,
        f"choose 1 to {NUM_LEVELS}, which are the levels of a ConvNeXt",
    ),
    "PROMPT_LEARNER.ANCHOR_STRIDE": (lambda stride: stride >= 1, "give 1 px or more"),
    "SAM.ADAPTER_RANK": (lambda rank: rank >= 1, "give 1 or more"),
    "MASK_HEAD.CROP_SIZES": (_are_sides, "give positive multiples of 4 px"),
    "MASK_HEAD.TRAIN_CROP_SIZES": (_are_sides, "give positive multiples of 4 px"),
    "MASK_HEAD.FINAL_MASK": (
        lambda name: name in ("refined", "initial"),
        "choose one of refined, initial",
    ),
    "CFRSAM.NEGATIVE_PROMPTS": (lambda count: count >= 0, "give 0 or more"),
}


def check_model_keys(cfg: CfgNode) -> None:
    """
    Raises:
        UserError: a key of the model has a value that it cannot have. The names of the model's
            parts are looked up where it is built.
    """
    for key, (is_good, remedy) in _RANGES.items():
        value = operator.attrgetter(key)(cfg.MODEL)
        if not is_good(value):
            raise UserError(f"MODEL.{key} is {value!r}: {remedy}")
    window = cfg.MODEL.SLIDING_WINDOW
    if not 0 <= window.OVERLAP < window.SIZE:
        raise UserError(
            f"MODEL.SLIDING_WINDOW.OVERLAP is {window.OVERLAP} with windows of {window.SIZE}: give "
            "px from 0 to below SIZE"
        )
    if cfg.INPUT.MAGNIFICATION != 0:
        check_magnification("INPUT.MAGNIFICATION", cfg.INPUT.MAGNIFICATION)
    if not 0 < cfg.TEST.CLASS_F1_RADIUS < math.inf:
        raise UserError(
            f"TEST.CLASS_F1_RADIUS is {cfg.TEST.CLASS_F1_RADIUS}: give px at 40x above 0, such as "
            "3 (PanNuke) or 12 (CPM-17, MoNuSeg)"
        )


def check_precision(cfg: CfgNode) -> None:
    """
    Raises:
        UserError: mixed precision is wanted, and the GPU has none.
    """
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


def dataset_names(cfg: CfgNode) -> Iterator[tuple[str, str]]:
    """Pairs of a split's config key and a dataset in it."""
    for split in ("TRAIN", "VAL", "TEST"):
        for name in cfg.DATASETS[split]:
            yield f"DATASETS.{split}", name


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


def check_classes(cfg: CfgNode) -> None:
    """
    Raises:
        UserError: a dataset has other classes than the model.
    """
    num_classes = cfg.MODEL.PROMPT_LEARNER.NUM_CLASSES
    for _, name in dataset_names(cfg):
        classes = MetadataCatalog.get(name).thing_classes
        if len(classes) != num_classes:
            raise UserError(
                f"MODEL.PROMPT_LEARNER.NUM_CLASSES is {num_classes}, but {name} has "
                f"{len(classes)} classes ({', '.join(classes)}): set it to {len(classes)}"
            )


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
    _check_patience(cfg)
    check_classes(cfg)
    for name in (*cfg.DATASETS.VAL, *cfg.DATASETS.TEST):
        DatasetCatalog.get(name)  # those of TRAIN are loaded soon enough
    if cfg.DATASETS.VAL:
        evaluator = NucleusEvaluator(cfg.DATASETS.VAL[0])
        has_masks = cfg.MODEL.META_ARCHITECTURE != "PromptLearner"
        check_best_metric(cfg.TEST.BEST_METRIC, evaluator.metric_names(has_masks=has_masks))


def check_best_metric(metric: str, scores: Iterable[str]) -> None:
    """
    Args:
        metric: TEST.BEST_METRIC.
        scores: the names of those of the validation set.

    Raises:
        UserError: it is none of them.
    """
    if metric not in scores:
        raise UserError(
            f"TEST.BEST_METRIC {metric!r} is not among the scores of the validation set: "
            f"use one of {', '.join(scores)}"
        )


def _check_patience(cfg: CfgNode) -> None:
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
