#!/usr/bin/env python
"""The scores of classical image processing: hematoxylin, Otsu's threshold, watershed.

    python tools/hematoxylin_baseline.py --dataset pannuke_fold3

No learning: nuclei are found by their stain alone, and every one gets the class that is the most
frequent in the dataset. The evaluator is the project's own, so the numbers compare with a model's.
"""

from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--dataset", required=True, help="a registered dataset")
    parser.add_argument("--output", type=Path, help="default: output/baseline/DATASET")
    args = parser.parse_args(arguments)
    from cfrsam_d2.apps.hematoxylin_baseline import evaluate  # takes seconds

    output = args.output or Path("output/baseline", args.dataset)
    scores = evaluate(args.dataset, output)
    print(
        f"baseline: bPQ={scores['segmentation']['bPQ']:.4f} "
        f"mPQ={scores['segmentation']['mPQ']:.4f} "
        f"F1_detection={scores['detection']['F1']:.4f}; tables in {output}"
    )


if __name__ == "__main__":
    main()
