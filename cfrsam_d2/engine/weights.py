"""Weights of a newly built model: those from which a training starts, or trained ones."""

import logging
import os
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from ..checkpoint.checkpointer import load_weights
from ..checkpoint.files import read_checkpoint
from ..checkpoint.frozen import SOURCES
from ..checkpoint.imagenet import load_imagenet_weights
from ..checkpoint.pretrained import pretrained_weights
from ..checkpoint.sam import load_sam_weights
from ..errors import UserError
from ..modeling.meta_arch import CFRSAM, PromptLearner
from ..modeling.sam import TimmEncoder
from ..modeling.sam.timm_encoder import vit_options
from .checks import check_classes
from .run_folder import last_checkpoint

logger = logging.getLogger(__name__)


def check_initial_weights(cfg: CfgNode, *, resume: bool = False) -> None:
    """Find out before a training begins that it would start from the wrong weights.

    Args:
        cfg: of the training.
        resume: whether it continues where there is a checkpoint.

    Raises:
        UserError: stage 1 would start from ImageNet weights that do not fit, or stage 2 from a
            prompt learner or a frozen encoder of random weights.
    """
    if cfg.MODEL.WEIGHTS or (resume and last_checkpoint(cfg.OUTPUT_DIR)):
        return
    if cfg.MODEL.META_ARCHITECTURE == "PromptLearner":
        _check_initial_stage1(cfg.MODEL.PROMPT_LEARNER)
    elif cfg.MODEL.META_ARCHITECTURE == "CFRSAM":
        _check_initial_stage2(cfg)


def load_initial_weights(model: nn.Module, cfg: CfgNode, checkpoint: str = "") -> None:
    """Fill those parts of a newly built model that start from files.

    Stage 1 starts from ConvNeXt's ImageNet weights, stage 2 from stage 1's, from SAM's, and from
    those of a ViT of timm in SAM's place.

    Args:
        model: what `build_model` made of `cfg`.
        cfg: names the files.
        checkpoint: a file whose weights follow: then only what it leaves out is filled.

    Raises:
        UserError: a file is missing or damaged or of another model, or see `check_initial_weights`.
    """
    if not checkpoint:
        check_initial_weights(cfg)
    if isinstance(model, CFRSAM):  # which is a `PromptLearner`, too
        left_out = read_checkpoint(checkpoint).get("left_out", {}) if checkpoint else SOURCES
        _load_initial_stage2(model, cfg, {SOURCES[prefix] for prefix in left_out})
    elif isinstance(model, PromptLearner) and not checkpoint:
        _load_initial_stage1(model, cfg.MODEL.PROMPT_LEARNER)


def build_trained_model(cfg: CfgNode) -> nn.Module:
    """Build the model with MODEL.WEIGHTS, or else with the best or final weights of OUTPUT_DIR.

    A folder of `tools/export_model.py` in place of weights: its networks run.

    Returns:
        The model, in eval mode.

    Raises:
        UserError: there are no weights, they do not fit, or a dataset has other classes.
    """
    check_classes(cfg)
    path = _trained_weights(cfg)
    model = build_model(cfg)
    logger.info("Loading weights from %s", path)
    if os.path.isdir(path):
        from ..deploy.running import use_networks  # takes seconds

        use_networks(model, cfg, Path(path))
        return model.eval()
    load_initial_weights(model, cfg, path)
    load_weights(model, path)
    return model.eval()


def _check_initial_stage1(node: CfgNode) -> None:
    if node.PRETRAINED and (node.DEPTHS or node.DIMS):
        raise UserError(
            "MODEL.PROMPT_LEARNER.PRETRAINED is True, but ImageNet weights do not fit a resized "
            "ConvNeXt: set it False, or leave MODEL.PROMPT_LEARNER.DEPTHS and DIMS empty"
        )


def _check_initial_stage2(cfg: CfgNode) -> None:
    if not cfg.MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS:
        raise UserError(
            "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS is empty: train the prompt learner first, and "
            "name its model_best.pth"
        )
    if cfg.MODEL.BACKBONE.NAME == "SharedEncoder":
        if cfg.MODEL.SAM.WEIGHTS:
            raise UserError(
                f"MODEL.SAM.WEIGHTS is {cfg.MODEL.SAM.WEIGHTS}, but MODEL.BACKBONE.NAME is "
                "SharedEncoder, which has stage 1's weights: leave it empty, or take SAMEncoder"
            )
    elif cfg.MODEL.BACKBONE.NAME == "TimmEncoder":
        if cfg.MODEL.SAM.FREEZE and not cfg.MODEL.TIMM.PRETRAINED:
            raise UserError(
                "MODEL.TIMM.PRETRAINED is False and MODEL.SAM.FREEZE is True: set PRETRAINED True, "
                "or MODEL.SAM.FREEZE False to train the encoder from scratch"
            )
    elif cfg.MODEL.SAM.FREEZE and not cfg.MODEL.SAM.WEIGHTS:
        raise UserError(
            "MODEL.SAM.WEIGHTS is empty and MODEL.SAM.FREEZE is True: name SAM's weights, or set "
            "MODEL.SAM.FREEZE False to train the encoder from scratch"
        )


def _load_initial_stage1(model: PromptLearner, node: CfgNode) -> None:
    if node.PRETRAINED:
        backbone = model.proposal_generator.backbone
        load_imagenet_weights(backbone, node.BACKBONE, node.PRETRAINED_FILE)


def _load_initial_stage2(model: CFRSAM, cfg: CfgNode, keys: set[str]) -> None:
    """Read the files of some keys, as far as these name any."""
    files = {
        "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS": cfg.MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS,
        "MODEL.SAM.WEIGHTS": cfg.MODEL.SAM.WEIGHTS,
    }
    files = {key: path for key, path in files.items() if key in keys and path}
    if path := files.get("MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS"):
        load_weights(model.proposal_generator, path, prefix="proposal_generator.")
    if path := files.get("MODEL.SAM.WEIGHTS"):
        load_sam_weights(model.backbone, model.mask_head, path)
    key = "MODEL.TIMM.PRETRAINED_FILE"
    if isinstance(model.backbone, TimmEncoder) and cfg.MODEL.TIMM.PRETRAINED and key in keys:
        _load_vit(model.backbone.network, cfg.MODEL.TIMM)
        files[key] = cfg.MODEL.TIMM.PRETRAINED_FILE
    names = [*model.state_dict()]
    model.parts_from_files = tuple(
        prefix
        for prefix, key in SOURCES.items()
        if key in files and any(name.startswith(prefix) for name in names)
    )


def _load_vit(network: nn.Module, node: CfgNode) -> None:
    options = vit_options(node.OPTIONS)
    weights = pretrained_weights(node.NAME, node.PRETRAINED_FILE, "MODEL.TIMM", **options)
    network.load_state_dict({name: weights[name] for name in network.state_dict()})


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
