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
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.checkpoint.files import read_weights
from cfrsam_d2.engine import load_config
from cfrsam_d2.engine.checks import check_training
from cfrsam_d2.engine.resuming import check_same_config
from cfrsam_d2.engine.run_folder import last_checkpoint
from cfrsam_d2.engine.weights import check_initial_weights
from cfrsam_d2.errors import UserError, exits_on_user_error
from cfrsam_d2.evaluation.cross_validation import format_paper_tables, paper_tables
from cfrsam_d2.evaluation.writers import write_csv
from cfrsam_d2.files import write_json

ROOT = Path(__file__).resolve().parents[1]
# By the folds that train, validate and test: the folder of a split's configs.
SPLITS = {"123": ".", "213": "pannuke/213", "321": "pannuke/321"}


class Stage:
    """A training with its evaluation, and what it has left in its output folder."""

    def __init__(self, config_file: Path, overrides: Sequence[str]) -> None:
        """
        Raises:
            UserError: the config cannot be used.
        """
        self.cfg = load_config(str(config_file), overrides)
        self.folder = Path(self.cfg.OUTPUT_DIR)
        self._config_file = config_file
        self._overrides = overrides

    @property
    def scores_file(self) -> Path:
        return self.folder / "inference" / self.cfg.DATASETS.TEST[0] / "metrics.json"

    def is_done(self) -> bool:
        """Whether it was trained to its end and scored after that."""
        final = self.folder / "model_final.pth"
        return (
            final.is_file()
            and self.scores_file.is_file()
            and self.scores_file.stat().st_mtime >= final.stat().st_mtime
        )

    def check_same(self) -> None:
        """
        Raises:
            UserError: the output folder has a training with another config.
        """
        if checkpoint := last_checkpoint(str(self.folder)):
            check_same_config(self.cfg, checkpoint, may_change=())

    def check_inputs(self) -> None:
        """
        Raises:
            UserError: data or weights are missing, or the config cannot be trained with.
        """
        check_training(self.cfg)
        check_initial_weights(self.cfg, resume=True)
        if self.cfg.MODEL.SAM.WEIGHTS:
            read_weights(self.cfg.MODEL.SAM.WEIGHTS)

    def run(self, num_gpus: int) -> None:
        """Train, from where it stopped, and score.

        Raises:
            UserError: it ended with an error.
        """
        command = [sys.executable, str(ROOT / "train_net.py"), "--resume"]
        command += ["--config-file", str(self._config_file), "--num-gpus", str(num_gpus)]
        status = subprocess.run([*command, *self._overrides]).returncode
        if status:
            raise UserError(
                f"the training in {self.folder} ended with status {status}: see its log.txt; the "
                "same command continues it"
            )


def plan(model: str, configs: Path, output: Path, options: Sequence[str]) -> dict[str, Stage]:
    """Both stages of each split by "split/stage", in the order in which they run.

    Raises:
        UserError: a config cannot be used.
    """
    stages = {}
    for split, folder in SPLITS.items():
        learner = output / split / "prompt_learner" / "model_best.pth"
        for name in ("prompt_learner", f"cfrsam_{model}"):
            overrides = [*options, "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS", str(learner)]
            overrides += ["OUTPUT_DIR", str(output / split / name)]
            stages[f"{split}/{name}"] = Stage(configs / folder / f"{name}.yaml", overrides)
    return stages


def report(model: str, stages: Mapping[str, Stage], folder: Path) -> None:
    """Print the paper's tables and write each as CSV, and all of them as tables.json."""
    scores = {name: json.loads(stage.scores_file.read_text()) for name, stage in stages.items()}
    masks = [scores[f"{split}/cfrsam_{model}"] for split in SPLITS]
    points = [scores[f"{split}/prompt_learner"] for split in SPLITS]
    tables = paper_tables(model, masks, points)
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", rows)
    write_json(folder / "tables.json", tables)
    print(f"\n{format_paper_tables(tables)}\n\nTables are in {folder}")


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("b", "h"), required=True, help="SAM ViT-B or ViT-H")
    parser.add_argument("--output", type=Path, default=Path("output/pannuke"))
    parser.add_argument("--configs", type=Path, default=ROOT / "configs")
    parser.add_argument("--num-gpus", type=int, default=1, help="of each training")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the files")
    args = parser.parse_args(arguments)
    stages = plan(args.model, args.configs, args.output, args.opts)
    for stage in stages.values():
        stage.check_same()
    print("checking data and weights", flush=True)
    for stage in stages.values():
        if not stage.is_done():
            stage.check_inputs()
    for number, (name, stage) in enumerate(stages.items(), start=1):
        done = stage.is_done()
        print(f"[{number}/{len(stages)}] {name}: {'done' if done else 'running'}", flush=True)
        if not done:
            stage.run(args.num_gpus)
    report(args.model, stages, args.output / f"tables_{args.model}")


if __name__ == "__main__":
    main()
