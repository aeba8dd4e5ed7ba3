"""What stays frozen in run 2 comes from files of its own, so its checkpoints can leave it out.

A checkpoint that does says so: "left_out" has the prefixes of these parts' keys, each with a
checksum of the weights (or None, where any will do).
"""

import zlib

import torch
from detectron2.config import CfgNode
from torch import nn

from .files import read_checkpoint

# The parts by their prefix in a model's keys, and the config key that names each one's file.
SOURCES = {
    "proposal_generator.": "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS",
    "backbone.vit.": "MODEL.SAM.WEIGHTS",
    "mask_head.prompt_encoder.": "MODEL.SAM.WEIGHTS",
}


def parts_from_files(cfg: CfgNode) -> tuple[str, ...]:
    """Prefixes of the parts that a model built from `cfg` has read from files of their own."""
    files = {
        "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS": cfg.MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS,
        "MODEL.SAM.WEIGHTS": cfg.MODEL.SAM.WEIGHTS,
    }
    return tuple(prefix for prefix, key in SOURCES.items() if files[key])


def frozen_parts(model: nn.Module) -> dict[str, int]:
    """The parts of a model that it has from files and does not train, with their checksums."""
    trained = [name for name, each in model.named_parameters() if each.requires_grad]
    return {
        prefix: checksum(model, prefix)
        for prefix in getattr(model, "parts_from_files", ())
        if not any(name.startswith(prefix) for name in trained)
    }


def checksum(model: nn.Module, prefix: str) -> int:
    """CRC-32 of the weights whose names begin with `prefix`."""
    value = 0
    for name, each in model.state_dict().items():
        if name.startswith(prefix):
            value = zlib.crc32(each.cpu().contiguous().view(-1).view(torch.uint8).numpy(), value)
    return value


def sources_of_left_out(path: str) -> set[str]:
    """The config keys whose files hold what the checkpoint in `path` leaves out.

    Raises:
        UserError: the file is missing or is no checkpoint.
    """
    return {SOURCES[prefix] for prefix in read_checkpoint(path).get("left_out", {})}
