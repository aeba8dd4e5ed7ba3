"""Frozen parts of stage 2: they come from files of their own, so checkpoints can leave them out.

A checkpoint that does says so: "left_out" has the prefixes of these parts' keys, each with a
checksum of the weights (or None, where any will do).
"""

import zlib

import torch
from torch import nn

# The parts by their prefix in a model's keys, and the config key that names each one's file.
SOURCES = {
    "proposal_generator.": "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS",
    "backbone.vit.": "MODEL.SAM.WEIGHTS",
    "backbone.network.": "MODEL.TIMM.PRETRAINED_FILE",
    "mask_head.prompt_encoder.": "MODEL.SAM.WEIGHTS",
}


def frozen_parts(model: nn.Module) -> dict[str, int]:
    """The parts of a model that were filled from files and do not train, with their checksums."""
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
