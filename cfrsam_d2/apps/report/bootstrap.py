"""Is one run better than another, or were the images kind to it? Paired bootstrap over images.

B images, R resamples, K classes. A resample is a row of weights: how often each image was
drawn. A statistic takes weights (R, B) and gives (R,) values; weights of one give what is reported.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

NUM_RESAMPLES = 2000
CONFIDENCE = 0.95

Statistic = Callable[[np.ndarray], np.ndarray]  # (R, B) to (R,)


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


def resamples(num_images: int, seed: int = 0) -> np.ndarray:
    """Draw B of B images with replacement, R times: their (R, B) weights."""
    draws = np.random.default_rng(seed).integers(num_images, size=(NUM_RESAMPLES, num_images))
    offsets = num_images * np.arange(NUM_RESAMPLES)[:, None]
    counts = np.bincount((draws + offsets).ravel(), minlength=NUM_RESAMPLES * num_images)
    return counts.reshape(NUM_RESAMPLES, num_images).astype(np.float64)


def compare(first: Statistic, second: Statistic, weights: np.ndarray) -> Difference:
    """The percentile interval of a difference; both runs are resampled with the same images.

    Args:
        first: the statistic on the first run's images.
        second: the same on the second run's, in the same order.
        weights: (R, B), of `resamples`.
    """
    all_images = np.ones((1, weights.shape[1]))
    differences = second(weights) - first(weights)
    known = differences[~np.isnan(differences)]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(known, (tail, 100 - tail)) if known.size else (np.nan, np.nan)
    return Difference(
        float(first(all_images)[0]), float(second(all_images)[0]), float(low), float(high)
    )


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
