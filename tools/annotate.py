#!/usr/bin/env python
"""Show the nuclei of one image in a browser, add and remove them by clicks, and export.

    python tools/annotate.py IMAGE --config-file configs/cfrsam_b.yaml [--output DIR] [--port N]
        [--no-browser] [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. The page is served to this
machine alone, until the command is interrupted. docs/annotation.md says more.
"""

from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser, parse_with_keys
from cfrsam_d2.errors import UserError, exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("image", type=Path, help="PNG, JPEG or TIFF")
    parser.add_argument("--config-file", required=True, help="of the whole of CFR-SAM")
    parser.add_argument(
        "--output", type=Path, default=Path("output/annotated"), help="folder of exported files"
    )
    parser.add_argument("--port", type=int, help="default: a free one from 7860 on")
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")
    args, overrides = parse_with_keys(parser, arguments)
    if args.port is not None and not 0 < args.port < 2**16:
        raise UserError(f"--port is {args.port}: give 1 to 65535, or leave it out")
    from cfrsam_d2.apps.annotate.command import annotate  # takes seconds

    annotate(
        args.image,
        args.config_file,
        overrides,
        args.output,
        port=args.port,
        opens_browser=not args.no_browser,
    )


if __name__ == "__main__":
    main()
