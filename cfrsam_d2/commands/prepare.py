"""Turn a dataset's release into the files that the configs name; see datasets/README.md.

    cfrsam prepare pannuke SOURCE [--output FOLDER] [--folds 1 2 3]
    cfrsam prepare cpm17 SOURCE [--output FOLDER] [--classes YAML]
    cfrsam prepare monuseg SOURCE [--output FOLDER] [--classes YAML]
    cfrsam prepare dsb2018 SOURCE --classes YAML [--output FOLDER]
    cfrsam prepare custom IMAGES --labels LABELS --classes YAML --output FOLDER
        [--magnification M]

It can be run again: what is there already is replaced once its successor is complete.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import build_parser
from ..errors import exits_on_user_error


def prepare_pannuke(args: argparse.Namespace) -> None:
    """Convert the folds one by one, after a look at all of them."""
    from ..data.converters.pannuke import convert_pannuke_fold
    from ..data.converters.pannuke_layout import find_pannuke_fold

    folds = [find_pannuke_fold(args.source, number) for number in sorted(set(args.folds))]
    for fold in folds:
        output = output_folder(args) / "pannuke" / f"fold{fold.number}"
        writer = convert_pannuke_fold(fold, output)
        print(f"{output}: every image and every nucleus of fold {fold.number}, none skipped")
        print(f"{writer.summary()}\n")


def prepare_cpm17(args: argparse.Namespace) -> None:
    from ..data.converters.cpm17 import convert_cpm17

    print(convert_cpm17(args.source, *release_output(args)))


def prepare_monuseg(args: argparse.Namespace) -> None:
    from ..data.converters.monuseg import convert_monuseg

    print(convert_monuseg(args.source, *release_output(args)))


def prepare_dsb2018(args: argparse.Namespace) -> None:
    from ..data.converters.custom.classes import read_classes
    from ..data.converters.dsb2018 import convert_dsb2018

    classes = read_classes(args.classes).names
    print(convert_dsb2018(args.source, output_folder(args) / "dsb2018", classes))


def prepare_custom(args: argparse.Namespace) -> None:
    from ..data.converters.custom import convert_custom

    print(convert_custom(args.images, args.labels, args.classes, args.output, args.magnification))


def output_folder(args: argparse.Namespace) -> Path:
    """The folder of all datasets."""
    from ..data.builtin import dataset_root

    return args.output or dataset_root()


def release_output(args: argparse.Namespace) -> tuple[Path, list[str]]:
    """The folder of a release without classes, and the classes that --classes names."""
    from ..data.converters.custom.classes import read_classes

    if args.classes is None:
        return output_folder(args) / args.dataset, []
    return output_folder(args) / f"{args.dataset}_unknown", read_classes(args.classes).names


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    datasets = parser.add_subparsers(title="datasets", dest="dataset", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("source", type=Path, help="folder into which the release was unpacked")
    common.add_argument(
        "--output",
        type=Path,
        help="folder of all datasets (default: DETECTRON2_DATASETS, or else ./datasets)",
    )
    pannuke = datasets.add_parser("pannuke", parents=[common], help="PanNuke, fold by fold")
    pannuke.add_argument(
        "--folds", type=int, nargs="+", choices=(1, 2, 3), default=(1, 2, 3), help="default: all"
    )
    pannuke.set_defaults(prepare=prepare_pannuke)
    unclassed = argparse.ArgumentParser(add_help=False)
    unclassed.add_argument(
        "--classes",
        type=Path,
        help="YAML of a model's ids and names: all nuclei are of unknown class among these, and "
        "the folder's name ends in _unknown (default: all are of one class)",
    )
    cpm17 = datasets.add_parser("cpm17", parents=[common, unclassed], help="CPM-17")
    cpm17.set_defaults(prepare=prepare_cpm17)
    monuseg = datasets.add_parser("monuseg", parents=[common, unclassed], help="MoNuSeg 2018")
    monuseg.set_defaults(prepare=prepare_monuseg)
    dsb2018 = datasets.add_parser(
        "dsb2018", parents=[common], help="stained tissue of the Data Science Bowl 2018"
    )
    dsb2018.add_argument(
        "--classes", type=Path, required=True, help="YAML of a model's ids and names"
    )
    dsb2018.set_defaults(prepare=prepare_dsb2018)
    custom = datasets.add_parser(
        "custom", help="your own images and labels, one split (docs/custom-data.md)"
    )
    custom.add_argument("images", type=Path, help="folder of images")
    custom.add_argument(
        "--labels",
        type=Path,
        required=True,
        help="folder of label maps (PNG, TIFF, NPY), .mat or .geojson files; or a COCO .json",
    )
    custom.add_argument("--classes", type=Path, required=True, help="YAML of ids and names")
    custom.add_argument("--output", type=Path, required=True, help="folder of this split")
    custom.add_argument(
        "--magnification",
        type=float,
        help="of the images, 10 over the size of a pixel in µm (default: what their files state, "
        "else 40)",
    )
    custom.set_defaults(prepare=prepare_custom)
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    args = command_parser().parse_args(arguments)
    args.prepare(args)
