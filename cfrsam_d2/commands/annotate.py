"""Show the nuclei of one image in a browser, correct them by clicks, and export or train on them.

    cfrsam annotate IMAGE [--config-file configs/cfrsam_b.yaml] [--output DIR] [--port N]
        [--no-browser] [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. The page is served to this
machine alone, until the command is interrupted. docs/annotation.md says more.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import build_parser, parse_with_keys
from ..errors import UserError, exits_on_user_error


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    parser.add_argument("image", type=Path, help="PNG, JPEG or TIFF")
    parser.add_argument(
        "--config-file",
        help="of the whole of CFR-SAM; default: the small model of the project",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("output/annotated"), help="folder of exported files"
    )
    parser.add_argument("--port", type=int, help="default: a free one")
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    args, overrides = parse_with_keys(command_parser(), arguments)
    if args.port is not None and not 0 < args.port < 2**16:
        raise UserError(f"--port is {args.port}: give 1 to 65535, or leave it out")
    from ..apps.annotate.command import annotate  # takes seconds

    annotate(
        args.image,
        args.config_file,
        overrides,
        args.output,
        port=args.port,
        opens_browser=not args.no_browser,
    )
