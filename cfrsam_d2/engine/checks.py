"""Checks of a config, before something is computed that it would stop or spoil."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    PROPOSAL_GENERATOR_REGISTRY,
)
from detectron2.utils import comm

from ..checkpoint.conversion import model_weights
from ..data.magnification import check_magnification
from ..data.mapper import NucleusMapper
from ..errors import UserError
from ..evaluation import NucleusEvaluator
from ..modeling.prompt_learner.backbone import NUM_LEVELS, is_convnext
from ..modeling.sam.shared_encoder import STRIDES
from .optimizer import OPTIMIZERS

SHARED_LEVELS = len(STRIDES) - 1  # `SharedEncoder` reads these, and one of the mask
AMPERE = (8, 0)  # compute capability of the first NVIDIA GPUs with bfloat16

Rule = tuple[Callable[[Any], bool], str]  # what a value has to be, and what to do where it is not


def _at_least(least: int, remedy: str = "") -> Rule:
    return lambda value: value >= least, remedy or f"give {least} or more"


def _one_of(*names: str) -> Rule:
    return lambda name: name in names, f"choose one of {', '.join(names)}"


def _are_sides(sizes: list[int]) -> bool:
    return all(size > 0 and size % 4 == 0 for size in sizes)


def _are_levels(sizes: list[int]) -> bool:
    return not sizes or (len(sizes) == NUM_LEVELS and min(sizes) > 0)


def _is_weight(value: float) -> bool:
    return 0 <= value < math.inf


def _is_device(name: str) -> bool:
    try:
        device = torch.device(name)
    except RuntimeError:
        return False
    if device.type != "cuda" or device.index is None or not torch.cuda.is_available():
        return True
    return device.index < torch.cuda.device_count()


_WEIGHT = (_is_weight, "give a finite number from 0 on")
_SIDES = (_are_sides, "give positive multiples of 4 px")
_LEVELS = (_are_levels, f"give {NUM_LEVELS} numbers above 0, or none")
_LENGTH = (lambda value: 0 < value < math.inf, "give a finite number above 0")

# Keys of the model and of all that uses it.
_RULES: dict[str, Rule] = {
    "OUTPUT_DIR": (lambda path: bool(path.strip()) and "\0" not in path, "name a folder"),
    "MODEL.DEVICE": (_is_device, "give cuda, cuda:N of a GPU that is there, or cpu"),
    "MODEL.META_ARCHITECTURE": (
        lambda name: name in META_ARCH_REGISTRY,
        "choose one of PromptLearner, CFRSAM",
    ),
    "MODEL.BACKBONE.NAME": (
        lambda name: name in BACKBONE_REGISTRY,
        "give SAMEncoder, SharedEncoder or TimmEncoder",
    ),
    "MODEL.PROPOSAL_GENERATOR.NAME": (
        lambda name: name in PROPOSAL_GENERATOR_REGISTRY,
        "choose one of CentroidProposalGenerator, BoxProposalGenerator",
    ),
    "MODEL.PIXEL_MEAN": (lambda mean: len(mean) == 3, "give three numbers, of R, G and B"),
    "MODEL.PIXEL_STD": (
        lambda std: len(std) == 3 and min(std) > 0,
        "give three numbers above 0, of R, G and B",
    ),
    "MODEL.PROMPT_LEARNER.NUM_CLASSES": _at_least(1),
    "MODEL.PROMPT_LEARNER.BACKBONE": (
        is_convnext,
        "take a ConvNeXt of timm, one of timm.list_models('convnext*', pretrained=True), such as "
        "'convnext_small.fb_in1k'",
    ),
    "MODEL.PROMPT_LEARNER.DEPTHS": _LEVELS,
    "MODEL.PROMPT_LEARNER.DIMS": _LEVELS,
    "MODEL.PROMPT_LEARNER.HIDDEN_DIM": _at_least(1),
    "MODEL.PROMPT_LEARNER.NUM_LEVELS": (
        lambda count: 1 <= count <= NUM_LEVELS,
        f"choose 1 to {NUM_LEVELS}, which are the levels of a ConvNeXt",
    ),
    "MODEL.PROMPT_LEARNER.ANCHOR_STRIDE": _at_least(1, "give 1 px or more"),
    "MODEL.PROMPT_LEARNER.DISTANCE_WEIGHT": _WEIGHT,
    "MODEL.PROMPT_LEARNER.BACKGROUND_WEIGHT": _WEIGHT,
    "MODEL.PROMPT_LEARNER.REGRESSION_WEIGHT": _WEIGHT,
    "MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS": _WEIGHT,
    "MODEL.PROMPT_LEARNER.FOREGROUND_THRESH": (
        lambda least: 0 <= least < 1,
        "give a probability from 0 (as published) to below 1",
    ),
    "MODEL.SAM.EMBED_DIM": _at_least(1),
    "MODEL.SAM.DEPTH": _at_least(1),
    "MODEL.SAM.NUM_HEADS": _at_least(1),
    "MODEL.SAM.ATTENTION_WINDOW": _at_least(1),
    "MODEL.SAM.ADAPTER_RANK": _at_least(1),
    "MODEL.TIMM.PIXEL_MEAN": (
        lambda mean: len(mean) in (0, 3),
        "give three numbers, of R, G and B, or none",
    ),
    "MODEL.TIMM.PIXEL_STD": (
        lambda std: not std or (len(std) == 3 and min(std) > 0),
        "give three numbers above 0, of R, G and B, or none",
    ),
    "MODEL.MASK_HEAD.FOCAL_WEIGHT": _WEIGHT,
    "MODEL.MASK_HEAD.BOUNDARY_WEIGHT": _WEIGHT,
    "MODEL.MASK_HEAD.CROP_SIZES": _SIDES,
    "MODEL.MASK_HEAD.TRAIN_CROP_SIZES": _SIDES,
    "MODEL.MASK_HEAD.CROP_HALO": _at_least(0),
    "MODEL.MASK_HEAD.PROMPTS_PER_CHUNK": _at_least(1),
    "MODEL.MASK_HEAD.FINAL_MASK": _one_of("refined", "initial"),
    "MODEL.CFRSAM.MAX_TRAIN_NUCLEI": _at_least(1),
    "MODEL.CFRSAM.NEGATIVE_PROMPTS": _at_least(0),
    "MODEL.CFRSAM.NMS_THRESH": (lambda iou: 0 <= iou <= 1, "give an IoU from 0 to 1"),
    "MODEL.CFRSAM.MERGE_OVERLAP": (
        lambda share: 0 <= share <= 1,
        "give a share of a mask from above 0 to 1, or 0 to merge none",
    ),
    "MODEL.CFRSAM.MIN_BORDER_AREA": _at_least(0, "give px, or 0 to drop none"),
    "MODEL.SLIDING_WINDOW.EDGE_TOLERANCE": _at_least(0),
    "MODEL.SLIDING_WINDOW.BATCH": _at_least(1),
    "MODEL.SLIDING_WINDOW.FRAME": (
        lambda side: side > 0 and side % 32 == 0,
        "give px, a positive multiple of 32",
    ),
    "DATALOADER.NUM_WORKERS": _at_least(0),
    "TEST.CLASS_F1_RADIUS": (
        lambda radius: 0 < radius < math.inf,
        "give px at 40x above 0, such as 3 (PanNuke) or 12 (CPM-17, MoNuSeg)",
    ),
}

# Keys of a training.
_TRAINING_RULES: dict[str, Rule] = {
    "SEED": _at_least(0, "give 0 or more, training follows from it"),
    "SOLVER.OPTIMIZER": _one_of(*OPTIMIZERS),
    "SOLVER.LR_SCHEDULER_NAME": _one_of("WarmupMultiStepLR", "WarmupCosineLR"),
    "SOLVER.WARMUP_METHOD": _one_of("constant", "linear"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": _one_of("full_model", "value", "norm"),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": _LENGTH,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": (
        lambda order: order > 0,
        "give the order of a norm, or inf",
    ),
    "SOLVER.MAX_ITER": _at_least(1),
    "SOLVER.CHECKPOINT_PERIOD": _at_least(1),
    "SOLVER.BASE_LR": _LENGTH,
    "SOLVER.BASE_LR_END": _WEIGHT,
    "SOLVER.GAMMA": _LENGTH,
    "SOLVER.WARMUP_FACTOR": _WEIGHT,
    "SOLVER.BIAS_LR_FACTOR": _WEIGHT,
    "SOLVER.WEIGHT_DECAY": _WEIGHT,
    "SOLVER.WEIGHT_DECAY_NORM": (lambda decay: decay is None or _is_weight(decay), _WEIGHT[1]),
    "SOLVER.WEIGHT_DECAY_BIAS": (lambda decay: decay is None or _is_weight(decay), _WEIGHT[1]),
    "SOLVER.EMA_DECAY": (lambda decay: 0 <= decay < 1, "give a number from 0 to below 1; 0: none"),
    "TEST.EVAL_PERIOD": _at_least(0, "give iterations between evaluations; 0: only after the last"),
    "TEST.EARLY_STOPPING_PATIENCE": _at_least(
        0, "give a number of evaluations, or 0 to train all iterations"
    ),
}


def _check_rules(cfg: CfgNode, rules: Mapping[str, Rule]) -> None:
    for key, (is_good, remedy) in rules.items():
        value = operator.attrgetter(key)(cfg)
        if not is_good(value):
            raise UserError(f"{key} is {value!r}: {remedy}")


def check_keys(cfg: CfgNode) -> None:
    """
    Raises:
        UserError: a key that not only training uses has a value that it cannot have.
    """
    _check_rules(cfg, _RULES)
    window, sam = cfg.MODEL.SLIDING_WINDOW, cfg.MODEL.SAM
    if not 0 <= window.OVERLAP < window.SIZE:
        raise UserError(
            f"MODEL.SLIDING_WINDOW.OVERLAP is {window.OVERLAP} with windows of {window.SIZE}: give "
            "px from 0 to below SIZE"
        )
    if sam.EMBED_DIM % sam.NUM_HEADS:
        raise UserError(
            f"MODEL.SAM.EMBED_DIM is {sam.EMBED_DIM}: give a multiple of MODEL.SAM.NUM_HEADS, "
            f"{sam.NUM_HEADS}"
        )
    _check_class_weights(cfg.MODEL.PROMPT_LEARNER)
    levels = cfg.MODEL.PROMPT_LEARNER.NUM_LEVELS
    if cfg.MODEL.BACKBONE.NAME == "SharedEncoder" and levels != SHARED_LEVELS:
        raise UserError(
            f"MODEL.PROMPT_LEARNER.NUM_LEVELS is {levels}: MODEL.BACKBONE.NAME SharedEncoder reads "
            f"{SHARED_LEVELS}"
        )
    if cfg.INPUT.MAGNIFICATION != 0:
        check_magnification("INPUT.MAGNIFICATION", cfg.INPUT.MAGNIFICATION)


def _check_class_weights(learner: CfgNode) -> None:
    weights, count = learner.CLASS_WEIGHTS, learner.NUM_CLASSES
    if weights and (len(weights) != count or not all(0 < each < math.inf for each in weights)):
        raise UserError(
            f"MODEL.PROMPT_LEARNER.CLASS_WEIGHTS is {weights}: give a finite number above 0 for "
            f"each of the {count} classes, or none"
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


def _check_same_classes(names: Sequence[str]) -> None:
    classes = [", ".join(MetadataCatalog.get(name).thing_classes) for name in names]
    for name, its in zip(names, classes, strict=True):
        if its != classes[0]:
            raise UserError(
                f"DATASETS.TRAIN has {names[0]} with the classes {classes[0]}, and {name} with "
                f"{its}: prepare them with one list of classes"
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
    _check_rules(cfg, _TRAINING_RULES)
    _check_schedule(cfg.SOLVER)
    _check_patience(cfg)
    _check_batch(cfg)
    NucleusMapper(cfg, is_train=True)  # its augmentation is one that can be
    check_classes(cfg)
    _check_same_classes(cfg.DATASETS.TRAIN)
    model_weights(cfg)  # without memory: the names of its parts are looked up
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
    if patience and not (cfg.DATASETS.VAL and cfg.TEST.EVAL_PERIOD > 0):
        raise UserError(
            f"TEST.EARLY_STOPPING_PATIENCE is {patience}, but DATASETS.VAL is "
            f"{tuple(cfg.DATASETS.VAL)} and TEST.EVAL_PERIOD is {cfg.TEST.EVAL_PERIOD}: name a "
            "validation set and the iterations between its evaluations"
        )


def _check_schedule(solver: CfgNode) -> None:
    steps, length = list(solver.STEPS), solver.MAX_ITER
    if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR" and (
        steps != sorted(set(steps)) or not all(0 < step < length for step in steps)
    ):
        raise UserError(
            f"SOLVER.STEPS is {tuple(steps)} and SOLVER.MAX_ITER is {length}: give growing "
            'iterations between 0 and MAX_ITER, or none, "()"'
        )
    if not 0 <= solver.WARMUP_ITERS <= length:
        raise UserError(
            f"SOLVER.WARMUP_ITERS is {solver.WARMUP_ITERS} and SOLVER.MAX_ITER is {length}: give "
            "0 to MAX_ITER"
        )


def _check_batch(cfg: CfgNode) -> None:
    batch_size, num_gpus = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch_size <= 0 or batch_size % num_gpus:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}: give a positive multiple of the number of "
            f"GPUs, {num_gpus}"
        )
