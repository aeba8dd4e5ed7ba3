"""What `tools/cross_validate.py` does: both stages of three splits, one after the other."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..checkpoint.files import read_weights
from ..engine import load_config
from ..engine.checks import check_training
from ..engine.resuming import check_same_config
from ..engine.run_folder import last_checkpoint
from ..engine.weights import check_initial_weights
from ..errors import UserError
from ..evaluation.cross_validation import format_paper_tables, paper_tables
from ..evaluation.writers import write_csv
from ..files import write_json

ROOT = Path(__file__).resolve().parents[2]
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


def cross_validate(
    model: str, configs: Path, output: Path, options: Sequence[str], num_gpus: int
) -> None:
    """Train and score what is not done, and report.

    Args:
        model: "b" or "h".
        configs: the folder of the configs.
        output: the folder of all results.
        options: key, value, key, value, … for all trainings.
        num_gpus: of each training.

    Raises:
        UserError: a config, data or weights cannot be used, or a training has ended with an error.
    """
    stages = plan(model, configs, output, options)
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
            stage.run(num_gpus)
    report(model, stages, output / f"tables_{model}")
