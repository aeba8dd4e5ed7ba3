"""Runs on one dataset, side by side: all that a report is made of."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...evaluation import bootstrap
from ...evaluation.detection import detection_scores
from ...evaluation.intervals import score_statistics
from .error_analysis import ErrorAnalysis, Outlines, analyze_errors
from .names import score_name
from .run import Dataset, Run, read_runs


class Comparison(NamedTuple):
    """Runs that were evaluated on one dataset.

    Attributes:
        dataset: the ground truth.
        runs: the first is what others are compared with.
        analyses: of each run.
    """

    dataset: Dataset
    runs: Sequence[Run]
    analyses: Sequence[ErrorAnalysis]

    @property
    def tissues(self) -> list[str]:
        """Of each image."""
        return [image.get("tissue", "unknown") for image in self.dataset.images]

    @property
    def seeds(self) -> list[list[str]]:
        """The names of runs that differ in their seed alone, two or more together."""
        by_recipe: dict[Any, list[Run]] = {}
        for run in self.runs:
            by_recipe.setdefault((run.recipe, run.has_masks), []).append(run)
        return [
            [run.name for run in runs]
            for runs in by_recipe.values()
            if len({run.seed for run in runs}) == len(runs) > 1
        ]

    @property
    def with_masks(self) -> list[tuple[Run, ErrorAnalysis]]:
        """The runs that predict masks."""
        pairs = zip(self.runs, self.analyses, strict=True)
        return [(run, analysis) for run, analysis in pairs if run.has_masks]

    def of_masks(self, make: Callable[[Run, Outlines], Any]) -> dict[str, Any]:
        """Something made of each run's masks, by its name; None of a run without masks."""
        pairs = zip(self.runs, self.analyses, strict=True)
        return {
            run.name: None if analysis.outlines is None else make(run, analysis.outlines)
            for run, analysis in pairs
        }

    @property
    def image_scores(self) -> tuple[str, list[np.ndarray]]:
        """The score that ranks images, and its (B,) values of each run."""
        if len(self.with_masks) == len(self.runs):
            return "bPQ", [run.image_scores["bPQ"] for run in self.runs]
        return "F1", [
            np.array(
                [
                    detection_scores(*counts).f1
                    for counts in zip(analysis.confusions, analysis.unknown, strict=True)
                ]
            )
            for analysis in self.analyses
        ]


def read_comparison(folders: Sequence[Path], dataset_name: str | None = None) -> Comparison:
    """Read runs and compare their predictions with the ground truth.

    Args:
        folders: the OUTPUT_DIR of each.
        dataset_name: None: the first of the first run's DATASETS.TEST.

    Raises:
        UserError: see `read_runs`.
    """
    dataset, runs = read_runs(folders, dataset_name)
    analyses = [
        analyze_errors(
            dataset.images,
            run.predictions,
            len(dataset.class_names),
            has_masks=run.has_masks,
        )
        for run in runs
    ]
    return Comparison(dataset, runs, analyses)


def statistics(
    run: Run, analysis: ErrorAnalysis, tissues: Sequence[str]
) -> dict[str, bootstrap.Statistic]:
    """Statistics to compare runs by: scores of metrics.json as functions of the images' weights."""
    scores = run.image_scores if run.has_masks else {}
    of_keys = score_statistics(scores, analysis.confusions, analysis.unknown, tissues)
    return {score_name(key): statistic for key, statistic in of_keys.items()}
