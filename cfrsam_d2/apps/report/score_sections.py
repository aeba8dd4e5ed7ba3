"""Sections of tables: scores, differences between runs, confusion of classes.

A section takes the comparison and gives HTML, or "" where it has nothing to say.
"""

from collections.abc import Mapping, Sequence

from ...evaluation import bootstrap
from ...evaluation.paper_scores import paper_metrics
from . import tables
from .comparison import Comparison, statistics
from .names import score_name


def scores(comparison: Comparison) -> str:
    """Tables of metrics.json, the paper's numbers beside them."""
    ours = {run.name: run.metrics for run in comparison.runs}
    paper = paper_metrics(comparison.dataset.name)
    content = ""
    groups = {"segmentation": ("score", "Segmentation"), "class_pq": ("class", "PQ of classes")}
    for group, (corner, caption) in groups.items():
        columns = _columns("here", group, ours) + _columns("paper", group, paper, is_paper=True)
        content += _score_table(caption, corner, columns)
    lost = []
    for group, title in (("lost_bpq", "lost of bPQ"), ("lost_mpq", "lost of mPQ")):
        lost += _columns(title, group, ours)
    content += _score_table("What is missing to 1", "error", lost)
    tissues = []
    for group, title in (("tissue_bpq", "bPQ"), ("tissue_mpq", "mPQ")):
        tissues += _columns(title, group, ours) + _columns(title, group, paper, is_paper=True)
    content += _score_table("Tissues", "tissue", tissues)
    detection = []
    for score in ("P", "R", "F1"):
        for models, is_paper in ((ours, False), (paper, True)):
            of_score = {model: _detection(metrics, score) for model, metrics in models.items()}
            detection += _columns(score, "nuclei", of_score, is_paper=is_paper)
    content += _score_table("Detection and classification", "nuclei", detection)
    note = (
        "<p>PanNuke's numbers of the paper are means over its three splits, and its detection is "
        "that of stage 1's points.</p>"
        if "CFR-SAM-B" in paper
        else ""
    )
    return f'{note}<div class="tables">{content}</div>'


def intervals(comparison: Comparison) -> str:
    """Each run's scores with their intervals, and what several seeds of one config vary."""
    tissues = comparison.tissues
    weights = bootstrap.resamples(tissues)
    of_runs = {}
    for run, analysis in zip(comparison.runs, comparison.analyses, strict=True):
        of_scores = statistics(run, analysis, tissues)
        of_runs[run.name] = {
            name: bootstrap.interval(statistic, weights) for name, statistic in of_scores.items()
        }
    content = tables.interval_table("Scores with intervals", of_runs)
    for runs in comparison.seeds:
        content += tables.seed_table(
            f"Over {len(runs)} seeds: {', '.join(runs)}", [of_runs[name] for name in runs]
        )
    return (
        f"<p>The interval is the middle 95 % of {bootstrap.NUM_RESAMPLES:,} resamples of images, "
        "as many of each tissue as there are. Runs that differ in their SEED alone have their mean "
        f'and standard deviation below.</p><div class="tables">{content}</div>'
    )


def differences(comparison: Comparison) -> str:
    """Every other run against the first one, with intervals."""
    first, *others = zip(comparison.runs, comparison.analyses, strict=True)
    if not others:
        return ""
    tissues = comparison.tissues
    weights = bootstrap.resamples(tissues)
    of_first = statistics(*first, tissues)
    content = ""
    for run, analysis in others:
        of_other = statistics(run, analysis, tissues)
        compared = {
            name: bootstrap.compare(of_first[name], of_other[name], weights)
            for name in of_first
            if name in of_other
        }
        content += tables.difference_table(
            f"{run.name} against {first[0].name}", first[0].name, run.name, compared
        )
    return (
        "<p>The difference is that of the second run from the first. The interval is the middle "
        f"95 % of {bootstrap.NUM_RESAMPLES:,} resamples of the images, the same for both runs; "
        "where it holds zero, these images do not decide. It knows nothing of how much a score "
        f'varies from training to training.</p><div class="tables">{content}</div>'
    )


def classes(comparison: Comparison) -> str:
    """Confusion of classes."""
    content = "".join(
        tables.confusion_table(
            f"Classes, {run.name}",
            analysis.confusions.sum(axis=0),
            comparison.dataset.class_names,
            analysis.unknown.sum(axis=0),
        )
        for run, analysis in zip(comparison.runs, comparison.analyses, strict=True)
    )
    return (
        "<p>Nuclei are paired by centroid, as for the table of detection and classification. Cells "
        f'are shaded by their share of the row.</p><div class="tables">{content}</div>'
    )


def _columns(
    group: str, metrics_group: str, models: Mapping[str, Mapping], *, is_paper: bool = False
) -> list[tables.Column]:
    return [
        tables.Column(
            group,
            name,
            {score_name(key): value for key, value in metrics[metrics_group].items()},
            is_paper,
        )
        for name, metrics in models.items()
        if metrics.get(metrics_group)
    ]


def _detection(metrics: Mapping[str, Mapping], score: str) -> dict[str, dict[str, float | None]]:
    """One score of all nuclei and of those of each class, as a group of its own."""
    of_classes = metrics.get("classification", {})
    prefix = f"{score}_"
    values = {
        name.removeprefix(prefix): value
        for name, value in of_classes.items()
        if name.startswith(prefix)
    }
    of_all = metrics.get("detection", {})
    return {"nuclei": {"all": of_all[score], **values} if of_all else {}}


def _score_table(caption: str, corner: str, columns: Sequence[tables.Column]) -> str:
    """Of the rows in which a run here has a value: the paper's other tissues say nothing of it."""
    ours = [column for column in columns if not column.is_paper]
    names = dict.fromkeys(name for column in ours for name in column.values)
    rows = [name for name in names if any(column.values.get(name) is not None for column in ours)]
    return tables.score_table(caption, corner, rows, columns) if rows else ""
