"""Find the nuclei of image files and of folders of images, and write them for other programs.

    cfrsam predict INPUT… [--output DIR] [--formats geojson csv tiff npy coco overlay]
        [--magnification M] [--min-score S] [--min-area PX] [--largest-part] [--resume]
        [--config-file configs/cfrsam_b.yaml] [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. Without a config, the small
model that comes with the project does it (docs/model-card.md). Images that cannot be
predicted, because they are damaged or do not fit into memory, say, are listed at the end, and the
exit status is 1. docs/prediction.md describes the files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from argcomplete.completers import ChoicesCompleter

from ..command_line import build_parser, parse_with_keys, split_inputs
from ..errors import UserError, exits_on_user_error

FORMATS = ("geojson", "csv", "tiff", "npy", "coco", "overlay")


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    parser.add_argument("inputs", nargs="+", type=Path, help="image files, or folders of them")
    parser.add_argument(
        "--config-file", help="of either stage; default: the small model of the project"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("predictions"),
        help="folder of the results (default: %(default)s)",
    )
    formats: Any = parser.add_argument(  # not `choices`, which would refuse KEY VALUE behind them
        "--formats",
        nargs="+",
        default=["geojson", "csv"],
        metavar="FORMAT",
        help=f"of the results, some of {', '.join(FORMATS)} (default: geojson csv)",
    )
    formats.completer = ChoicesCompleter(dict.fromkeys(FORMATS, ""))
    parser.add_argument(
        "--magnification",
        type=float,
        help="of the images; default: what their files state, else INPUT.MAGNIFICATION",
    )
    parser.add_argument(
        "--min-score", type=float, default=0.0, metavar="S", help="leave out nuclei below, 0 to 1"
    )
    parser.add_argument(
        "--min-area", type=float, default=0.0, metavar="PX", help="leave out nuclei below, px²"
    )
    parser.add_argument(
        "--largest-part", action="store_true", help="of a mask in pieces keep only the largest"
    )
    parser.add_argument("--resume", action="store_true", help="skip images with complete results")
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    args, overrides = parse_with_keys(command_parser(), arguments)
    inputs, after_inputs = split_inputs(args.inputs)
    formats, after_formats = split_formats(args.formats)
    check_formats(formats)
    if not 0 <= args.min_score <= 1:
        raise UserError(f"--min-score is {args.min_score}: give 0 to 1")
    from ..apps.predict import predict  # takes seconds
    from ..export.selection import Selection

    failures = predict(
        inputs,
        args.output,
        formats,
        args.config_file,
        [*after_inputs, *after_formats, *overrides],
        args.magnification,
        Selection(args.min_score, args.min_area, args.largest_part),
        resume=args.resume,
    )
    if failures:
        sys.exit(1)


def split_formats(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Formats, and the KEY VALUE pairs that follow them: keys are in upper case, formats not."""
    count = next((i for i, word in enumerate(words) if word.isupper()), len(words))
    return words[:count], words[count:]


def check_formats(formats: Sequence[str]) -> None:
    """
    Raises:
        UserError: there is no such format.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"--formats has {name!r}: take some of {', '.join(FORMATS)}")
