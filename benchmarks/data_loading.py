#!/usr/bin/env python
"""Loading beside training: images per second of a loader process, and a training step.

    python benchmarks/data_loading.py [--images 200] [--runs 5] [--rate 8]

The mapper of each stage, with its published augmentation, on one core and synthetic images of
256×256 px; the share of each step of the augmentation; and a training step of ViT-B with the true
centroids of 25 nuclei as prompts, beside what it would take to find prompts in each step. At last,
how long a GPU would wait that takes --rate images a second from one loader process.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import albumentations as A

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from inference import NUCLEI, training_step_of
from known_prompts import random_image
from tabulate import tabulate
from timing import check_count, median_seconds

from cfrsam_d2.data.loader import build_train_loader
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
def timed_steps(augmentation: A.Compose, seconds: dict[str, float]) -> Iterator[None]:
    """Add up what each step of an augmentation takes, whenever it is applied."""
    originals: list[tuple[Any, type]] = [(step, type(step)) for step in augmentation.transforms]

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


def mapper_seconds(config: str, images: int) -> tuple[float, dict[str, float]]:
    """Seconds per image of the mapper, and of each step of its augmentation."""
    mapper, cfg = mapper_of(config)
    records = DatasetCatalog.get(DATASET)
    rng = np.random.default_rng(cfg.SEED)
    mapper(records[0], rng)
    assert mapper.augmentation is not None  # as it is only in evaluation
    of_steps: dict[str, float] = defaultdict(float)
    with timed_steps(mapper.augmentation, of_steps):
        start = time.perf_counter()
        for number in range(images):
            mapper(records[number % len(records)], rng)
        whole = time.perf_counter() - start
    return whole / images, {name: each / images for name, each in of_steps.items()}


def waiting_share(config: str, images: int, rate: float) -> float:
    """The share of its time that a training waits, which takes images at a rate.

    Args:
        config: whose loader has one process.
        images: about how many are taken.
        rate: per second, of batches that take as long as they have images.
    """
    overrides = ["INPUT.TRAIN_CROP_SIZE", str(SIDE), "DATALOADER.NUM_WORKERS", "1"]
    overrides += ["DATASETS.TRAIN", f"('{DATASET}',)", "MODEL.CFRSAM.TRAIN_PROMPTS", "centroid"]
    cfg = load_config(str(CONFIGS / config), overrides)
    batch = cfg.SOLVER.IMS_PER_BATCH
    batches = iter(build_train_loader(cfg))
    next(batches)  # until then the process starts
    start = time.perf_counter()
    waited = 0.0
    for _ in range(max(images // batch, 1)):
        time.sleep(batch / rate)
        begun = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - begun
    return waited / (time.perf_counter() - start)


def report(images: int, runs: int, rate: float) -> str:
    model, step = training_step_of("b", NUCLEI)
    step_s = median_seconds(step, runs)
    prompts_s = median_seconds(lambda: model.find_prompts([random_image()]), runs)
    texts = []
    for stage, config in enumerate(("prompt_learner.yaml", "cfrsam_b.yaml"), start=1):
        whole, of_steps = mapper_seconds(config, images)
        rest = ("all but the augmentation", whole - sum(of_steps.values()))
        slowest_first = sorted(of_steps.items(), key=lambda each: each[1], reverse=True)
        rows = [
            (name, 1000 * seconds, f"{100 * seconds / whole:.0f} %")
            for name, seconds in [*slowest_first, rest]
        ]
        waiting = waiting_share(config, images, rate)
        texts.append(
            f"stage {stage}: {1 / whole:.0f} images per second on one core; a GPU of {rate:g} a "
            f"second waits for {100 * waiting:.1f} % of its time\n"
            + tabulate(rows, ("", "ms per image", "share"), floatfmt=".2f")
        )
    texts.append(
        f"a training step of stage 2, ViT-B, one image: {step_s:.2f} s on "
        f"{torch.get_num_threads()} threads, {step_s / whole:.0f} times its loading;\n"
        f"the learner's prompts on its image: {prompts_s:.2f} s, "
        f"{100 * prompts_s / step_s:.0f} % of the step, which finding them once saves"
    )
    return "\n\n".join(texts)


@exits_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200, help="that each mapper reads")
    parser.add_argument("--runs", type=int, default=5, help="of the training step")
    parser.add_argument("--rate", type=float, default=8.0, help="images per second of a GPU")
    args = parser.parse_args()
    check_count("--images", args.images)
    check_count("--runs", args.runs)
    if not 0 < args.rate < float("inf"):
        raise UserError(f"--rate is {args.rate}: give images per second, above 0")
    print(report(args.images, args.runs, args.rate))


if __name__ == "__main__":
    main()
