#!/usr/bin/env python
"""See both stages trained on a CPU: evaluation, pictures, a report.

    python tools/train_demo.py

Everything is made on the spot, in minutes, below output/train_demo/: the images are synthetic, the
networks small and trained from scratch. It ends with status 1 if the scores are below what the
method reaches on these data.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from cfrsam_d2.apps.steps import ROOT, Steps, scores
from cfrsam_d2.command_line import build_parser

CONFIGS = "configs/train_demo"
OUTPUT = Path("output/train_demo")
TEST_SET = "synthetic_test"
LEAST_BPQ = 0.60
LEAST_F1_DETECTION = 0.80


def run_steps(steps: Steps) -> None:
    """Train both stages, evaluate, draw, and write the report."""
    for stage in ("prompt_learner", "cfrsam"):
        config, folder = f"{CONFIGS}/{stage}.yaml", OUTPUT / stage
        shutil.rmtree(ROOT / folder, ignore_errors=True)  # an earlier training
        steps.train(
            f"train stage {1 + (stage == 'cfrsam')} on synthetic tissue",
            *("train_net.py", "--config-file", config),
            folder=folder,
            iterations=yaml.safe_load((ROOT / config).read_text())["SOLVER"]["MAX_ITER"],
        )
    steps.run(
        "evaluate the initial masks",
        *("train_net.py", "--config-file", config, "--eval-only"),
        *("MODEL.WEIGHTS", str(OUTPUT / "cfrsam/model_best.pth")),
        *("MODEL.MASK_HEAD.FINAL_MASK", "initial", "OUTPUT_DIR", str(OUTPUT / "initial_masks")),
        seconds=40,
    )
    steps.run(
        "draw what it was trained on",
        *("tools/visualize_data.py", "--dataset", "synthetic_train"),
        *("--output", str(OUTPUT / "pictures/data")),
        seconds=10,
    )
    steps.run(
        "draw what it predicts",
        *("tools/visualize_predictions.py", "--config-file", config),
        *("--output", str(OUTPUT / "pictures/predictions")),
        seconds=20,
    )
    steps.run(
        "write the report",
        *("tools/report.py", str(OUTPUT / "initial_masks"), str(OUTPUT / "cfrsam")),
        *("--output", str(OUTPUT / "report.html")),
        seconds=20,
    )


def report(start: float) -> int:
    """Print where everything is and how good it is; 1 if that is worse than it should be."""
    refined = scores(OUTPUT / "cfrsam", TEST_SET)
    initial = scores(OUTPUT / "initial_masks", TEST_SET)
    bpq, initial_bpq = (each["segmentation"]["bPQ"] for each in (refined, initial))
    f1_detection = refined["detection"]["F1"]
    print(f"\nTables:   {OUTPUT}/cfrsam/inference/{TEST_SET}/")
    print(f"Pictures: {OUTPUT}/pictures/")
    print(f"Report:   {OUTPUT}/report.html, refined masks beside initial ones")
    problems = []
    if bpq < LEAST_BPQ:
        problems.append(f"bPQ {bpq:.4f} is below {LEAST_BPQ}")
    if f1_detection < LEAST_F1_DETECTION:
        problems.append(f"detection F1 {f1_detection:.4f} is below {LEAST_F1_DETECTION}")
    if bpq < initial_bpq:
        problems.append(f"refined masks score below initial ones ({bpq:.4f} < {initial_bpq:.4f})")
    for problem in problems:
        print(f"FAILED: {problem}")
    print(
        f"train-demo: bPQ={bpq:.4f} mPQ={refined['segmentation']['mPQ']:.4f} "
        f"F1_detection={f1_detection:.4f} bPQ_initial={initial_bpq:.4f} "
        f"minutes={(time.monotonic() - start) / 60:.1f}"
    )
    return 1 if problems else 0


def main(arguments: Sequence[str] | None = None) -> None:
    build_parser(__doc__).parse_args(arguments)
    start = time.monotonic()
    run_steps(Steps(OUTPUT, 6))
    sys.exit(report(start))


if __name__ == "__main__":
    main()
