"""Trainings that other programs run one after the other, where they are not done."""

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
from .steps import ROOT


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

    def scores_file(self, number: int = 0) -> Path:
        """The scores on one of DATASETS.TEST."""
        return self.folder / "inference" / self.cfg.DATASETS.TEST[number] / "metrics.json"

    def is_done(self) -> bool:
        """Whether it was trained to its end and scored after that."""
        final = self.folder / "model_final.pth"
        scores = [self.scores_file(i) for i in range(len(self.cfg.DATASETS.TEST))]
        return final.is_file() and all(
            path.is_file() and path.stat().st_mtime >= final.stat().st_mtime for path in scores
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


def run_all(stages: Mapping[str, Stage], num_gpus: int = 1) -> None:
    """Check all of them; then train and score what is not done.

    Args:
        stages: by the name that is shown.
        num_gpus: of each training.

    Raises:
        UserError: a config, data or weights cannot be used, or a training has ended with an error.
    """
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
