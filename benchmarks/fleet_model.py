#!/usr/bin/env python
"""A model of a fleet: hours, utilisation and what saturates first.

    python benchmarks/fleet_model.py [--slides 10000] [--gpus 64] [--json]

An event simulation of workers, one a GPU, that take slides, largest first, read them over one
network and write to one disk, and fail at times. All it assumes is in `Assumptions`. No GPU was
measured: the work of the passes is counted, and the speed at which a GPU does it is assumed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np
from tabulate import tabulate

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error

SWEEP = (8, 16, 32, 64, 128, 256, 512)  # GPUs
_DONE = 1e-9  # of a phase's work


def _given(value: float, why: str) -> Any:
    return field(default=value, metadata={"why": why})


@dataclass(frozen=True)
class Assumptions:
    """What the model knows of slides and machines, each with where it is from."""

    median_mm2: float = _given(120, "mm² of tissue of a slide: assumed, resections")
    spread: float = _given(0.8, "deviation of its logarithm: assumed")
    most_mm2: float = _given(600, "mm², more does not fit on a slide")
    nuclei: float = _given(4000, "nuclei a mm²: assumed")
    variation: float = _given(0.3, "deviation of the logarithm of a slide's work a mm²: assumed")
    points_work: float = _given(5.9, "10¹² multiply-adds a mm²: counted, B, halo 128")
    masks_work: float = _given(38.8, "10¹² multiply-adds a mm²: counted, B, 434 windows")
    gpu_speed: float = _given(25, "10¹² multiply-adds a s: assumed, 16 % of an A100's bfloat16")
    merge_ms: float = _given(0.09, "ms of a core a nucleus in the third pass: measured")
    files_ms: float = _given(0.25, "ms of a core a nucleus for all files: assumed")
    start_seconds: float = _given(10, "s of a slide: opening, tissue, overview: assumed")
    decode_speed: float = _given(38, "Mpx/s a reader: measured, OpenSlide")
    readers: float = _given(4, "readers a GPU, each with a core: assumed, SLIDE.READERS")
    pixels: float = _given(52, "Mpx read a mm²: 16 at 0.25 µm, × 1.44 with halo, × 1.78 by windows")
    read_mb: float = _given(0.15, "MB a Mpx in JPEG: assumed")
    written_mb: float = _given(4, "MB a mm²: 4,000 nuclei with parts, labels and files: assumed")
    network: float = _given(1250, "MB/s of the file server that has the slides: assumed, 10 Gbit/s")
    disk: float = _given(500, "MB/s that it writes: assumed")
    fails_after: float = _given(500, "hours of a GPU between failures: assumed")
    chunk_mm2: float = _given(0.92, "mm² lost with a worker, at most: by design")
    restart_seconds: float = _given(60, "s until its task goes on elsewhere: assumed")


class Phase(IntEnum):
    """Of a worker."""

    IDLE = 0
    START = 1  # of a slide
    PASSES = 2  # points and masks, on the GPU
    FILES = 3  # third pass and files, on a core


@dataclass(frozen=True)
class Fleet:
    """What came of a run."""

    hours: float
    gpu: float  # shares of the time in which each is busy
    readers: float
    network: float
    disk: float
    failures: int
    tail_hours: float  # at the end, when some workers have no slide any more


def slide_sizes(count: int, model: Assumptions, rng: np.random.Generator) -> list[float]:
    """mm² of tissue, largest first."""
    sizes = rng.lognormal(np.log(model.median_mm2), model.spread, count)
    return sorted(sizes.clip(1, model.most_mm2).tolist(), reverse=True)


def demands(model: Assumptions) -> dict[str, float]:
    """What a mm² takes: seconds of a GPU, of its readers and of a core; MB of network and disk."""
    return {
        "gpu": (model.points_work + model.masks_work) / model.gpu_speed,
        "readers": model.pixels / model.decode_speed / model.readers,
        "core": model.nuclei * (model.merge_ms + model.files_ms) / 1000,
        "network": model.pixels * model.read_mb,
        "disk": model.written_mb,
    }


class Simulation:
    """Workers of which each does a slide; those that read share the network, others the disk.

    Between two events, ends of phases and failures, all rates stand.
    """

    def __init__(self, sizes: Sequence[float], gpus: int, model: Assumptions) -> None:
        self._sizes, self._gpus, self._model = list(sizes[::-1]), gpus, model
        self._demand = demands(model)
        self._rng = np.random.default_rng(1)
        self._phase = np.full(gpus, Phase.IDLE)
        self._left = np.zeros(gpus)  # s of START, mm² of the others
        self._size = np.zeros(gpus)  # mm² of the slide
        self._work = np.ones(gpus)  # of the slide a mm², 1 on average
        self._now = self._tail = 0.0
        self._busy: dict[str, float] = dict.fromkeys(("gpu", "readers", "network", "disk"), 0.0)
        self._failures = 0

    def run(self) -> Fleet:
        """Until the last slide is done."""
        self._give_slides()
        while self._phase.any():
            self._step()
            self._give_slides()
        shares = {name: seconds / self._now for name, seconds in self._busy.items()}
        hours, tail = self._now / 3600, self._tail / 3600
        return Fleet(hours, **shares, failures=self._failures, tail_hours=tail)

    def _give_slides(self) -> None:
        for worker in np.flatnonzero(self._phase == Phase.IDLE):
            if not self._sizes:
                return
            self._size[worker] = self._sizes.pop()
            self._work[worker] = self._rng.lognormal(0, self._model.variation)
            self._phase[worker], self._left[worker] = Phase.START, self._model.start_seconds

    def _step(self) -> None:
        """To the next event."""
        working, rate = self._phase > Phase.IDLE, self._rates()
        step = float((self._left[working] / rate[working]).min())
        mean = self._model.fails_after * 3600 / working.sum()
        failure = float(self._rng.exponential(mean))
        self._pass_time(min(step, failure), rate)
        if failure < step:
            self._fail(self._rng.choice(np.flatnonzero(working)))
        ended = working & (self._left <= _DONE)
        self._phase[ended] = (self._phase[ended] + 1) % len(Phase)
        self._left[ended] = self._size[ended]

    def _rates(self) -> np.ndarray:
        """What each worker does in a second: of START seconds, of the others mm²."""
        demand, rate = self._demand, np.ones(self._gpus)
        for phase, own, together in (
            (Phase.PASSES, max(demand["gpu"], demand["readers"]), "network"),
            (Phase.FILES, demand["core"], "disk"),
        ):
            those = self._phase == phase
            limit = getattr(self._model, together) / demand[together] / max(those.sum(), 1)
            rate[those] = np.minimum(1 / (own * self._work[those]), limit)
        return rate

    def _pass_time(self, seconds: float, rate: np.ndarray) -> None:
        working = self._phase > Phase.IDLE
        self._left[working] -= rate[working] * seconds
        for name, phase, capacity in (
            ("gpu", Phase.PASSES, self._gpus),
            ("readers", Phase.PASSES, self._gpus),
            ("network", Phase.PASSES, self._model.network),
            ("disk", Phase.FILES, self._model.disk),
        ):
            those = self._phase == phase
            work = self._work[those] if name == "gpu" else 1
            done = (rate[those] * work).sum() * seconds
            self._busy[name] += done * self._demand[name] / capacity
        self._now += seconds
        self._tail += 0 if working.all() else seconds

    def _fail(self, worker: int) -> None:
        """Its chunk is done again, after a pause in which it does nothing."""
        self._failures += 1
        own = max(self._demand["gpu"], self._demand["readers"])
        again = self._model.restart_seconds / own + self._model.chunk_mm2
        self._left[worker] += again if self._phase[worker] == Phase.PASSES else 0


def saturated_from(model: Assumptions) -> dict[str, float]:
    """The number of GPUs from which on network or disk say how fast a fleet is."""
    demand = demands(model)
    passes = max(demand["gpu"], demand["readers"])
    seconds = passes + demand["core"]  # that a worker takes for a mm², most of the time
    return {name: getattr(model, name) / demand[name] * seconds for name in ("network", "disk")}


def measure(slides: int, gpus: int, model: Assumptions) -> dict[str, Any]:
    sizes = slide_sizes(slides, model, np.random.default_rng(0))
    fleets = {
        count: asdict(Simulation(sizes, count, model).run()) for count in sorted({*SWEEP, gpus})
    }
    return {
        "assumptions": asdict(model),
        "mm2": float(sum(sizes)),
        "demands": demands(model),
        "fleets": fleets,
        "saturated_from": saturated_from(model),
    }


def as_text(result: dict[str, Any], model: Assumptions) -> str:
    assumed = [
        (each.name, getattr(model, each.name), each.metadata["why"]) for each in fields(model)
    ]
    runs = [(count, *run.values()) for count, run in result["fleets"].items()]
    names = ["GPUs", *(each.name for each in fields(Fleet))]
    limits = ", ".join(
        f"{name} from {count:.0f} GPUs" for name, count in result["saturated_from"].items()
    )
    return "\n\n".join(
        (
            tabulate(assumed, ["assumption", "value", "of"]),
            "a mm² takes: "
            + ", ".join(f"{name} {value:.2f}" for name, value in result["demands"].items()),
            tabulate(runs, names, floatfmt=".3g"),
            f"{result['mm2']:.0f} mm² of tissue; saturated: {limits}",
        )
    )


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--slides", type=int, default=10000)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    args = parser.parse_args(arguments)
    model = Assumptions()
    result = measure(args.slides, args.gpus, model)
    print(json.dumps(result, indent=2) if args.json else as_text(result, model))


if __name__ == "__main__":
    main()
