"""What tests of the model share: random numbers that are the same in each, and a tiny config."""

import pytest
import torch
from detectron2.config import CfgNode, get_cfg

from cfrsam_d2.config import add_cfrsam_config


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def cfg() -> CfgNode:
    """Of a CFRSAM that runs in a test."""
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    learner, sam = cfg.MODEL.PROMPT_LEARNER, cfg.MODEL.SAM
    learner.DEPTHS, learner.DIMS, learner.HIDDEN_DIM = [1, 1, 1, 1], [8, 8, 16, 16], 16
    learner.PRETRAINED, learner.SUPPRESSION_RADIUS = False, 40.0
    sam.EMBED_DIM, sam.DEPTH, sam.NUM_HEADS, sam.ADAPTER_RANK = 48, 4, 3, 8
    sam.GLOBAL_ATTN_INDEXES = [1, 3]
    return cfg
