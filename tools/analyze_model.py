#!/usr/bin/env python
"""Count a model's parameters and multiply-adds, part by part.

    python tools/analyze_model.py --config-file configs/cfrsam_b.yaml [--json] [KEY VALUE …]

No weights are read and no data. Multiply-adds are those of a 256×256 image with one nucleus, and
what each further nucleus adds, refined at full frame; deformable convolutions are not counted.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from tabulate import tabulate

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.analysis import IMAGE_SIZE, Cost, analyze_model
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import exits_on_user_error


def as_table(costs: dict[str, Cost]) -> str:
    """Parameters in millions, multiply-adds in billions."""
    rows = [
        (
            name,
            cost.parameters / 1e6,
            cost.trainable / 1e6,
            cost.macs / 1e9,
            cost.macs_per_further_nucleus / 1e9,
        )
        for name, cost in costs.items()
    ]
    headers = (
        "part",
        "parameters\n(M)",
        "trainable\n(M)",
        f"multiply-adds (G)\n{IMAGE_SIZE}×{IMAGE_SIZE}, 1 nucleus",
        "each further\nnucleus (G)",
    )
    return tabulate(rows, headers, floatfmt=".3f")


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="of either stage")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the file")
    args = parser.parse_args(arguments)
    costs = analyze_model(load_config(args.config_file, args.opts))
    if args.json:
        print(json.dumps({name: asdict(cost) for name, cost in costs.items()}, indent=2))
    else:
        print(as_table(costs))


if __name__ == "__main__":
    main()
