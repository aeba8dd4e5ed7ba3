"""How sure scores are: 95 % intervals over images, drawn anew within each tissue.

B images, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from . import bootstrap
from .image_scores import ImageScores
from .tables import Row, image_table


def score_statistics(
    image_scores: Mapping[str, np.ndarray],
    confusions: np.ndarray,
    unknown: np.ndarray,
    tissues: Sequence[str],
) -> dict[str, bootstrap.Statistic]:
    """Scores of metrics.json, by their names there, as functions of the images' weights.

    Args:
        image_scores: columns of `image_table`, (B,) each; without "bPQ" points alone were
            predicted.
        confusions: (B, K+1, K+1), see `PairCounts`.
        unknown: (B, K+1), see `PairCounts`.
        tissues: of each image.
    """
    statistics = {}
    if "bPQ" in image_scores:
        for name in ("bPQ", "mPQ"):
            scores = image_scores[name]
            statistics[name] = bootstrap.mean_over_tissues(scores, tissues)
            statistics[f"{name}_image"] = bootstrap.mean_over_images(scores)
        for name in ("DQ", "SQ", "AJI", "AJI+"):
            statistics[name] = bootstrap.mean_over_images(image_scores[name])
        for name, values in image_scores.items():
            if name.startswith("PQ_"):
                statistics[name] = bootstrap.mean_over_images(values)
    statistics["F1"] = bootstrap.pooled_f1(confusions, unknown)
    statistics["mean F1 of classes"] = bootstrap.mean_class_f1(confusions)
    return statistics


def interval_table(images: Sequence[ImageScores], class_names: Sequence[str]) -> list[Row]:
    """One row per score: its value, and the middle 95 % of resamples of the images."""
    rows = image_table(images, class_names)
    columns = [name for name, value in rows[0].items() if isinstance(value, float)]
    scores = {name: np.array([row[name] for row in rows], np.float64) for name in columns}
    tissues = [image.tissue for image in images]
    statistics = score_statistics(
        scores,
        np.stack([image.confusion for image in images]),
        np.stack([image.unknown_counts for image in images]),
        tissues,
    )
    weights = bootstrap.resamples(tissues)
    return [
        {"score": name, **bootstrap.interval(statistic, weights)._asdict()}
        for name, statistic in statistics.items()
    ]
