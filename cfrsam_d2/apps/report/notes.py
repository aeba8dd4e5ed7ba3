"""Why parts of a report are missing: what the dataset and the runs have not."""

import numpy as np

from ...structures.coco import UNKNOWN_CLASS
from .comparison import Comparison
from .error_analysis import ErrorAnalysis
from .run import Run


def notes(comparison: Comparison) -> list[str]:
    """Sentences of plain text about a dataset and runs that lack something."""
    pairs = zip(comparison.runs, comparison.analyses, strict=True)
    return [*_of_dataset(comparison), *(note for pair in pairs for note in _of_run(*pair))]


def _of_dataset(comparison: Comparison) -> list[str]:
    dataset = comparison.dataset
    present = {each["category_id"] for image in dataset.images for each in image["annotations"]}
    if not present:
        return [f"{dataset.name} has no nuclei: scores that need some are missing."]
    if present == {UNKNOWN_CLASS}:
        return [
            f"The nuclei of {dataset.name} are of unknown class: scores of classes are missing."
        ]
    absent = [name for index, name in enumerate(dataset.class_names) if index not in present]
    return [f"{dataset.name} has no nuclei of {', '.join(absent)}."] if absent else []


def _of_run(run: Run, analysis: ErrorAnalysis) -> list[str]:
    found = []
    if not any(run.predictions):
        found.append(f"{run.name} predicts no nuclei.")
    elif analysis.outlines is not None and not np.any(analysis.outlines.pred_matched):
        found.append(f"No prediction of {run.name} matches a nucleus (IoU above 0.5).")
    if not run.curves:
        found.append(f"{run.name} has no training curves: its folder has no metrics.json of them.")
    if run.unreadable_lines:
        found.append(
            f"{run.unreadable_lines} lines of the metrics.json of {run.name} cannot be read and "
            "are left out, as a training that is killed or has no room leaves half of one."
        )
    return found
