#!/usr/bin/env python
"""Find the nuclei of image files and of folders of images, and write them for other programs.

    python tools/predict.py INPUT… --output DIR [--formats geojson csv tiff npy coco overlay]
        [--magnification M] [--resume] --config-file configs/cfrsam_b.yaml [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. Images that cannot be
predicted, because they are damaged or do not fit into memory, say, are listed at the end, and the
exit status is 1. docs/prediction.md describes the files.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser, parse_with_keys
from cfrsam_d2.errors import UserError, exits_on_user_error

FORMATS = ("geojson", "csv", "tiff", "npy", "coco", "overlay")


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("inputs", nargs="+", type=Path, help="image files, or folders of them")
    parser.add_argument("--config-file", required=True, help="of either stage")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--formats", nargs="+", default=["geojson", "csv"], help="of the results")
    parser.add_argument(
        "--magnification",
        type=float,
        help="of the images; default: what their files state, else INPUT.MAGNIFICATION",
    )
    parser.add_argument("--resume", action="store_true", help="skip images with complete results")
    args, overrides = parse_with_keys(parser, arguments)
    formats, more_overrides = split_formats(args.formats)
    check_formats(formats)
    from cfrsam_d2.apps.predict import predict  # takes seconds

    failures = predict(
        args.inputs,
        args.output,
        formats,
        args.config_file,
        [*more_overrides, *overrides],
        args.magnification,
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


if __name__ == "__main__":
    main()
