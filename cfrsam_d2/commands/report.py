"""Write one HTML file about one or several runs: tables, plots, and pictures of errors.

    cfrsam report OUTPUT_DIR… [--dataset NAME] [--output report.html] [--images N]

An OUTPUT_DIR is what train_net.py leaves after training or --eval-only; no model is run here. Of
several runs, which must be evaluated on the same dataset, the first is what others are compared
with. docs/report.md explains the parts.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import build_parser
from ..errors import UserError, exits_on_user_error


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUTPUT_DIR", help="of a run")
    parser.add_argument("--dataset", help="default: the first of DATASETS.TEST")
    parser.add_argument("--output", type=Path, help="default: report.html in the first OUTPUT_DIR")
    parser.add_argument(
        "--images", type=int, default=24, help="best, median and worst images, a third each"
    )
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    args = command_parser().parse_args(arguments)
    if args.images < 1:
        raise UserError(f"--images is {args.images}: ask for 1 image or more")
    from ..apps.report import build_page, read_comparison  # takes seconds
    from ..files import write_bytes

    page = build_page(read_comparison(args.folders, args.dataset), args.images)
    output = args.output or args.folders[0] / "report.html"
    write_bytes(output, page.encode())
    print(f"The report is {output} ({len(page) / 1e6:.1f} MB)")
