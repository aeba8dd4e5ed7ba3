"""What `tools/compare_levers.py` does: trainings with and without a change, and what it brings.

S seeds, B images of a test set, R resamples of them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..evaluation import bootstrap
from ..evaluation.tables import Row
from ..evaluation.writers import format_table, none_if_nan
from ..files import write_json
from .report import read_comparison
from .report.comparison import statistics
from .stage import Stage, run_all

SIDES = ("without", "with")
SCORES = ("bPQ", "mPQ", "F1 of detection", "mean F1 of classes")


def plan(
    configs: Sequence[Path],
    lever: Sequence[str],
    seeds: Sequence[int],
    output: Path,
    options: Sequence[str],
) -> dict[str, Stage]:
    """The trainings by "side/seed/config", in the order in which they run.

    Args:
        configs: of a training, or of stage 1 and of a stage 2 that takes its weights.
        lever: key, value, … of the trainings "with".
        seeds: of each side.
        output: the folder of all.
        options: key, value, … of all trainings.

    Raises:
        UserError: a config cannot be used.
    """
    stages = {}
    for seed in seeds:
        for side in SIDES:
            chain: list[str] = []
            for config in configs:
                folder = output / side / f"seed{seed}" / config.stem
                changes = [*options, *(lever if side == "with" else ())]
                overrides = [*changes, *chain, "SEED", str(seed), "OUTPUT_DIR", str(folder)]
                stages[f"{side}/seed{seed}/{config.stem}"] = Stage(config, overrides)
                chain = ["MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS", str(folder / "model_final.pth")]
    return stages


def compare_levers(
    configs: Sequence[Path],
    lever: Sequence[str],
    seeds: Sequence[int],
    output: Path,
    options: Sequence[str],
) -> None:
    """Train and score what is not done; print what the lever brings, and write it as lever.json.

    Args: see `plan`.

    Raises:
        UserError: see `plan`; data or weights cannot be used, a training has ended with an error,
            or the lever changes nothing.
    """
    stages = plan(configs, lever, seeds, output, options)
    of_seed = [stages[f"{side}/seed{seeds[0]}/{configs[-1].stem}"].cfg.clone() for side in SIDES]
    for cfg in of_seed:
        cfg.OUTPUT_DIR, cfg.MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS = "", ""
    if of_seed[0] == of_seed[1]:
        raise UserError(f"{' '.join(lever)} is what the configs have already: change something")
    run_all(stages)
    tables = {}
    for dataset in of_seed[0].DATASETS.TEST:
        without, with_lever = (
            [stages[f"{side}/seed{seed}/{configs[-1].stem}"].folder for seed in seeds]
            for side in SIDES
        )
        tables[dataset] = compare_sides(without, with_lever, dataset)
        print(
            f"\n{dataset}, {' '.join(lever)}, {len(seeds)} seeds\n\n{format_table(tables[dataset])}"
        )
    write_json(output / "lever.json", {"lever": list(lever), "scores": tables})


def compare_sides(without: Sequence[Path], with_lever: Sequence[Path], dataset: str) -> list[Row]:
    """The scores of both sides' runs on a dataset, and what differs.

    Args:
        without: S output folders.
        with_lever: S of the same seeds.
        dataset: on which all were evaluated.

    Returns:
        A row of each score: means over seeds, their difference, its 95 % interval by a bootstrap
        over images (the same for all runs), and the standard deviation over seeds; None where
        there is none.
    """
    comparison = read_comparison([*without, *with_lever], dataset)
    tissues = comparison.tissues
    weights = bootstrap.resamples(tissues)
    of_runs = [
        statistics(run, analysis, tissues)
        for run, analysis in zip(comparison.runs, comparison.analyses, strict=True)
    ]
    first, second = of_runs[: len(without)], of_runs[len(without) :]
    return [_row(name, first, second, weights) for name in SCORES if name in of_runs[0]]


def _row(
    name: str,
    without: Sequence[dict[str, bootstrap.Statistic]],
    with_lever: Sequence[dict[str, bootstrap.Statistic]],
    weights: np.ndarray,
) -> Row:
    first, second = ([of_run[name] for of_run in side] for side in (without, with_lever))
    difference = bootstrap.compare(_mean(first), _mean(second), weights)
    all_images = np.ones((1, weights.shape[1]))
    of_seeds = [
        float(b(all_images)[0] - a(all_images)[0]) for a, b in zip(first, second, strict=True)
    ]
    numbers = {
        "without": difference.first,
        "with": difference.second,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "std over seeds": float(np.std(of_seeds, ddof=1)) if len(of_seeds) > 1 else float("nan"),
    }
    return {"score": name, **{key: none_if_nan(each) for key, each in numbers.items()}}


def _mean(of_seeds: Sequence[bootstrap.Statistic]) -> bootstrap.Statistic:
    return lambda weights: np.mean([statistic(weights) for statistic in of_seeds], axis=0)
