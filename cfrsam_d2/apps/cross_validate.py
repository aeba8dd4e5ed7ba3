"""What `tools/cross_validate.py` does: both stages of three splits, one after the other."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..evaluation.cross_validation import format_paper_tables, paper_tables
from ..evaluation.writers import write_csv
from ..files import write_json
from .stage import Stage, run_all

# By the folds that train, validate and test: the folder of a split's configs.
SPLITS = {"123": ".", "213": "pannuke/213", "321": "pannuke/321"}


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
    scores = {name: json.loads(stage.scores_file().read_text()) for name, stage in stages.items()}
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
    run_all(stages, num_gpus)
    report(model, stages, output / f"tables_{model}")
