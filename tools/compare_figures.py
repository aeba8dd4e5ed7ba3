#!/usr/bin/env python
"""Make figures that compare runs: images with their nuclei as PNG, plots as SVG and PDF.

    python tools/compare_figures.py OUTPUT_DIR… [--dataset NAME] [--images NAME… | --count N]
        [--output DIR]

The picture has a row for the images, the ground truth and each run, and a column for each image.
An OUTPUT_DIR is what train_net.py leaves after training or --eval-only; no model is run here.
"""

from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import UserError, exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUTPUT_DIR", help="of a run")
    parser.add_argument("--dataset", help="default: the first of DATASETS.TEST")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="file names of the columns")
    parser.add_argument("--count", type=int, default=5, help="columns, evenly from the dataset")
    parser.add_argument("--output", type=Path, default=Path("output/comparison"))
    args = parser.parse_args(arguments)
    if args.count < 1:
        raise UserError(f"--count is {args.count}: ask for 1 image or more")
    from cfrsam_d2.apps.compare_figures import compare  # takes seconds

    compare(args.folders, args.dataset, args.images, args.count, args.output)
    print(f"Figures are in {args.output}")


if __name__ == "__main__":
    main()
