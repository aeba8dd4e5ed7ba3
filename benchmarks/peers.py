#!/usr/bin/env python
"""Seconds per mm² of slide, beside CellViT and HoVer-Net from their own packages.

    python benchmarks/peers.py --make-environment DIR [--models b h] [--runs 5] [--json]
    python benchmarks/peers.py --peers-python DIR/bin/python …

The first makes an environment with the peers' packages in DIR; the second takes one that is there.
Peers compute in a process of it, by turns with this one and never at once: the same pixels at
0.25 µm/px, as many threads, medians, in float32. Of the peers it is the network alone; of this
project both stages and all post-processing, with 25 nuclei on each 256×256 px. Weights are random
and prompts known (`known_prompts.py`). What tiles, windows and stage 1's halo compute twice counts
once. A ratio says how many times faster this project is: its best window beside the peer's best
tile.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import torch
from known_prompts import give_prompts, known_proposals, random_image, random_model
from tabulate import tabulate
from timing import check_count, has_bfloat16, seconds
from torch import Tensor

from cfrsam_d2.complexity import IMAGE_SIZE
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError, exits_on_user_error
from cfrsam_d2.modeling.precision import FLOAT32, Precision

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"
SIDE = 1024  # px of the image that all segment
MOST_IN_A_ROW = 4  # tiles: two batches of the peers' 8
MPP = 0.25  # µm per px
NUCLEI = 25  # on IMAGE_SIZE×IMAGE_SIZE px
OVERLAP = 64  # px, of tiles and of windows
WINDOWS = (256, 672)  # px, MODEL.SLIDING_WINDOW.SIZE
PRECISIONS = {"": FLOAT32} | (
    {", bfloat16": Precision(mixed_in_inference=True)} if has_bfloat16() else {}
)


@dataclass(frozen=True)
class Tiling:
    """Squares that a network is given one beside the other.

    Attributes:
        size: px.
        stride: px from one to the next; so much of it counts.
    """

    size: int
    stride: int

    def count(self, side: int = SIDE) -> int:
        """How many are computed in a row: those that fit in `side` px, at most four."""
        return min((side - self.size) // self.stride + 1, MOST_IN_A_ROW)

    def extent(self, side: int = SIDE) -> int:
        """Px that these cover of the row."""
        return self.size + (self.count(side) - 1) * self.stride

    def counted(self, side: int = SIDE) -> int:
        """Px of the row that count, once each."""
        return self.count(side) * self.stride

    def mm2(self, side: int = SIDE) -> float:
        """The area of a slide for which those in a square of `side` px stand."""
        return (self.counted(side) * MPP / 1000) ** 2


def overlapping(size: int) -> Tiling:
    return Tiling(size, size - OVERLAP)


# Whom a model is compared with. CellViT's tiles are of 1,024 px that overlap by 64; HoVer-Net makes
# 164 px of 256.
PEERS = {
    "b": {
        "cellvit_256": [overlapping(256), overlapping(1024)],
        "cellvit_sam_b": [overlapping(1024)],
        "hovernet": [Tiling(256, 164)],
    },
    "h": {"cellvit_sam_h": [overlapping(1024)]},
}


class Work(NamedTuple):
    """
    Attributes:
        seconds: does it, and says how long it took.
        mm2: of slide.
    """

    seconds: Callable[[], float]
    mm2: float


class PeersProcess:
    """The process of the peers' environment; it computes only while this one waits for it."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        """
        Raises:
            UserError: it cannot build the networks.
        """
        self._stdin, self._stdout = stdin, stdout
        self.versions: dict[str, str] = json.loads(self._answer())

    def seconds(self, network: str, tiling: Tiling) -> float:
        """That a network takes for the tiles of the image.

        Raises:
            UserError: the process has ended.
        """
        given = (network, tiling.size, tiling.stride, tiling.count())
        print("run", *given, file=self._stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        if not (line := self._stdout.readline()):
            raise UserError(
                "the peers' process has ended, see above: give the Python of an environment that "
                "--make-environment made as --peers-python"
            )
        return line


@contextmanager
def peers_process(command: Sequence[str]) -> Iterator[PeersProcess]:
    """
    Args:
        command: starts `peers_models.py`.

    Raises:
        UserError: it does not start.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise UserError(f"--peers-python is {command[0]}: {error.strerror}") from None
    with process:
        assert process.stdin
        assert process.stdout
        yield PeersProcess(process.stdin, process.stdout)


