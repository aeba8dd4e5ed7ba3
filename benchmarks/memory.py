#!/usr/bin/env python
"""How the memory of prediction grows with the nuclei and with the area of an image.

    python benchmarks/memory.py [--json]

Peak memory and seconds of both stages, on images of 256 to 4,096 px with 25, 400 and 4,000 nuclei
where that many fit: the architecture of the training demo, random weights and known prompts, nuclei
of 20 px (`known_prompts.py`). Each case runs once, in a process of its own. A fit to the images of
several windows tells what a process and a batch of windows take, and what 1,000 nuclei and a
million px add. About ten minutes on two cores.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import torch
from known_prompts import give_prompts, random_image, random_model
from processes import peak_memory, run_apart
from tabulate import tabulate

from cfrsam_d2.complexity import IMAGE_SIZE
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import exits_on_user_error

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "train_demo" / "cfrsam.yaml"
NUCLEI = (25, 400, 4000)
SIZES = (256, 1024, 2048, 4096)  # px
ROOM = 12  # px from nucleus to nucleus, at least: they may touch and overlap somewhat


@dataclass(frozen=True)
class Measurement:
    """
    Attributes:
        size: of the image, px.
        nuclei: prompts that it has.
        found: nuclei that are left of them.
        seconds: of predicting it.
        peak_memory: of the process, bytes.
    """

    size: int
    nuclei: int
    found: int
    seconds: float
    peak_memory: int


@dataclass(frozen=True)
class Growth:
    """The best fit to peaks, in MB.

    Attributes:
        process: what a process and a batch of windows take.
        per_1000_nuclei, per_million_px: what is added.
        deviation: the largest difference between a peak and its fit.
    """

    process: float
    per_1000_nuclei: float
    per_million_px: float
    deviation: float


@torch.inference_mode()
def measure(size: int, nuclei: int) -> Measurement:
    model = random_model(load_config(str(CONFIG), ["MODEL.DEVICE", "cpu"]))
    give_prompts(model, nuclei, size)
    image = random_image(size)
    start = time.perf_counter()
    (output,) = model([{"image": image}])
    seconds = time.perf_counter() - start
    return Measurement(size, nuclei, len(output["instances"]), seconds, peak_memory())


def growth(measured: Sequence[Measurement]) -> Growth:
    """Of images of several windows, in several sizes and with several numbers of nuclei."""
    measured = [each for each in measured if each.size > IMAGE_SIZE]
    quantities = np.array([(1, each.nuclei / 1e3, each.size**2 / 1e6) for each in measured])
    peaks = np.array([each.peak_memory / 1e6 for each in measured])
    fit = np.linalg.lstsq(quantities, peaks)[0]
    process, of_nuclei, of_area = fit.tolist()
    return Growth(process, of_nuclei, of_area, float(np.abs(quantities @ fit - peaks).max()))


def as_text(measured: Sequence[Measurement]) -> str:
    rows = [
        (f"{each.size:,}", each.nuclei, each.found, each.seconds, each.peak_memory / 1e6)
        for each in measured
    ]
    headers = ("side, px", "nuclei", "found", "seconds", "peak, MB")
    fit = growth(measured)
    return (
        f"{tabulate(rows, headers, floatfmt=('', '', '', '.1f', '.0f'))}\n"
        f"of several windows: {fit.process:.0f} MB, {fit.per_1000_nuclei:.0f} MB per 1,000 nuclei "
        f"and {fit.per_million_px:.0f} MB per million px, ±{fit.deviation:.0f} MB"
    )


@exits_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    args = parser.parse_args()
    measured = []
    for size in SIZES:
        for nuclei in NUCLEI:
            if nuclei * ROOM**2 <= size**2:
                print(f"measuring {nuclei} nuclei, {size} px", file=sys.stderr, flush=True)
                measured.append(run_apart(measure, size, nuclei))
    if args.json:
        results = {"cases": [asdict(each) for each in measured], "growth": asdict(growth(measured))}
        print(json.dumps(results, indent=2))
    else:
        print(as_text(measured))


if __name__ == "__main__":
    main()
