#!/usr/bin/env python
"""Turn a dataset's release into the files that the configs name; see datasets/README.md.

    python datasets/prepare.py pannuke SOURCE [--output FOLDER] [--folds 1 2 3]

It can be run again: a fold that is there already is replaced once its successor is complete.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.data.files import dataset_root
from cfrsam_d2.data.pannuke import convert_pannuke_fold
from cfrsam_d2.data.pannuke_layout import find_pannuke_fold
from cfrsam_d2.errors import exits_on_user_error


def prepare_pannuke(args: argparse.Namespace) -> None:
    """Convert the folds one by one, after a look at all of them."""
    folds = [find_pannuke_fold(args.source, number) for number in sorted(set(args.folds))]
    for fold in folds:
        output = args.output / "pannuke" / f"fold{fold.number}"
        writer = convert_pannuke_fold(fold, output)
        print(f"{output}: every image and every nucleus of fold {fold.number}, none skipped")
        print(f"{writer.summary()}\n")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    datasets = parser.add_subparsers(title="datasets", dest="dataset", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("source", type=Path, help="folder into which the release was unpacked")
    common.add_argument(
        "--output",
        type=Path,
        default=dataset_root(),
        help="folder of all datasets (default: DETECTRON2_DATASETS, or else ./datasets)",
    )
    pannuke = datasets.add_parser("pannuke", parents=[common], help="PanNuke, fold by fold")
    pannuke.add_argument(
        "--folds", type=int, nargs="+", choices=(1, 2, 3), default=(1, 2, 3), help="default: all"
    )
    pannuke.set_defaults(prepare=prepare_pannuke)
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(arguments)
    args.prepare(args)


if __name__ == "__main__":
    main()
