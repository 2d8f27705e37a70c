"""Judge predicted numbers through counts of their errors: additive over sites, and enough for intervals and calibration.

A prediction interval is conformal: so wide that it would have held the given share of the *validation* patients; on test patients the share
that it then holds, its coverage, is counted. Errors are counted in bins that widen by a fixed ratio, so that a label whose spread is a
thousandth of the contract's range has fine bins too; the end of an interval is the upper end of a bin, at most 3 % too wide.

Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., Distribution-free predictive inference for
regression, JASA 2018, section 2.2 (split conformal); Lu et al., Federated conformal predictors, ICML 2023 (one quantile for all sites).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wardround.learning.questions.curves import ratio

PREDICTED = 128
"""Bins of equal width over the contract's range in which predictions are counted."""

LABELS = 512
"""The same of the label itself, for what guessing would give."""

GROUPS = 10
_OCTAVES, _IN_OCTAVE = 12, 24
ENDS = 2.0 ** (np.arange(-_OCTAVES * _IN_OCTAVE, 1) / _IN_OCTAVE)
"""Upper ends of the bins of an error's size, as parts of the contract's range; the last is the range itself."""

_BELOW = np.concatenate([-ENDS[-2::-1], [0.0]])
SIGNED_ENDS = np.concatenate([_BELOW, ENDS])
"""The same where it matters whether the label lies below (first half) or above the prediction."""


def places(error: np.ndarray, span: float, signed: bool) -> np.ndarray:
    """Return int64 [N], the bin of each error (label minus prediction) of at most `span` in size."""
    size = np.minimum(np.searchsorted(ENDS * span, np.abs(error), side="left"), len(ENDS) - 1)
    return np.asarray(np.where(error < 0, len(ENDS) - 1 - size, len(ENDS) + size) if signed else size).astype(np.int64)


def equal_bins(values: np.ndarray, span: tuple[float, float], count: int) -> np.ndarray:
    """Return int64 [N], the bin of each value among `count` equal ones; values beyond the range go to its ends."""
    return np.clip(np.floor((values - span[0]) / (span[1] - span[0]) * count), 0, count - 1).astype(np.int64)


def counted(place: np.ndarray, bins: int, weights: np.ndarray | None, each: np.ndarray | None = None) -> np.ndarray:
    """Return counts by bin [bins], or the sums of a number by bin; with weights [R, N] a leading axis of R."""
    if weights is None:
        return np.bincount(place, weights=each, minlength=bins)
    out = np.zeros((bins, len(weights)), dtype=np.int64 if each is None else np.float64)
    np.add.at(out, place, weights.T if each is None else (weights * each).T)
    return np.ascontiguousarray(out.T)


def conformal_bin(validation: np.ndarray, share: float) -> int | None:
    """Return the bin up to which an interval reaches so that it holds `share` of future rows; None where validation rows are too few.

    It is that of the error of rank ceil((n + 1) share) among n.

    Args:
        validation: counts of errors by bin.
        share: above 0, below 1.
    """
    upto = np.cumsum(validation)
    rank = math.ceil((int(upto[-1]) + 1) * share - 1e-9)
    return None if rank > upto[-1] else int(np.argmax(upto >= rank))


def held(test: np.ndarray, upto: int | None) -> np.ndarray:
    """Return the share of [..., bins] that an interval holds which reaches up to a bin; NaN without such a bin or without rows."""
    total = np.sum(test, axis=-1)
    if upto is None:
        return np.full(total.shape, np.nan)
    return ratio(np.sum(test[..., : upto + 1], axis=-1), total)


def calibration_gap(binned: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Return by how much mean prediction and mean label differ, on average over ten groups of equal size by the prediction.

    Args:
        binned: counts of rows by bin of the prediction, [..., PREDICTED].
        gap: sums of label minus prediction by bin.
    """
    counts = binned.astype(np.float64)
    total = np.sum(counts, axis=-1)
    middle = np.cumsum(counts, axis=-1) - counts / 2
    group = np.floor(GROUPS * middle / np.where(total > 0, total, 1)[..., None])
    apart = sum(np.abs(np.sum(np.where(group == number, gap, 0.0), axis=-1)) for number in range(GROUPS))
    return ratio(np.asarray(apart), total)


def calibration_groups(binned: np.ndarray, gap: np.ndarray, predicted: np.ndarray, least: int) -> list[dict[str, Any]]:
    """Return mean prediction and mean label in at most ten groups of neighbouring bins, none with fewer rows than `least`.

    Args:
        binned: counts of rows by bin, [PREDICTED].
        gap: sums of label minus prediction.
        predicted: sums of predictions.
        least: fewest rows of a group; what is left at the end joins the last group.
    """
    total = int(np.sum(binned))
    wanted = max(least, math.ceil(total / GROUPS), 1)
    groups: list[list[float]] = []
    rest = [0.0, 0.0, 0.0]
    for row in zip(binned.tolist(), gap.tolist(), predicted.tolist(), strict=True):
        rest = [one + more for one, more in zip(rest, row, strict=True)]
        if rest[0] >= wanted:
            groups, rest = [*groups, rest], [0.0, 0.0, 0.0]
    if rest[0] and groups:
        groups[-1] = [one + more for one, more in zip(groups[-1], rest, strict=True)]
    return [{"rows": int(rows), "predicted": level / rows, "observed": (level + wrong) / rows} for rows, wrong, level in groups]
