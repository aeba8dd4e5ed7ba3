#!/usr/bin/env python
"""Many slides by several workers: how much faster, and whether kills change a byte.

    python benchmarks/fleet.py [--slides 8] [--side 1440] [--kills 20] [--ray] [--json]

Slides are made from synthetic tissue, and a tiny model that nobody trained, whose masks are discs,
segments them on the CPU, each worker with one thread. Times are from when all workers have loaded
their model to the last slide: on a machine that does nothing else, with as many cores as workers.
"""

import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import torch
from detectron2.modeling import build_model
from known_prompts import find_discs
from processes import run_apart
from tabulate import tabulate

from cfrsam_d2.apps.slide_fleet import SlideWorker, SlideWorkerPlan
from cfrsam_d2.apps.slides import SlideOptions
from cfrsam_d2.command_line import build_parser
from cfrsam_d2.data.synthetic.rendering import render
from cfrsam_d2.data.synthetic.scene import random_scene
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.slides.fleet.local import LocalCrew
from cfrsam_d2.slides.fleet.on_ray import LOCAL, RayCrew
from cfrsam_d2.slides.fleet.schedule import run_fleet
from cfrsam_d2.slides.fleet.table import Row
from cfrsam_d2.slides.fleet.tasks import Crew, Outcome, Task
from cfrsam_d2.slides.slide_list import ListedSlide
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_svs

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "train_demo" / "cfrsam.yaml"
KEYS = [
    *("MODEL.DEVICE", "cpu", "INPUT.MAGNIFICATION", "40", "SLIDE.READERS", "1"),
    *("MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
    *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "48.0"),
    *("MODEL.SAM.EMBED_DIM", "48", "MODEL.SAM.ADAPTER_RANK", "8"),
    *("MODEL.MASK_HEAD.FINAL_MASK", "initial"),
]
KILLS_A_RUN = 2  # a task may be lost that often


@dataclass(frozen=True)
class DiscPlan(SlideWorkerPlan):
    """Workers whose masks are discs."""

    def build(self, *, alone: bool) -> SlideWorker:
        worker = SlideWorkerPlan.build(self, alone=alone)
        model: Any = worker.predictor.model
        find_discs(model.mask_head)
        return worker


class _Begun:
    """A crew that notes when all of its workers have started, and gives nothing before."""

    def __init__(self, crew: Crew) -> None:
        self.size, self.at, self._crew, self._started = crew.size, 0.0, crew, 0

    @property
    def idle(self) -> bool:
        return self._started >= self.size and self._crew.idle

    def give(self, task: Task) -> None:
        self._crew.give(task)

    def wait(self) -> tuple[Task | None, Outcome]:
        task, outcome = self._crew.wait()
        self._started += outcome.status == "ready"
        if self._started == self.size and not self.at:
            self.at = time.perf_counter()
        return task, outcome


def make_slides(folder: Path, count: int, side: int) -> list[Path]:
    """Slides of side×side px that are all tissue, each another."""
    paths = [folder / f"{number}.svs" for number in range(count)]
    for number, path in enumerate(paths):
        rng = np.random.default_rng(number)
        tissue = render(rng, random_scene(rng, "gland", 256, empty=False))
        write_svs(path, SyntheticPlane(tissue, (side, side), glass=None))
    return paths


def make_weights(path: Path) -> None:
    """Weights that find points: the class of the background is unlikely."""
    torch.manual_seed(0)
    model: Any = build_model(load_config(str(CONFIG), KEYS))
    torch.nn.init.constant_(model.proposal_generator.classification_head[-1].bias[-1:], -2)
    torch.save({"model": model.state_dict()}, path)


def prepare(folder: Path, count: int, side: int) -> list[Path]:
    make_weights(folder / "weights.pth")
    return make_slides(folder, count, side)


