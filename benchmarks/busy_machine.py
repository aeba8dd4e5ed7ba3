#!/usr/bin/env python
"""What another busy process costs a training, by how OpenMP's threads wait for each other.

    python benchmarks/busy_machine.py [--json]

Iterations of both stages of the training demo, data loading included, alone and beside a process
that keeps one core busy: as OpenMP waits by default, spinning, and as here, asleep
(`cfrsam_d2/threads.py`). Each case runs in a process of its own. Let nothing else run beside it.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from processes import busy_processes, run_apart
from tabulate import tabulate

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.engine import NucleusTrainer, load_config
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.threads import WAITING, WORDS

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "train_demo"
STAGES = ("prompt_learner", "cfrsam")
# How long GNU's OpenMP spins where nobody says how it waits.
SETTINGS = {"default": {"GOMP_SPINCOUNT": "300000"}, "here": WAITING}
ITERATIONS, WARM_UP, ROUNDS = 20, 3, 3
OVERRIDES = [
    *("MODEL.DEVICE", "cpu", "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS", ""),
    *("MODEL.CFRSAM.TRAIN_PROMPTS", "centroid"),  # those of an untrained learner are too many
]


def seconds_per_iteration(stage: str, iterations: int, overrides: Sequence[str] = ()) -> float:
    """The mean over some iterations of a training that begins, after the first ones."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*OVERRIDES, "OUTPUT_DIR", folder, *overrides]
        trainer = NucleusTrainer(load_config(str(CONFIGS / f"{stage}.yaml"), overrides))
        loader = iter(trainer.build_train_loader(trainer.cfg))
        for _ in range(WARM_UP):
            train_step(trainer, next(loader))
        start = time.perf_counter()
        for _ in range(iterations):
            train_step(trainer, next(loader))
        return (time.perf_counter() - start) / iterations


def train_step(trainer: NucleusTrainer, batch: list[dict[str, Any]]) -> None:
    losses = torch.stack([*trainer.model(batch).values()])
    trainer.optimizer.zero_grad()
    losses.sum().backward()
    trainer.optimizer.step()


@contextmanager
def threads_wait(setting: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start in the block wait in one way alone."""
    before = dict(os.environ)
    try:
        for word in WORDS:
            os.environ.pop(word, None)
        os.environ.update(setting)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(stage: str) -> dict[str, float]:
    """Seconds per iteration of a stage by setting, alone and "beside"; and their ratios.

    Medians of rounds in which the cases take turns: machines are faster now and slower then.
    """
    cases = [(name, beside) for beside in (0, 1) for name in SETTINGS]
    times: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for name, beside in cases:
            case = f"{name}, beside" if beside else name
            print(f"measuring {stage}, {case}, round {number + 1}", file=sys.stderr, flush=True)
            with threads_wait(SETTINGS[name]), busy_processes(beside):
                taken = run_apart(seconds_per_iteration, stage, ITERATIONS)
            times.setdefault(case, []).append(taken)
    seconds = {case: median(each) for case, each in times.items()}
    return {
        **seconds,
        "default, ratio": seconds["default, beside"] / seconds["default"],
        "here, ratio": seconds["here, beside"] / seconds["here"],
        "alone, here over default": seconds["here"] / seconds["default"],
    }


def as_text(measured: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [f"{stage}, {name}", *(each[f"{name}{column}"] for column in ("", ", beside", ", ratio"))]
        for stage, each in measured.items()
        for name in SETTINGS
    ]
    table = tabulate(rows, ["", "alone, s", "beside, s", "ratio"], floatfmt=".3f")
    alone = ", ".join(f"{each['alone, here over default']:.3f}" for each in measured.values())
    return f"{table}\nalone, here over default: {alone}"


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    args = parser.parse_args(arguments)
    measured = {stage: measure(stage) for stage in STAGES}
    print(json.dumps(measured, indent=2) if args.json else as_text(measured))


if __name__ == "__main__":
    main()
