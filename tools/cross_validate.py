#!/usr/bin/env python
"""Train and score both stages on the three splits of PanNuke, and lay the scores out as the paper.

    python tools/cross_validate.py --model h [--output DIR] [--configs DIR] [--num-gpus N]
        [KEY VALUE …]

Of each split, train_net.py runs the configs prompt_learner.yaml and cfrsam_{b,h}.yaml into
DIR/SPLIT/: those of CONFIGS itself for split 123, of CONFIGS/pannuke/SPLIT/ for the others. KEY
VALUE pairs go to both. After an interruption, run the same command again: what is done is skipped,
what was begun continues. At the end the paper's Tables 1 to 4, averaged over the splits and beside
the paper's numbers, are printed and written to DIR/tables_{b,h}/.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--model", choices=("b", "h"), required=True, help="SAM ViT-B or ViT-H")
    parser.add_argument("--output", type=Path, default=Path("output/pannuke"))
    parser.add_argument("--configs", type=Path, default=CONFIGS)
    parser.add_argument("--num-gpus", type=int, default=1, help="of each training")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the files")
    args = parser.parse_args(arguments)
    from cfrsam_d2.apps.cross_validate import cross_validate  # takes seconds

    cross_validate(args.model, args.configs, args.output, args.opts, args.num_gpus)


if __name__ == "__main__":
    main()
