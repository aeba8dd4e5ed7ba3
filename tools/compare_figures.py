#!/usr/bin/env python
"""Make figures that compare runs: images with their nuclei as PNG, plots as SVG and PDF.

    python tools/compare_figures.py OUTPUT_DIR… [--dataset NAME] [--images NAME… | --count N]
        [--output DIR]

The picture has a row for the images, the ground truth and each run, and a column for each image.
An OUTPUT_DIR is what train_net.py leaves after training or --eval-only; no model is run here.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.apps.report import read_comparison
from cfrsam_d2.apps.report.figures import comparison_picture, comparison_plots, find_images
from cfrsam_d2.apps.report.notes import notes
from cfrsam_d2.apps.report.plots import figure_file
from cfrsam_d2.errors import UserError, exits_on_user_error
from cfrsam_d2.files import write_bytes, write_png


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="OUTPUT_DIR", help="of a run")
    parser.add_argument("--dataset", help="default: the first of DATASETS.TEST")
    parser.add_argument("--images", nargs="+", metavar="NAME", help="file names of the columns")
    parser.add_argument("--count", type=int, default=5, help="columns, evenly from the dataset")
    parser.add_argument("--output", type=Path, default=Path("output/comparison"))
    args = parser.parse_args(arguments)
    if args.count < 1:
        raise UserError(f"--count is {args.count}: ask for 1 image or more")
    comparison = read_comparison(args.folders, args.dataset)
    if args.images:
        indices = find_images(comparison, args.images)
    else:
        last = len(comparison.dataset.images) - 1
        indices = np.linspace(0, last, min(args.count, last + 1)).round().astype(int).tolist()
    write_png(args.output / "nuclei.png", comparison_picture(comparison, indices))
    plots, missing = comparison_plots(comparison)
    for name, figure in plots.items():
        for kind in ("svg", "pdf"):
            write_bytes(args.output / f"{name}.{kind}", figure_file(figure, kind))
    said = [*notes(comparison), missing, f"Figures are in {args.output}"]
    print("\n".join(filter(None, said)))


if __name__ == "__main__":
    main()
