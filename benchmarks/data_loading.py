#!/usr/bin/env python
"""Whether loading feeds training: images a second of a loader process beside a training step.

    python benchmarks/data_loading.py [--images 200] [--runs 5]

The mapper of each run, with its published augmentation, on one core and synthetic images of 256×256
px; what each step of the augmentation takes of it; and a training step of ViT-B with the true
centroids of 25 nuclei as prompts.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import torch
from inference import NUCLEI, training_step_of
from tabulate import tabulate
from timing import median_seconds

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from cfrsam_d2.data.mapper import NucleusMapper
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError, exits_on_user_error

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DATASET = "synthetic_train"
SIDE = 256  # px


def mapper_of(config: str) -> tuple[NucleusMapper, CfgNode]:
    """The mapper of a published config's training, on crops of 256 px."""
    cfg = load_config(str(CONFIGS / config), ["INPUT.TRAIN_CROP_SIZE", str(SIDE)])
    return NucleusMapper(cfg, is_train=True), cfg


@contextmanager
def timed_steps(augmentation: A.Compose, seconds: Counter[str]) -> Iterator[None]:
    """Add up what each step of an augmentation takes, whenever it is applied."""
    originals = [(step, type(step)) for step in augmentation.transforms]

    def timed(kind: type) -> type:
        def call(self, *args: Any, **data: Any) -> Any:
            start = time.perf_counter()
            try:
                return kind.__call__(self, *args, **data)
            finally:
                seconds[kind.__name__] += time.perf_counter() - start

        return type(kind.__name__, (kind,), {"__call__": call})

    for step, kind in originals:
        step.__class__ = timed(kind)
    try:
        yield
    finally:
        for step, kind in originals:
            step.__class__ = kind
