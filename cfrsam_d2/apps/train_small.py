"""What `tools/train_small.py` does: data, both stages and the file of weights, in turn."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint.files import averaged_weights, read_checkpoint, write_checkpoint
from ..checkpoint.half_precision import write_half_precision
from ..data.builtin import dataset_root
from ..errors import UserError
from .steps import ROOT

CLASSES = "datasets/pannuke_classes.yaml"
OUTPUT = Path("output/small")
# What safetensors keep beside the weights.
METADATA = {
    "license": "research use only; not under Apache-2.0 (docs/model-card.md)",
    "data": "CoNSeP in PanNuke's layout (research use), Data Science Bowl 2018 (CC0), MoNuSeg "
    "(CC BY-NC-SA 4.0), CPM-17 (challenge data, research use)",
}


@dataclass
class Sources:
    """Where the data are: folders."""

    pannuke: Path
    dsb2018: Path
    monuseg: Path
    cpm17: Path


def train_small(sources: Sources, *, trial: bool) -> None:
    """Do what is not done.

    Both stages are trained on the data of the trial, and scored; then go on with all data.

    Args:
        sources: of the data.
        trial: end with the scores.

    Raises:
        UserError: data are missing, or a step has ended with an error.
    """
    prepare_data(sources)
    train("prompt_learner")
    train("cfrsam")
    if trial:
        return
    train("prompt_learner_all")
    join_stages("cfrsam", "prompt_learner_all", "cfrsam_all_start")
    train("cfrsam_all")
    weights = OUTPUT / "cfrsam_small.safetensors"
    write_half_precision(final("cfrsam_all"), ROOT / weights, METADATA)
    print(f"The weights are in {weights}")


def train(name: str) -> None:
    """Train the config of a name, from where it stopped, unless it has ended."""
    if not final(name).is_file():
        run("train_net.py", "--resume", "--config-file", f"configs/small/{name}.yaml")


def final(name: str) -> Path:
    """The weights that a training ends with."""
    return ROOT / OUTPUT / name / "model_final.pth"


def join_stages(whole: str, learner: str, name: str) -> None:
    """Write the whole of one training with the stage 1 of another, which is what it starts from."""
    weights = averaged_weights(read_checkpoint(str(final(whole))))
    stage1 = averaged_weights(read_checkpoint(str(final(learner))))
    write_checkpoint(str(ROOT / OUTPUT / f"{name}.pth"), {"model": {**weights, **stage1}})


def prepare_data(sources: Sources) -> None:
    """Make what the configs name, as far as it is not there."""
    prepare = "datasets/prepare.py"
    commands = {
        "pannuke/fold3": (prepare, "pannuke", str(sources.pannuke)),
        "monuseg_unknown/test": (prepare, "monuseg", str(sources.monuseg), "--classes", CLASSES),
        "cpm17_unknown/test": (prepare, "cpm17", str(sources.cpm17), "--classes", CLASSES),
        "dsb2018/train": (prepare, "dsb2018", str(sources.dsb2018), "--classes", CLASSES),
    }
    for name, command in commands.items():
        if not (dataset_root() / name / "nuclei.json").is_file():
            run(*command)


def run(*command: str) -> None:
    """Run a script of the project from its root.

    Raises:
        UserError: it ended with an error.
    """
    print(f"$ python {' '.join(command)}", flush=True)
    status = subprocess.run([sys.executable, *command], cwd=ROOT).returncode
    if status:
        raise UserError(
            f"{command[0]} ended with status {status}: see what it said above; the same command "
            "goes on"
        )
