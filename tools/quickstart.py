#!/usr/bin/env python
"""See the whole method work on a CPU: both stages trained, evaluation, pictures, a report.

    python tools/quickstart.py

Everything is made on the spot, in minutes, below output/quickstart/: the images are synthetic, the
networks small and trained from scratch. It ends with status 1 if the scores are below what the
method reaches on these data.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from tqdm import tqdm

from cfrsam_d2.command_line import build_parser

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = "configs/quickstart"
OUTPUT = Path("output/quickstart")
TEST_SET = "synthetic_test"
LEAST_BPQ = 0.60
LEAST_F1_DETECTION = 0.80


def run_step(title: str, *command: str, trains: str | None = None) -> None:
    """Run a Python command from the project's root, its output into a log.

    Args:
        title: names the step and its log.
        command: script and arguments.
        trains: the stage that the command trains, whose iterations then move a progress bar.
    """
    print(f"$ python {' '.join(command)}", flush=True)
    log = ROOT / OUTPUT / f"{title}.log"
    if trains is not None:
        shutil.rmtree(metrics_file(trains).parent, ignore_errors=True)  # an earlier training
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        if trains is not None:
            show_progress(process, trains)
        process.wait()
    if process.returncode:
        print("\n".join(log.read_text().splitlines()[-20:]), file=sys.stderr)
        sys.exit(f"error: {title} failed: the whole output is in {log}")


def show_progress(process: subprocess.Popen, stage: str) -> None:
    """Move a bar with the iterations in the JSON lines that a training writes."""
    metrics = metrics_file(stage)
    config = yaml.safe_load((ROOT / CONFIGS / f"{stage}.yaml").read_text())
    with tqdm(total=config["SOLVER"]["MAX_ITER"], desc=stage, unit="it") as bar:
        while process.poll() is None:
            time.sleep(1)
            text = metrics.read_text() if metrics.is_file() else ""
            lines = text.rpartition("\n")[0].splitlines()  # the last may be half written
            if lines:
                bar.update(json.loads(lines[-1])["iteration"] + 1 - bar.n)


def metrics_file(stage: str) -> Path:
    return ROOT / OUTPUT / stage / "metrics.json"


def scores(folder: Path) -> dict[str, dict[str, float]]:
    return json.loads((ROOT / folder / "inference" / TEST_SET / "metrics.json").read_text())


def main(arguments: Sequence[str] | None = None) -> None:
    build_parser(__doc__).parse_args(arguments)
    start = time.monotonic()
    (ROOT / OUTPUT).mkdir(parents=True, exist_ok=True)
    for stage in ("prompt_learner", "cfrsam"):
        config = f"{CONFIGS}/{stage}.yaml"
        run_step(f"train_{stage}", "train_net.py", "--config-file", config, trains=stage)
    run_step(
        "evaluate_initial_masks",
        *("train_net.py", "--config-file", config, "--eval-only"),
        *("MODEL.WEIGHTS", str(OUTPUT / "cfrsam/model_best.pth")),
        *("MODEL.MASK_HEAD.FINAL_MASK", "initial", "OUTPUT_DIR", str(OUTPUT / "initial_masks")),
    )
    run_step(
        "draw_data",
        *("tools/visualize_data.py", "--dataset", "synthetic_train"),
        *("--output", str(OUTPUT / "pictures/data")),
    )
    run_step(
        "draw_predictions",
        *("tools/visualize_predictions.py", "--config-file", config),
        *("--output", str(OUTPUT / "pictures/predictions")),
    )
    run_step(
        "write_report",
        *("tools/report.py", str(OUTPUT / "cfrsam"), str(OUTPUT / "initial_masks")),
        *("--output", str(OUTPUT / "report.html")),
    )
    sys.exit(report(start))


def report(start: float) -> int:
    """Print where everything is and how good it is; 1 if that is worse than it should be."""
    refined, initial = scores(OUTPUT / "cfrsam"), scores(OUTPUT / "initial_masks")
    bpq, initial_bpq = (each["segmentation"]["bPQ"] for each in (refined, initial))
    f1_detection = refined["detection"]["F1"]
    print(f"Tables:   {OUTPUT}/cfrsam/inference/{TEST_SET}/")
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
        f"quickstart: bPQ={bpq:.4f} mPQ={refined['segmentation']['mPQ']:.4f} "
        f"F1_detection={f1_detection:.4f} bPQ_initial={initial_bpq:.4f} "
        f"minutes={(time.monotonic() - start) / 60:.1f}"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    main()
