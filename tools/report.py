#!/usr/bin/env python
"""Write one HTML file about one or several runs: tables, plots, and pictures of errors.

    python tools/report.py OUTPUT_DIR… [--dataset NAME] [--output report.html] [--images N]

An OUTPUT_DIR is what train_net.py leaves after training or --eval-only; no model is run here. Of
several runs, which must be evaluated on the same dataset, the first is what others are compared
with. docs/report.md explains the parts.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.apps.report import build_page, read_comparison
from cfrsam_d2.errors import UserError, exits_on_user_error
from cfrsam_d2.files import write_bytes


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUTPUT_DIR", help="of a run")
    parser.add_argument("--dataset", help="default: the first of DATASETS.TEST")
    parser.add_argument("--output", type=Path, help="default: report.html in the first OUTPUT_DIR")
    parser.add_argument(
        "--images", type=int, default=24, help="best, median and worst images, a third each"
    )
    args = parser.parse_args(arguments)
    if args.images < 1:
        raise UserError(f"--images is {args.images}: ask for 1 image or more")
    page = build_page(read_comparison(args.folders, args.dataset), args.images)
    output = args.output or args.folders[0] / "report.html"
    write_bytes(output, page.encode())
    print(f"The report is {output} ({len(page) / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