def run(crew: AbstractContextManager[Any], slides: Sequence[Path], output: Path) -> float:
    """Seconds that a crew takes for slides after its start."""
    rows: list[Row] = []
    folders = {ListedSlide(slide): output / slide.stem for slide in slides}
    with crew as started:
        begun = _Begun(started)
        run_fleet(begun, folders, rows.append)
        seconds = time.perf_counter() - begun.at
    if bad := [row for row in rows if row.status not in ("done", "empty")]:
        raise AssertionError(f"{bad[0].slide}: {bad[0].reason}")
    return seconds


def digests(output: Path) -> dict[str, str]:
    files = output.glob("*/nuclei.parquet")
    return {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run_with_kills(
    plan: SlideWorkerPlan, slides: Sequence[Path], output: Path, moments: Sequence[float]
) -> int:
    """Run two workers, and kill one that works at each of some moments; how many were killed."""
    crew, ended, killed = LocalCrew(plan, 2), threading.Event(), 0

    def kill() -> None:
        nonlocal killed
        for moment in moments:
            if ended.wait(moment):
                return
            for pid in random.sample(pids := crew.pids, min(len(pids), 1)):
                os.kill(pid, signal.SIGKILL)
                killed += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run(crew, slides, output)
    finally:
        ended.set()
        killer.join()
    return killed


def same_after_kills(
    plan: SlideWorkerPlan, slides: Sequence[Path], folder: Path, kills: int, seconds: float
) -> dict[str, Any]:
    """Whether runs in which workers are killed give the bytes of one that nobody disturbed."""
    undisturbed, same, done, number = digests(folder / "1"), True, 0, 0
    draw = random.Random(0)
    while done < kills:
        some = slides[: 1 + 2 * (number % 2)]  # one is shared, three are not
        most = seconds * len(some) / len(slides) / KILLS_A_RUN
        moments = [draw.uniform(0, most) for _ in range(KILLS_A_RUN)]
        done += run_with_kills(plan, some, folder / f"killed{number}", moments)
        found = digests(folder / f"killed{number}")
        same &= found == {slide.stem: undisturbed[slide.stem] for slide in some}
        number += 1
        print(f"{done} of {kills} kills", file=sys.stderr, flush=True)
    return {"kills": done, "same_bytes_after_kills": same}


def measure(count: int, side: int, kills: int, on_ray: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        slides = run_apart(prepare, folder, count, side)
        keys = [*KEYS, "MODEL.WEIGHTS", str(folder / "weights.pth")]
        plan = DiscPlan(str(CONFIG), keys, SlideOptions(whole=True))
        result: dict[str, Any] = {"load_before": os.getloadavg()[0]}
        seconds = {}
        for workers in (1, 2):
            seconds[workers] = run(LocalCrew(plan, workers), slides, folder / str(workers))
            result[f"seconds_{workers}"] = seconds[workers]
        result["workers_ratio"] = seconds[1] / seconds[2]
        of_one = digests(folder / "1")
        same = [digests(folder / "2") == of_one]
        if on_ray:
            os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112 (its name)
            crew = RayCrew(plan, LOCAL, 2, cpu=True)
            result["seconds_ray"] = run(crew, slides, folder / "ray")
            result["ray_ratio"] = seconds[1] / result["seconds_ray"]
            same.append(digests(folder / "ray") == of_one)
        result["same_bytes_by_workers"] = all(same)
        # One slide by both workers: shared, so that kills meet all passes.
        run(LocalCrew(plan, 2), slides[:1], folder / "shared")
        result["same_bytes_shared"] = digests(folder / "shared")["0"] == of_one["0"]
        result |= same_after_kills(plan, slides, folder, kills, seconds[2])
        result["load_after"] = os.getloadavg()[0]
    return result


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--slides", type=int, default=8)
    parser.add_argument("--side", type=int, default=720, help="px, a multiple of 240")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ray", action="store_true", help="measure a local Ray, too")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    args = parser.parse_args(arguments)
    result = measure(args.slides, args.side, args.kills, args.ray)
    print(json.dumps(result, indent=2) if args.json else tabulate(result.items(), floatfmt=".4f"))


if __name__ == "__main__":
    main()
