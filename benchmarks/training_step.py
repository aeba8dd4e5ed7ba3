#!/usr/bin/env python
"""Seconds and memory of a training step of stage 2: BGMR at full frame, checkpointed, on crops.

    python benchmarks/training_step.py [--nuclei 25] [--runs 3]

CFR-SAM-B and one image of 256×256 px, float32; weights are random, and true centroids prompt
(`inference.py`). Each form is measured in a process of its own: medians of its steps, and the most
memory that it held, PyTorch and weights included. The optimiser's step is not in it.
"""

import argparse
from unittest.mock import patch

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from inference import NUCLEI, training_step_of
from processes import peak_memory, run_apart
from tabulate import tabulate
from timing import check_count, median_seconds

from cfrsam_d2.errors import exits_on_user_error

# Attributes of the mask head and of BGMR; crops as the small model's training has them.
FORMS = {
    "full frame": ([], False),
    "full frame, checkpointed": ([], True),
    "crops of 64 px": ([64], False),
}


def measure(form: str, nuclei: int, runs: int) -> tuple[float, float]:
    """Seconds of a step, and GiB that this process held.

    Args:
        form: of FORMS.
        nuclei: in the image.
        runs: of which the median is taken.
    """
    model, step = training_step_of("b", nuclei)
    crops, checkpoint = FORMS[form]
    head = model.mask_head
    with (
        patch.object(head, "train_crop_sizes", crops),
        patch.object(head.bgmr, "checkpoint_activations", checkpoint),
    ):
        return median_seconds(step, runs), peak_memory() / 2**30


@exits_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nuclei", type=int, default=NUCLEI)
    parser.add_argument("--runs", type=int, default=3, help="of which medians are taken")
    args = parser.parse_args()
    check_count("--nuclei", args.nuclei)
    check_count("--runs", args.runs)
    rows = [(form, *run_apart(measure, form, args.nuclei, args.runs)) for form in FORMS]
    headers = [f"{args.nuclei} nuclei", "seconds", "peak memory, GiB"]
    print(tabulate(rows, headers, floatfmt=".2f"))
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
