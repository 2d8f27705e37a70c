"""Judge scores through histograms: additive over sites, and enough for every curve.

Scores are binned on the logit (-12 to 12, 256 bins), where the error of AUROC is about 1e-4; on the probability it is up to 100 times that.
A bin edge lies at logit 0, so accuracy at probability 0.5 is exact. Scores are checked finite first: a NaN would fall into a valid bin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from wardround.study.errors import DataError

BINS = 256
REACH = 12.0
HEAVIEST = 8  # a bootstrap weight is Poisson(1) cut here; one in a million is above it


def _middles() -> np.ndarray:
    logit = -REACH + (np.arange(BINS) + 0.5) * (2 * REACH / BINS)
    return np.asarray(np.rint(2.0**32 / (1 + np.exp(-logit))) / 2.0**32)  # rounded, so that every processor has the same numbers


MIDDLES = _middles()
GROUPS = np.minimum((MIDDLES * 10).astype(np.int64), 9)


def bins(logit: np.ndarray) -> np.ndarray:
    """Return the bin of each score, int64, 0 to 255.

    Raises:
        DataError: a score is not finite.
    """
    if not bool(np.all(np.isfinite(logit))):
        remedy = "Lower the learning rate, or look for inputs far outside the contract's ranges."
        raise DataError("The model gives scores that are not finite.", remedy)
    return np.clip(np.floor((logit + REACH) * (BINS / (2 * REACH))), 0, BINS - 1).astype(np.int64)


def histogram(logit: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return int64 [2, 256] (negatives, positives), or [R, 2, 256] with weights [R, N]."""
    place = bins(logit) + BINS * positive.astype(np.int64)
    if weights is None:
        return np.bincount(place, minlength=2 * BINS).reshape(2, BINS)
    out = np.zeros((2 * BINS, len(weights)), dtype=np.int64)
    np.add.at(out, place, weights.T)
    return np.ascontiguousarray(out.T).reshape(len(weights), 2, BINS)


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Return top / bottom, NaN where the bottom is not above 0."""
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), np.nan)


def auroc(hist: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of [..., 2, 256]; NaN without both classes. Ties within a bin count one half."""
    negative, positive = hist[..., 0, :].astype(np.float64), hist[..., 1, :].astype(np.float64)
    below = np.cumsum(negative, axis=-1) - negative
    return ratio(np.sum(positive * (below + 0.5 * negative), axis=-1), np.sum(positive, axis=-1) * np.sum(negative, axis=-1))


def auprc(hist: np.ndarray) -> np.ndarray:
    """Return the average precision of [..., 2, 256]; NaN without positives."""
    negative, positive = hist[..., 0, ::-1].astype(np.float64), hist[..., 1, ::-1].astype(np.float64)
    caught, flagged = np.cumsum(positive, axis=-1), np.cumsum(positive + negative, axis=-1)
    precision = np.where(flagged > 0, caught / np.where(flagged > 0, flagged, 1), 0.0)
    return ratio(np.sum(precision * positive, axis=-1), np.sum(positive, axis=-1))


def brier(hist: np.ndarray) -> np.ndarray:
    """Return the mean squared difference of probability and outcome, each score at the middle of its bin."""
    negative, positive = hist[..., 0, :].astype(np.float64), hist[..., 1, :].astype(np.float64)
    squares = negative * (MIDDLES * MIDDLES) + positive * ((1 - MIDDLES) * (1 - MIDDLES))
    return ratio(np.sum(squares, axis=-1), np.sum(negative + positive, axis=-1))


def calibration_error(hist: np.ndarray) -> np.ndarray:
    """Return the expected calibration error over ten groups of probability, 0 to 1.

    Source: Naeini, Cooper, Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
    """
    counts = hist[..., 0, :].astype(np.float64) + hist[..., 1, :]
    gaps = counts * MIDDLES - hist[..., 1, :]
    total = sum(np.abs(np.sum(gaps[..., group == GROUPS], axis=-1)) for group in range(10))
    return ratio(np.asarray(total), np.sum(counts, axis=-1))


def threshold(hist: np.ndarray, specificity: float) -> int:
    """Return the lowest bin from which on a score is called positive so that at least `specificity` of the negatives lie below it.

    Args:
        hist: [2, 256], of validation patients.
        specificity: above 0, below 1.
    """
    negative = hist[0].astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(negative)])
    if below[-1] == 0:
        return BINS // 2
    return int(np.argmax(below >= specificity * below[-1]))


def rates(hist: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sensitivity and specificity of [..., 2, 256] when bins from `first` on are called positive."""
    negative, positive = hist[..., 0, :].astype(np.float64), hist[..., 1, :].astype(np.float64)
    sensitivity = ratio(np.sum(positive[..., first:], axis=-1), np.sum(positive, axis=-1))
    return sensitivity, ratio(np.sum(negative[..., :first], axis=-1), np.sum(negative, axis=-1))


def accuracy(hist: np.ndarray) -> np.ndarray:
    """Return the share that is right when probability 0.5 and above is called positive; exact, since a bin begins there."""
    half = BINS // 2
    right = np.sum(hist[..., 1, half:], axis=-1) + np.sum(hist[..., 0, :half], axis=-1)
    return ratio(right, np.sum(hist, axis=(-1, -2)))


def balanced_accuracy(hist: np.ndarray) -> np.ndarray:
    """Return the mean of sensitivity and specificity at probability 0.5."""
    sensitivity, specificity = rates(hist, BINS // 2)
    return np.asarray((sensitivity + specificity) / 2)


MEASURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "auroc": auroc,
        "auprc": auprc,
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "brier": brier,
        "calibration_error": calibration_error,
    }
)
"""What a histogram [..., 2, 256] can be asked for, by name."""
