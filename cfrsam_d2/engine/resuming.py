"""A run goes on with the config that it began with; its checkpoints know it."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from ..checkpoint.files import read_checkpoint
from ..errors import UserError
from .config_file import leaves

logger = logging.getLogger(__name__)

# Where a run takes place, and files that were read when it began: these keys are not kept.
_PLACES = {
    "VERSION",
    "OUTPUT_DIR",
    "CUDNN_BENCHMARK",
    "DATALOADER.NUM_WORKERS",
    "MODEL.DEVICE",
    "MODEL.WEIGHTS",
    "MODEL.SAM.WEIGHTS",
    "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS",
    "MODEL.PROMPT_LEARNER.PRETRAINED",
    "MODEL.PROMPT_LEARNER.PRETRAINED_FILE",
    "MODEL.TIMM.PRETRAINED",
    "MODEL.TIMM.PRETRAINED_FILE",
}
# What may change on the way: how long a run is, what it writes and when, and its memory.
MAY_CHANGE = {
    "SOLVER.MAX_ITER",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
    "TEST.EARLY_STOPPING_PATIENCE",
    "DATASETS.TEST",
    "DATASETS.CUSTOM.TEST.JSON",
    "DATASETS.CUSTOM.TEST.IMAGES",
    "MODEL.CFRSAM.SAVE_FROZEN",
    "MODEL.MASK_HEAD.CHECKPOINT_ACTIVATIONS",
    "MODEL.MASK_HEAD.PROMPTS_PER_CHUNK",
    "MODEL.SLIDING_WINDOW.BATCH",
}

# Of whole slides, which no training reads.
_OF_SLIDES = {"SLIDE.TILE", "SLIDE.HALO", "SLIDE.READERS"}


def kept_keys(cfg: CfgNode) -> dict[str, Any]:
    """The keys of a training, with their values, that its checkpoints keep."""
    return {key: value for key, value in leaves(cfg) if key not in _PLACES}


def check_same_config(
    cfg: CfgNode, checkpoint: Path, may_change: Collection[str] = frozenset(MAY_CHANGE)
) -> None:
    """Compare a config with that of the run which it would continue.

    A key that only one of them has, because they are of different versions, is not compared.

    Args:
        cfg: of the training.
        checkpoint: from which it would go on.
        may_change: keys that need not be the same.

    Raises:
        UserError: they differ, or the checkpoint cannot be read.
    """
    before = read_checkpoint(str(checkpoint)).get("trainer", {}).get("config")
    if not isinstance(before, dict):
        logger.warning("%s does not say its config: see to it that it is this one", checkpoint)
        return
    now = kept_keys(cfg)
    if new := sorted(now.keys() - before.keys()):
        logger.warning(
            "%s is of an earlier version and lacks %d keys, which are not compared: %s",
            checkpoint,
            len(new),
            ", ".join(new),
        )
    keys = (now.keys() & before.keys()) - set(may_change) - _OF_SLIDES
    if differing := sorted(key for key in keys if before[key] != now[key]):
        what = "; ".join(f"{key} {before[key]!r}, not {now[key]!r}" for key in differing)
        raise UserError(
            f"{checkpoint.parent} has a training with {what}: resume it with its own keys, or "
            "begin another one in a new OUTPUT_DIR (from its weights, with MODEL.WEIGHTS)"
        )
