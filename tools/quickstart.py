#!/usr/bin/env python
"""Find the nuclei of real tissue with the small model of the project, and see the whole way work.

    python tools/quickstart.py

Everything is written below output/quickstart/, and nothing is opened. Training is cut short: it
shows that both stages run. It ends with status 1 if the model finds fewer nuclei, or scores worse
on annotated synthetic tissue, than it should.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from cfrsam_d2.apps.steps import ROOT, Steps, scores
from cfrsam_d2.command_line import build_parser

OUTPUT = Path("output/quickstart")
REGION = "datasets/example/cmu1_region.tif"
MODEL = "configs/small/shipped.yaml"
ANNOTATED = "custom_annotated"
ITERATIONS = 12
LEAST_NUCLEI = 250
LEAST_BPQ = 0.50
LEAST_F1_DETECTION = 0.75


def run_steps(steps: Steps) -> None:
    """Predict, score, train a little of both stages, and write a report."""
    steps.run(
        "find the nuclei of a region of a real slide (CMU-1, skin, 20×)",
        *("tools/predict.py", REGION, "--output", str(OUTPUT / "tissue")),
        *("--formats", "geojson", "csv", "overlay"),
        seconds=25,
    )
    scored = (
        *("DATASETS.CUSTOM.ANNOTATED.JSON", "datasets/example/annotated/nuclei.json"),
        *("DATASETS.CUSTOM.ANNOTATED.IMAGES", "datasets/example/annotated/images"),
    )
    steps.run(
        "score the same model on annotated synthetic tissue, which it has never seen",
        *("train_net.py", "--config-file", MODEL, "--eval-only", *scored),
        *("DATASETS.TEST", f"('{ANNOTATED}',)", "OUTPUT_DIR", str(OUTPUT / "scored")),
        seconds=15,
    )
    steps.run(
        "write a report about these scores",
        *("tools/report.py", str(OUTPUT / "scored"), "--output", str(OUTPUT / "report.html")),
        seconds=8,
    )
    learner = OUTPUT / "prompt_learner"
    for stage in ("prompt_learner", "cfrsam"):
        shutil.rmtree(ROOT / OUTPUT / stage, ignore_errors=True)  # an earlier training
        steps.train(
            f"train stage {1 + (stage == 'cfrsam')} for {ITERATIONS} iterations, and evaluate it",
            *("train_net.py", "--config-file", f"configs/train_demo/{stage}.yaml"),
            *("DATASETS.VAL", "()", "DATASETS.TEST", "('synthetic_val',)"),
            *("SOLVER.MAX_ITER", str(ITERATIONS), "SOLVER.STEPS", "()"),
            *("SOLVER.WARMUP_ITERS", "0", "OUTPUT_DIR", str(OUTPUT / stage)),
            *("MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS", str(learner / "model_final.pth")),
            folder=OUTPUT / stage,
            iterations=ITERATIONS,
        )


def count_nuclei() -> int:
    """By the lines of the table that `tools/predict.py` has written."""
    table = ROOT / OUTPUT / "tissue" / "cmu1_region.csv"
    return len(table.read_text().splitlines()) - 1


def report(start: float) -> int:
    """Print where everything is and what it means; 1 if it is worse than it should be."""
    nuclei, scored = count_nuclei(), scores(OUTPUT / "scored", ANNOTATED)
    bpq, f1_detection = scored["segmentation"]["bPQ"], scored["detection"]["F1"]
    rows = [
        (
            f"{nuclei} nuclei of real tissue",
            "for QuPath: drag it onto the image",
            "tissue/cmu1_region.geojson",
        ),
        ("", "a table: place, class and score of each", "tissue/cmu1_region.csv"),
        ("", "drawn onto the image", "tissue/cmu1_region_overlay.png"),
        (f"bPQ {bpq:.3f}", "panoptic quality of the masks, 0 to 1", "report.html"),
        (f"detection F1 {f1_detection:.3f}", "of found and missed nuclei, 0 to 1", "report.html"),
        ("both stages trained", "a few iterations: no scores to go by", "cfrsam/"),
    ]
    print("\n" + tabulate(rows, ("result", "what it is", f"below {OUTPUT}/")))
    print("\nThe scores are on synthetic tissue; docs/model-card.md has those on real tissue.")
    bounds = {
        "nuclei": (nuclei, LEAST_NUCLEI),
        "bPQ": (bpq, LEAST_BPQ),
        "F1_detection": (f1_detection, LEAST_F1_DETECTION),
    }
    failed = [name for name, (value, least) in bounds.items() if value < least]
    for name in failed:
        print(f"FAILED: {name} is {bounds[name][0]:.4g}, below {bounds[name][1]}")
    print(
        f"quickstart: nuclei={nuclei} bPQ={bpq:.4f} F1_detection={f1_detection:.4f} "
        f"minutes={(time.monotonic() - start) / 60:.1f}"
    )
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> None:
    build_parser(__doc__).parse_args(arguments)
    start = time.monotonic()
    run_steps(Steps(OUTPUT, 5))
    sys.exit(report(start))


if __name__ == "__main__":
    main()
