#!/usr/bin/env python
"""Train the small model that comes with the project, from its data to its file of weights.

    python tools/train_small.py --pannuke DIR --dsb2018 DIR --monuseg DIR --cpm17 DIR [--trial]

The data: PanNuke's layout with Fold 1 to 3, images/ and labels/ of the Data Science Bowl 2018,
MoNuSeg's and CPM-17's releases. --trial holds fold 3 back and scores on it
(docs/real-data-trial.md); without it all data train, and the weights are written to
output/small/cfrsam_small.safetensors. A run that was interrupted goes on when the same command is
run again.
"""

from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    for name in ("pannuke", "dsb2018", "monuseg", "cpm17"):
        parser.add_argument(f"--{name}", required=True, type=Path, metavar="DIR")
    parser.add_argument("--trial", action="store_true", help="hold fold 3 back, and score on it")
    args = parser.parse_args(arguments)
    from cfrsam_d2.apps.train_small import Sources, train_small  # takes seconds

    train_small(Sources(args.pannuke, args.dsb2018, args.monuseg, args.cpm17), trial=args.trial)


if __name__ == "__main__":
    main()