class OwnModel:
    """A model of this project that works as on slides: stage 1 on tiles with halo, then windows."""

    def __init__(self, config: str, overrides: Sequence[str] = ()) -> None:
        cfg = load_config(config, ["MODEL.DEVICE", "cpu", *overrides])
        self.model = random_model(cfg)
        give_prompts(self.model, 1)
        self.learner_tiling = Tiling(cfg.SLIDE.TILE + 2 * cfg.SLIDE.HALO, cfg.SLIDE.TILE)

    def learner(self, precision: Precision) -> Work:
        """Stage 1 on one tile."""
        side = self.learner_tiling.size
        tile = random_image(side)
        work = self._timed(precision, lambda: self.model.propose([self.model.normalize(tile)]))
        return Work(work, self.learner_tiling.mm2(side))

    def masks(self, image: Tensor, tiling: Tiling, precision: Precision) -> Work:
        """Stage 2 and what comes after it on the windows of an image (3, side, side)."""
        model, extent = self.model, tiling.extent(image.shape[1])
        # Each nucleus is decoded in one window: so there are as many as on the area that counts.
        counted = tiling.counted(image.shape[1])
        proposals = [known_proposals(round(NUCLEI * (counted / IMAGE_SIZE) ** 2), extent)]
        overlap = tiling.size - tiling.stride
        # One at a time, as on slides.
        window = replace(model.sliding_window, size=tiling.size, overlap=overlap, batch=1)

        def find_nuclei() -> None:
            model.sliding_window = window
            images = [model.normalize(image[:, :extent, :extent])]
            model.find_nuclei(proposals, model.encode_windows(images, proposals))

        return Work(self._timed(precision, find_nuclei), tiling.mm2(image.shape[1]))

    def _timed(self, precision: Precision, work: Callable[[], object]) -> Callable[[], float]:
        @torch.inference_mode()
        def timed() -> float:
            with precision.context(self.model.device, training=False):
                return seconds(work)

        return timed


def own_works(models: Sequence[str], windows: Sequence[int], image: Tensor) -> dict[str, Work]:
    works: dict[str, Work] = {}
    for name in models:
        own = OwnModel(str(CONFIGS / f"cfrsam_{name}.yaml"))
        for suffix, precision in PRECISIONS.items():
            works.setdefault(f"stage 1{suffix}", own.learner(precision))  # of all the same
            for size in windows:
                work = own.masks(image, overlapping(size), precision)
                works[f"{name}, stage 2, {size} px{suffix}"] = work
    return works


def peer_works(models: Sequence[str], peers: PeersProcess) -> dict[str, Work]:
    return {
        f"{peer}, {tiling.size} px": Work(
            lambda peer=peer, tiling=tiling: peers.seconds(peer, tiling), tiling.mm2()
        )
        for model in models
        for peer, tilings in PEERS[model].items()
        for tiling in tilings
    }


