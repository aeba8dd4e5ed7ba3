#!/usr/bin/env python
"""Draw images of a dataset beside their nuclei: contours and points, coloured by class.

    python tools/visualize_data.py --dataset pannuke_fold1
    python tools/visualize_data.py --dataset custom_train --config-file my.yaml

A config file is needed for what its DATASETS.CUSTOM names: custom_train, custom_val, custom_test.
"""

from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--dataset", required=True, help="a registered dataset")
    parser.add_argument("--config-file", help="whose DATASETS.CUSTOM is registered")
    parser.add_argument("--count", type=int, default=8, help="pictures, evenly from the dataset")
    parser.add_argument("--output", type=Path, help="default: output/pictures/DATASET")
    args = parser.parse_args(arguments)
    from cfrsam_d2.apps.visualize_data import draw_data  # takes seconds

    folder = args.output or Path("output/pictures", args.dataset)
    draw_data(args.dataset, args.config_file, args.count, folder)
    print(f"Pictures are in {folder}")


if __name__ == "__main__":
    main()
