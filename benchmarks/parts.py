#!/usr/bin/env python
"""A profile of both stages by part: seconds, share, arithmetic, and how near it is to the machine.

    python benchmarks/parts.py [--models b h] [--nuclei 25 100] [--size 256] [--runs 5] [--json]
        [KEY VALUE …]

Both stages on one image of SIZE×SIZE px with 25 and 100 nuclei on each 256×256 px; weights are
random and prompts known (`known_prompts.py`). Times are torch.profiler's of a part's ranges,
medians of runs after one that does not count. Arithmetic is products and convolutions alone, as
they are computed (torch.utils.flop_counter); it is compared with the machine's own product of two
matrices, measured in the same run. A part whose arithmetic is little is bound by memory.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from known_prompts import give_prompts, random_image, random_model
from tabulate import tabulate
from timing import check_count, median_seconds
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from cfrsam_d2.complexity import IMAGE_SIZE
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.modeling.meta_arch import CFRSAM

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# Parts by the modules that they are, as regular expressions; none lies in another. What is in none
# is "the rest": masks resampled, cut and laid back, suppression.
PARTS = {
    "stage 1: ConvNeXt": r"proposal_generator\.backbone",
    "stage 1: pyramid and heads": r"proposal_generator\.(?!backbone)\w+",
    "patches": r"backbone\.vit\.patch_embed",
    "attention": r"backbone\.vit\.blocks\.\d+\.attn",
    "MLP": r"backbone\.vit\.blocks\.\d+\.mlp",
    "MALA": r"backbone\.adapters\.\d+\.\w+",
    "neck": r"backbone\.vit\.neck",
    "HMFM": r"mask_head\.fusion",
    "deep branch": r"mask_head\.deep_branch",
    "MCBE": r"mask_head\.bgmr\.mcbe",
    "decoder: transformer": r"mask_head\.mask_decoder\.transformer",
    "decoder: up-scaling": r"mask_head\.mask_decoder\.output_upscaling",
    "BGMR: upsampling": r"mask_head\.bgmr\.upsample",
    "BGMR: BGFF": r"mask_head\.bgmr\.bgff",
    "BGMR: refinement": r"mask_head\.bgmr\.refinement",
    "BGMR: heads": r"mask_head\.bgmr\.(mask_head|boundary_head)",
}
REST, TOTAL = "the rest", "total"
MATRIX = 2048  # rows and columns of the machine's own product


def parts_of(model: CFRSAM) -> Iterator[tuple[str, nn.Module]]:
    """The modules of each part, with its name."""
    for path, module in model.named_modules():
        for part, pattern in PARTS.items():
            if re.fullmatch(pattern, path) and not isinstance(module, nn.ModuleList):
                yield part, module


@contextmanager
def inside(model: CFRSAM, around: Callable[[str], Any]) -> Iterator[None]:
    """A context in which the parts of a model run inside contexts of their own.

    Args:
        model: whose modules' `forward` it replaces meanwhile; hooks, as adapters are, stay outside.
        around: gives a part's context by its name.
    """

    def wrapped(part: str, forward: Callable) -> Callable:
        def run(*args: Any, **kwargs: Any) -> Any:
            with around(part):
                return forward(*args, **kwargs)

        return run

    modules = list(parts_of(model))
    for part, module in modules:
        module.forward = wrapped(part, module.forward)
    try:
        yield
    finally:
        for _, module in modules:
            del module.forward


def seconds_by_part(model: CFRSAM, work: Callable[[], object], runs: int) -> dict[str, float]:
    """Medians of runs, of all parts, the rest and the total."""
    times = defaultdict(list)
    for number in range(runs + 1):
        with (
            inside(model, record_function),
            profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiled,
            record_function(TOTAL),
        ):
            work()
        found = {each.key: each.cpu_time_total / 1e6 for each in profiled.key_averages()}
        of_run = {part: found[part] for part in (*PARTS, TOTAL) if part in found}
        of_run[REST] = 2 * of_run[TOTAL] - sum(of_run.values())
        for part, each in of_run.items() if number else ():
            times[part].append(each)
    return {part: median(each) for part, each in times.items()}


def flops_by_part(model: CFRSAM, work: Callable[[], object]) -> dict[str, int]:
    """Of products and convolutions, two for each multiply-add; and the total."""
    counts: dict[str, int] = defaultdict(int)

    @contextmanager
    def count(part: str) -> Iterator[None]:
        with FlopCounterMode(display=False) as counter:
            yield
        counts[part] += counter.get_total_flops()

    with inside(model, count), count(TOTAL):
        work()
    counts[REST] = 2 * counts[TOTAL] - sum(counts.values())
    return counts


def matrix_product_rate(runs: int) -> float:
    """Flops per second of the machine's product of two matrices."""
    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    return 2 * MATRIX**3 / median_seconds(lambda: a @ b, runs)