def seconds_per_mm2(works: Mapping[str, Work], runs: int) -> dict[str, float]:
    """Medians of rounds in which the works take turns, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(runs + 1):
        for name, work in works.items():
            times[name].append(work.seconds())
            print(f"round {number}: {name}, {times[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return {name: median(times[name][1:]) / work.mm2 for name, work in works.items()}


def fastest(measured: Mapping[str, float], sizes: Mapping[int, str]) -> tuple[int, float]:
    """The size whose work takes least, and its seconds.

    Args:
        measured: seconds by work.
        sizes: the works by size in px.
    """
    return min(((size, measured[name]) for size, name in sizes.items()), key=lambda each: each[1])


def both_stages(
    measured: Mapping[str, float], model: str, windows: Sequence[int]
) -> dict[str, float]:
    """Seconds of both stages by window and precision."""
    return {
        f"{model}, {size} px{suffix}": measured[f"stage 1{suffix}"]
        + measured[f"{model}, stage 2, {size} px{suffix}"]
        for suffix in PRECISIONS
        for size in windows
    }


def compare(
    measured: Mapping[str, float], models: Sequence[str], windows: Sequence[int]
) -> dict[str, Any]:
    """The ratios, and the sizes that they are of.

    Args:
        measured: seconds per mm² by work.
        models: "b", "h" or both.
        windows: px.
    """
    figures: dict[str, Any] = {}
    for model in models:
        own = both_stages(measured, model, windows)
        window, least = fastest(own, {size: f"{model}, {size} px" for size in windows})
        figures[f"{model}_window"] = window
        for peer, tilings in PEERS[model].items():
            names = {tiling.size: f"{peer}, {tiling.size} px" for tiling in tilings}
            figures[f"{peer}_tile"], of_peer = fastest(measured, names)
            figures[f"{model}_over_{peer}"] = of_peer / least
        if mixed := own.get(f"{model}, {window} px, bfloat16"):
            figures[f"{model}_bfloat16_over_float32"] = least / mixed
        figures.setdefault("seconds_per_mm2", {}).update(own)
    return figures


def make_environment(folder: Path) -> Path:
    """Install the peers beside the PyTorch that runs this.

    Args:
        folder: that is not there yet.

    Returns:
        The environment's Python.

    Raises:
        UserError: the folder is there, or a package cannot be installed.
    """
    python = folder / "bin" / "python"
    if folder.exists():
        raise UserError(f"--make-environment: {folder} exists, give --peers-python {python}")
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    same = [f"{package}=={version(package)}" for package in ("torch", "torchvision")]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, *same],
        [*pip, "--no-deps", "--requirement", str(HERE / "peers-requirements.txt")],
    ):
        if subprocess.run(command, stdout=sys.stderr).returncode:
            raise UserError(f"--make-environment: {folder} is not whole, see above: delete it")
    return python


def measure(
    python: Path, models: Sequence[str], windows: Sequence[int], runs: int
) -> dict[str, Any]:
    image = random_image(SIDE)
    names = [peer for model in models for peer in PEERS[model]]
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        np.save(path := Path(folder) / "image.npy", image.numpy())
        command = [str(python), str(HERE / "peers_models.py"), str(path), str(threads), *names]
        with peers_process(command) as peers:
            works = peer_works(models, peers) | own_works(models, windows, image)
            measured = seconds_per_mm2(works, runs)
            versions = {"torch": torch.__version__, "threads": threads, "peers": peers.versions}
    figures = compare(measured, models, windows)
    figures["seconds_per_mm2"] |= measured
    return figures | versions


def as_text(figures: Mapping[str, Any]) -> str:
    rest = [(name, value) for name, value in figures.items() if name != "seconds_per_mm2"]
    table = tabulate(figures["seconds_per_mm2"].items(), ["", "seconds per mm²"], floatfmt=".1f")
    return f"{table}\n\n{tabulate(rest, floatfmt='.2f')}"


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--peers-python", type=Path, help="of an environment that is there")
    where.add_argument("--make-environment", type=Path, metavar="DIR", help="some GB")
    parser.add_argument("--models", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--windows", nargs="+", type=int, default=WINDOWS, help="px")
    parser.add_argument("--runs", type=int, default=5, help="of which medians are taken")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    args = parser.parse_args(arguments)
    check_count("--runs", args.runs)
    if bad := [size for size in args.windows if not OVERLAP < size <= SIDE]:
        raise UserError(f"--windows has {bad[0]}: give more than {OVERLAP} and at most {SIDE} px")
    python = make_environment(args.make_environment) if args.make_environment else args.peers_python
    figures = measure(python, args.models, args.windows, args.runs)
    print(json.dumps(figures, indent=2) if args.json else as_text(figures))


if __name__ == "__main__":
    main()
