#!/usr/bin/env python
"""Write what a trained model predicts on a PanNuke fold as the official PanNuke script reads it.

    python tools/export_pannuke.py --config-file configs/cfrsam_b.yaml [--ground-truth]
        [--dataset NAME] [--output DIR] [KEY VALUE …]

DIR/pred/masks.npy gets the predictions; with --ground-truth, DIR/true/ gets masks.npy and types.npy
of the dataset. These two folders are what the script takes as --pred_path and --true_path. Weights
are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--config-file", required=True, help="of stage 2")
    parser.add_argument("--dataset", help="default: the first of DATASETS.TEST")
    parser.add_argument("--ground-truth", action="store_true", help="write it, too")
    parser.add_argument("--output", type=Path, help="default: OUTPUT_DIR/pannuke/DATASET")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the file")
    args = parser.parse_args(arguments)
    from cfrsam_d2.apps.export_pannuke import export  # takes seconds

    export(args.config_file, args.opts, args.dataset, args.output, ground_truth=args.ground_truth)


if __name__ == "__main__":
    main()