def measure(
    name: str, nuclei: int, size: int, runs: int, overrides: Sequence[str], rate: float
) -> list[dict[str, Any]]:
    """A row of each part, the costliest first, the total last.

    Args:
        name: "b", "l" or "h".
        nuclei: on 256×256 px.
        size: of the image, px.
        runs: that count.
        overrides: key, value, … of the config.
        rate: of the machine.
    """
    window = ["MODEL.SLIDING_WINDOW.SIZE", str(size), "MODEL.SLIDING_WINDOW.OVERLAP", "0"]
    options = ["MODEL.DEVICE", "cpu", *window, *overrides]
    model = random_model(load_config(str(CONFIGS / f"cfrsam_{name}.yaml"), options))
    give_prompts(model, round(nuclei * (size / IMAGE_SIZE) ** 2), size)
    image = random_image(size)

    @torch.inference_mode()
    def work() -> None:
        with model.precision.context(model.device, training=False):
            model.inference([model.normalize(image)])

    seconds = seconds_by_part(model, work, runs)
    flops = flops_by_part(model, work)
    parts = sorted(seconds, key=lambda part: (part == TOTAL, -seconds[part]))
    return [
        {
            "model": name,
            "nuclei": nuclei,
            "part": part,
            "seconds": seconds[part],
            "share": seconds[part] / seconds[TOTAL],
            "gflop": flops[part] / 1e9,
            "of_matrix_product": flops[part] / seconds[part] / rate,
        }
        for part in parts
    ]


def as_text(rows: Sequence[Mapping[str, Any]], rate: float) -> str:
    table = tabulate(
        [list(row.values()) for row in rows],
        list(rows[0]),
        floatfmt=("", "", "", ".3f", ".3f", ".1f", ".2f"),
    )
    return f"{table}\n\nthe machine's product of matrices: {rate / 1e9:.0f} GFLOP/s"


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=["b", "l", "h"], default=["b", "h"])
    parser.add_argument("--nuclei", nargs="+", type=int, default=[25, 100], help="on 256×256 px")
    parser.add_argument("--size", type=int, default=IMAGE_SIZE, help="of image and window, px")
    parser.add_argument("--runs", type=int, default=5, help="of which medians are taken")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="of the config")
    args = parser.parse_args(arguments)
    for option, counts in [("runs", [args.runs]), ("size", [args.size]), ("nuclei", args.nuclei)]:
        for count in counts:
            check_count(f"--{option}", count)
    rate, rows = matrix_product_rate(args.runs), []
    for name in args.models:
        for nuclei in args.nuclei:
            print(f"{name}, {nuclei} nuclei", file=sys.stderr, flush=True)
            rows += measure(name, nuclei, args.size, args.runs, args.opts, rate)
    figures = {"matrix_product_flops_per_second": rate, "parts": rows}
    print(json.dumps(figures, indent=2) if args.json else as_text(rows, rate))


if __name__ == "__main__":
    main()
