#!/usr/bin/env python
"""Table 12: what both stages cost together with SAM ViT-B, L and H, beside the paper's figures.

    python benchmarks/efficiency.py [--models b l h] [--devices cpu cuda] [--runs 3] [--json]
        [KEY VALUE …]

Parameters, multiply-adds (at full frame, see cfrsam_d2/complexity.py), images per second (of a
median run after a first one that does not count, one image at a time) and peak memory for a 256×256
image with 1, 25 and 100 nuclei. Weights are random and prompts known (`known_prompts.py`).

Each case runs in a process of its own. On a CPU, peak memory is all that the process ever held:
Python and its libraries, weights, intermediate results. On CUDA, it is PyTorch's tensors alone.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from detectron2.config import CfgNode
from known_prompts import give_prompts, random_image, random_model
from processes import peak_memory, run_apart
from tabulate import tabulate
from timing import check_count, median_seconds

from cfrsam_d2.complexity import Cost, analyze_model
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError, exits_on_user_error
from cfrsam_d2.evaluation.paper_scores import EFFICIENCY
from cfrsam_d2.modeling.meta_arch import CFRSAM

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
NUCLEI = (1, 25, 100)


@dataclass(frozen=True)
class Case:
    """What one process measures.

    Attributes:
        model: "b", "l" or "h".
        device: "cpu" or "cuda".
        nuclei: of the image.
        runs: that count.
        overrides: key, value, key, value, … of the config.
    """

    model: str
    device: str
    nuclei: int
    runs: int
    overrides: Sequence[str]

    def config(self) -> CfgNode:
        file = CONFIGS / f"cfrsam_{self.model}.yaml"
        return load_config(str(file), ["MODEL.DEVICE", self.device, *self.overrides])


@dataclass(frozen=True)
class Measurement:
    """
    Attributes:
        hardware: what it ran on.
        seconds: per image.
        peak_memory: bytes.
    """

    hardware: str
    seconds: float
    peak_memory: int


def build(case: Case) -> CFRSAM:
    """The model with random weights, to which the prompts of the image are known."""
    model = random_model(case.config())
    give_prompts(model, case.nuclei)
    return model


@torch.inference_mode()
def measure(case: Case) -> Measurement:
    """Run the model on one image, again and again."""
    model = build(case)
    image = random_image()

    def find_nuclei() -> None:
        model([{"image": image}])
        if case.device == "cuda":
            torch.cuda.synchronize()

    seconds = median_seconds(find_nuclei, case.runs)
    if case.device == "cuda":
        hardware, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated()
    else:
        hardware, peak = f"CPU, threads: {torch.get_num_threads()}", peak_memory()
    return Measurement(hardware, seconds, peak)


def report(case: Case, measured: Measurement, cost: Cost) -> dict[str, Any]:
    """One case in exact numbers."""
    further = (case.nuclei - 1) * cost.macs_per_further_nucleus
    return {
        "model": case.model,
        "nuclei": case.nuclei,
        "trainable": cost.trainable,
        "parameters": cost.parameters,
        "macs": cost.macs + further,
        **asdict(measured),
    }


def papers_rows(models: Iterable[str]) -> list[dict[str, Any]]:
    """Table 12 in the units of `report`; it does not say of how many nuclei."""
    return [
        {
            "model": model,
            "hardware": "paper",
            "trainable": round(1e6 * paper["trainable"]),
            "parameters": round(1e6 * paper["parameters"]),
            "macs": round(1e9 * paper["macs"]),
            "seconds": 1 / paper["images_per_second"],
        }
        for model in models
        if (paper := EFFICIENCY.get(model))
    ]


def as_table(results: list[dict[str, Any]]) -> str:
    """Millions of parameters, billions of multiply-adds, GB of memory."""
    rows = [
        (
            f"ViT-{each['model'].upper()}, {each['hardware']}",
            each.get("nuclei"),
            each["trainable"] / 1e6,
            each["parameters"] / 1e6,
            each["macs"] / 1e9,
            1 / each["seconds"],
            each["peak_memory"] / 1e9 if "peak_memory" in each else None,
        )
        for each in results
    ]
    headers = ("", "nuclei", "trainable\n(M)", "total\n(M)", "multiply-adds\n(G)")
    headers += ("images\nper second", "peak memory\n(GB)")
    return tabulate(rows, headers, floatfmt=("", "", ".1f", ".1f", ".1f", ".3g", ".2f"))


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    available = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list("blh"), default=list("blh"))
    parser.add_argument("--devices", nargs="+", choices=["cpu", "cuda"], default=available)
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the configs")
    args = parser.parse_args(arguments)
    if missing := set(args.devices) - set(available):
        raise UserError(f"--devices has {missing.pop()}, but there is none: leave it out")
    check_count("--runs", args.runs)
    cases = [
        Case(model, device, nuclei, args.runs, args.opts)
        for model in args.models
        for device in args.devices
        for nuclei in NUCLEI
    ]
    measured = [run_apart(measure, case) for case in cases]
    # Only now: counting takes memory, with which the peaks of further processes would begin.
    of_model = {case.model: case for case in cases}
    costs = {model: analyze_model(each.config())["total"] for model, each in of_model.items()}
    results = [report(*each, costs[each[0].model]) for each in zip(cases, measured, strict=True)]
    results += papers_rows(args.models)
    print(json.dumps(results, indent=2) if args.json else as_table(results))


if __name__ == "__main__":
    main()
