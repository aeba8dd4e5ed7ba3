#!/usr/bin/env python
"""What does a change of the config bring? Train with and without it, several seeds, and compare.

    python tools/compare_levers.py --config-file CONFIG [--config-file CONFIG] --lever KEY VALUE
        [--lever KEY VALUE …] --output DIR [--seeds 3] [KEY VALUE …]

Of two configs the second is a stage 2 that takes the stage 1 of the first. --lever is what changes,
KEY VALUE pairs at the end go to all trainings. Each is scored with its last weights on every data
set of DATASETS.TEST: bPQ, mPQ, F1 of detection and of classes; the differences come with a 95 %
interval over images and their spread over seeds. After an interruption, run the same command again:
what is done is skipped, what was begun continues. docs/levers.md has results.
"""

from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import UserError, exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument(
        "--config-file", type=Path, action="append", required=True, metavar="CONFIG"
    )
    parser.add_argument(
        "--lever", nargs=2, action="append", required=True, metavar=("KEY", "VALUE")
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="of all trainings")
    args = parser.parse_args(arguments)
    if len(args.config_file) > 2:
        raise UserError(f"{len(args.config_file)} configs: name one, or stage 1's and stage 2's")
    if args.seeds < 1:
        raise UserError(f"--seeds is {args.seeds}: ask for 1 or more, 3 say how much they vary")
    if len(args.opts) % 2:
        raise UserError(f"{' '.join(args.opts)} are not pairs: give KEY VALUE KEY VALUE …")
    from cfrsam_d2.apps.compare_levers import compare_levers  # takes seconds

    lever = [each for pair in args.lever for each in pair]
    compare_levers(args.config_file, lever, range(args.seeds), args.output, args.opts)


if __name__ == "__main__":
    main()
