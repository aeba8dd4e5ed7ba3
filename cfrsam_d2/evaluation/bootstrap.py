"""Is one run better than another, or were the images kind to it? Paired bootstrap over images.

Images are drawn within their tissue: how many of each a data set has is no matter of chance, and no
tissue is ever left out of a mean over tissues.

B images, R resamples, K classes. A resample is a row of weights: how often each image was
drawn. A statistic takes weights (R, B) and gives (R,) values; weights of one give what is reported.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95

Statistic = Callable[[np.ndarray], np.ndarray]  # (R, B) to (R,)


class Interval(NamedTuple):
    """A score with the interval of the bootstrap."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A score of the second run minus that of the first, with the interval of the bootstrap."""

    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.second - self.first

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def resamples(tissues: Sequence[str], seed: int = 0) -> np.ndarray:
    """Draw images with replacement, R times: of each tissue as many as there are.

    Args:
        tissues: of each image.
        seed: of the draws.

    Returns:
        (R, B) weights.
    """
    rng = np.random.default_rng(seed)
    weights = np.zeros((NUM_RESAMPLES, len(tissues)))
    for tissue in dict.fromkeys(tissues):
        images = np.flatnonzero(np.asarray(tissues) == tissue)
        weights[:, images] = rng.multinomial(
            len(images), np.full(len(images), 1 / len(images)), size=NUM_RESAMPLES
        )
    return weights


def interval(statistic: Statistic, weights: np.ndarray) -> Interval:
    """The percentile interval of a score.

    Args:
        statistic: of the images.
        weights: (R, B), of `resamples`.
    """
    all_images = np.ones((1, weights.shape[1]))
    return Interval(float(statistic(all_images)[0]), *_middle(statistic(weights)))


def compare(first: Statistic, second: Statistic, weights: np.ndarray) -> Difference:
    """The percentile interval of a difference; both runs are resampled with the same images.

    Args:
        first: the statistic on the first run's images.
        second: the same on the second run's, in the same order.
        weights: (R, B), of `resamples`.
    """
    all_images = np.ones((1, weights.shape[1]))
    low, high = _middle(second(weights) - first(weights))
    return Difference(float(first(all_images)[0]), float(second(all_images)[0]), low, high)


def _middle(values: np.ndarray) -> tuple[float, float]:
    """Between what (R,) values lie but for the tails; NaN are left out."""
    known = values[~np.isnan(values)]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(known, (tail, 100 - tail)) if known.size else (np.nan, np.nan)
    return float(low), float(high)


def mean_over_images(scores: np.ndarray) -> Statistic:
    """The mean of (B,) scores; NaN are left out."""
    known = ~np.isnan(scores)
    values = np.where(known, scores, 0)

    return lambda weights: _ratio(weights @ values, weights @ known)


def mean_over_tissues(scores: np.ndarray, tissues: np.ndarray | Sequence[str]) -> Statistic:
    """The unweighted mean over tissues of the means of (B,) scores over their images.

    A tissue of which no image was drawn is left out of that resample.
    """
    tissues = np.asarray(tissues)
    of_tissues = [
        mean_over_images(np.where(tissues == tissue, scores, np.nan))
        for tissue in dict.fromkeys(tissues.tolist())
    ]

    def mean(weights: np.ndarray) -> np.ndarray:
        means = np.stack([of_tissue(weights) for of_tissue in of_tissues])
        known = ~np.isnan(means)
        return _ratio(np.where(known, means, 0).sum(axis=0), known.sum(axis=0))

    return mean


def pooled_f1(confusions: np.ndarray, unknown: np.ndarray | None = None) -> Statistic:
    """F1 of detection from counts, which are added over images.

    Args:
        confusions: (B, K+1, K+1), see `PairCounts`.
        unknown: (B, K+1), see `PairCounts`; None: there are no nuclei of unknown class.
    """
    tp = confusions[:, :-1, :-1].sum(axis=(1, 2))
    unpaired = confusions[:, -1].sum(axis=1) + confusions[:, :, -1].sum(axis=1)
    if unknown is not None:
        tp, unpaired = tp + unknown[:, :-1].sum(axis=1), unpaired + unknown[:, -1]

    return lambda weights: _ratio(weights @ (2 * tp), weights @ (2 * tp + unpaired))


def mean_class_f1(confusions: np.ndarray) -> Statistic:
    """The mean F1 of classification (`class_scores`) over the classes that nuclei of B images have.

    Args:
        confusions: (B, K+1, K+1), see `PairCounts`.
    """
    tp = np.diagonal(confusions, axis1=1, axis2=2)[:, :-1]  # (B, K)
    missed, found = confusions[:, :-1, -1], confusions[:, -1, :-1]
    wrong = confusions[:, :-1, :-1].sum(axis=1) + confusions[:, :-1, :-1].sum(axis=2) - 2 * tp
    present = confusions[:, :-1].sum(axis=(0, 2)) > 0

    def mean(weights: np.ndarray) -> np.ndarray:
        f1 = _ratio(weights @ (2 * tp), weights @ (2 * tp + 2 * wrong + missed + found))[:, present]
        return _ratio(np.nansum(f1, axis=1), np.isfinite(f1).sum(axis=1))

    return mean


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Their ratios; NaN where nothing was counted."""
    undefined = np.full(numerators.shape, np.nan)
    return np.divide(numerators, denominators, out=undefined, where=denominators > 0)
