#!/usr/bin/env python
"""How the time of both stages grows with the nuclei and with the area of an image.

    python benchmarks/scaling.py [--runs 3] [--plot FILE.svg] [KEY VALUE …]

ViT-B with random weights and known prompts of nuclei of 20 px (`known_prompts.py`): 9 to 400 of
them on 256×256 px, and images of 256 to 2,048 px with 25 on each 256×256 px. Medians, with the
straight line that fits them best.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import torch
from known_prompts import give_prompts, random_image, random_model
from matplotlib.figure import Figure
from tabulate import tabulate
from timing import check_count, median_seconds

from cfrsam_d2.complexity import IMAGE_SIZE
from cfrsam_d2.data.palette import line_colors
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.files import write_bytes

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "cfrsam_b.yaml"
NUCLEI = (9, 25, 49, 100, 196, 289, 400)
SIZES = (256, 512, 1024, 1536, 2048)  # px


@dataclass(frozen=True)
class Series:
    """Times against a quantity.

    Attributes:
        quantity: what it is, with its unit.
        x: its values.
        seconds: of each.
    """

    quantity: str
    x: list[float]
    seconds: list[float]

    def line(self) -> tuple[float, float]:
        """Slope and intercept of the line that fits best."""
        return tuple(np.polyfit(self.x, self.seconds, 1))

    def deviation(self) -> float:
        """The largest distance from the line, as a share of the longest time."""
        differences = np.polyval(self.line(), self.x) - self.seconds
        return float(np.abs(differences).max() / max(self.seconds))


@torch.inference_mode()
def seconds(overrides: list[str], count: int, size: int, runs: int) -> float:
    """Of both stages on one image of size×size px with `count` nuclei."""
    model = random_model(load_config(str(CONFIG), overrides))
    give_prompts(model, count, size)
    image = random_image(size)
    return median_seconds(lambda: model([{"image": image}]), runs)


def measure(overrides: list[str], runs: int) -> list[Series]:
    of_nuclei = [seconds(overrides, count, IMAGE_SIZE, runs) for count in NUCLEI]
    areas = [(size / IMAGE_SIZE) ** 2 for size in SIZES]
    of_area = [
        seconds(overrides, round(25 * area), size, runs)
        for area, size in zip(areas, SIZES, strict=True)
    ]
    return [
        Series("nuclei in 256×256 px", list(NUCLEI), of_nuclei),
        Series("area, million px", [size**2 / 1e6 for size in SIZES], of_area),
    ]


def plot(series: list[Series]) -> Figure:
    """Measured points and their lines, a panel each."""
    point_color, line_color = ("#{:02x}{:02x}{:02x}".format(*color) for color in line_colors(2))
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, each in zip(figure.subplots(1, len(series)), series, strict=True):
        x = np.linspace(0, max(each.x), 2)
        axes.plot(x, np.polyval(each.line(), x), color=line_color, label="straight line")
        axes.plot(each.x, each.seconds, "o", color=point_color, label="measured")
        axes.set(xlabel=each.quantity, ylabel="seconds per image", xlim=0, ylim=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def report(series: list[Series]) -> str:
    texts = []
    for each in series:
        rows = zip(each.x, each.seconds, np.polyval(each.line(), each.x), strict=True)
        headers = (each.quantity, "seconds", "the line")
        table = tabulate(rows, headers, floatfmt=(".4g", ".2f", ".2f"))
        slope, start = each.line()
        deviation = f"off the line by at most {100 * each.deviation():.1f} % of the longest time"
        texts.append(f"{table}\n{start:.2f} s + {slope:.4f} s per unit, {deviation}")
    return "\n\n".join(texts)


@exits_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument("--plot", type=Path, help="an SVG to write")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the config")
    args = parser.parse_args()
    check_count("--runs", args.runs)
    series = measure(args.opts, args.runs)
    print(report(series))
    if args.plot:
        svg = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "scaling"}):  # the same plot, the same file
            plot(series).savefig(svg, format="svg", metadata={"Date": None})
        write_bytes(args.plot, svg.getvalue())


if __name__ == "__main__":
    main()
