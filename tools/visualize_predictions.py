#!/usr/bin/env python
"""Draw the predictions of a trained model beside the ground truth: contours and points by class.

    python tools/visualize_predictions.py --config-file configs/cfrsam_b.yaml [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. A model of stage 1 predicts
points alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--config-file", required=True, help="of either stage")
    parser.add_argument("--dataset", help="default: the first of DATASETS.TEST")
    parser.add_argument("--count", type=int, default=8, help="pictures, evenly from the dataset")
    parser.add_argument("--output", type=Path, help="default: OUTPUT_DIR/pictures/DATASET")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the file")
    args = parser.parse_args(arguments)
    from cfrsam_d2.apps.visualize_predictions import draw_predictions  # takes seconds
    from cfrsam_d2.engine import load_config_for

    cfg, name = load_config_for(args.config_file, args.opts, args.dataset)
    folder = args.output or Path(cfg.OUTPUT_DIR, "pictures", name)
    draw_predictions(cfg, name, args.count, folder)
    print(f"Pictures are in {folder}")


if __name__ == "__main__":
    main()
