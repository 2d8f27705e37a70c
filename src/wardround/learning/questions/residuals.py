"""Judge predicted numbers through counts of their errors: additive over sites, and enough for intervals and calibration.

A patient has one vote, however many rows (`votes`), so that no patient is a large part of a sum over ten. A prediction interval is
conformal: so wide that it would have held the given share of the *validation* patients' votes; on test patients the share that it then
holds, its coverage, is counted. Errors are counted in bins that widen by a fixed ratio, so that a label whose spread is a thousandth of the
contract's range has fine bins too; the end of an interval is the upper end of a bin, at most 3 % too wide.

Labels and predictions leave a site in groups of at least ten patients' votes (`Groups`), never by fixed bins that one patient may fill.

Source: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., Distribution-free predictive inference for
regression, JASA 2018, section 2.2 (split conformal); Lu et al., Federated conformal predictors, ICML 2023 (one quantile for all sites);
Lee, Barber, Willett, Distribution-free inference with hierarchical data, 2023 (several rows a patient: weight 1 / rows, rank of n + 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wardround.learning.questions.curves import ratio

PREDICTED = 128
"""Bins of equal width over the contract's range; a site's group of predictions stands in that of its mean."""

LABELS = 512
"""The same of the label itself, for what guessing would give."""

VOTES = 2520
"""Parts of a patient's vote, so that votes are whole numbers; rows of a patient beyond so many have none."""

SMALL = 10
"""Patients under which nothing is told about a group."""

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


def votes(patient: np.ndarray) -> np.ndarray:
    """Return int64 [N]: each patient's `VOTES`, divided among its rows as evenly as whole numbers can be.

    Args:
        patient: int64 [N], whose row it is.
    """
    _, place, rows = np.unique(patient, return_inverse=True, return_counts=True)
    order = np.argsort(place, kind="stable")
    within = np.empty(len(patient), dtype=np.int64)
    within[order] = np.arange(len(patient)) - (np.cumsum(rows) - rows)[place[order]]
    return np.asarray(VOTES // rows[place] + (within < VOTES % rows[place])).astype(np.int64)


@dataclass(frozen=True)
class Groups:
    """Hold a site's rows in groups of neighbouring values, each of ten patients' votes or more: none is more than a tenth of one.

    Attributes:
        rows: places of the rows that are in a group; none of a site with fewer than ten patients.
        bins: int64, for each of them the bin of the group's mean.
        size: how many bins there are.
    """

    rows: np.ndarray
    bins: np.ndarray
    size: int

    @classmethod
    def of(cls, values: np.ndarray, vote: np.ndarray, span: tuple[float, float], size: int) -> Groups:
        """Return at most ten groups of about as many votes; what is left at the end joins the last.

        Args:
            values: float64 [N], by which rows are neighbours.
            vote: int64 [N], from `votes`.
            span: range over which the bins lie.
            size: how many bins.
        """
        order = np.argsort(values, kind="stable")
        upto = np.cumsum(vote[order])
        total = int(upto[-1]) if len(upto) else 0
        wanted, ends, before = max(SMALL * VOTES, -(-total // GROUPS)), [0], 0
        while total - before >= wanted:
            ends.append(int(np.searchsorted(upto, before + wanted)) + 1)
            before = int(upto[ends[-1] - 1])
        if len(ends) == 1:
            return cls(order[:0], order[:0], size)
        ends[-1] = len(order)
        group = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        means = np.bincount(group, values[order] * vote[order]) / np.bincount(group, vote[order])
        return cls(order, equal_bins(means, span, size)[group], size)

    def summed(self, each: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return sums of a number [N] by bin; with weights [R, N] a leading axis of R."""
        return counted(self.bins, self.size, None if weights is None else weights[:, self.rows], each[self.rows])


def counted(place: np.ndarray, bins: int, weights: np.ndarray | None, each: np.ndarray | None = None) -> np.ndarray:
    """Return counts by bin [bins], or the sums of a number by bin; with weights [R, N] a leading axis of R."""
    if weights is None:
        return np.bincount(place, weights=each, minlength=bins)
    out = np.zeros((bins, len(weights)), dtype=np.int64 if each is None else np.float64)
    np.add.at(out, place, weights.T if each is None else (weights * each).T)
    return np.ascontiguousarray(out.T)


def conformal_bin(validation: np.ndarray, share: float) -> int | None:
    """Return the bin up to which an interval reaches so that it holds `share` of new patients' rows; None where patients are too few.

    It is the first up to which at least (n + 1) share of n patients' votes lie.

    Args:
        validation: votes on errors by bin.
        share: above 0, below 1.
    """
    upto = np.cumsum(validation, dtype=np.float64)
    wanted = (upto[-1] + VOTES) * share - 1e-6
    return None if wanted > upto[-1] else int(np.argmax(upto >= wanted))


def held(test: np.ndarray, upto: int | None) -> np.ndarray:
    """Return the share of [..., bins] that an interval holds which reaches up to a bin; NaN without such a bin or without rows."""
    total = np.sum(test, axis=-1)
    if upto is None:
        return np.full(total.shape, np.nan)
    return ratio(np.sum(test[..., : upto + 1], axis=-1), total)


def calibration_gap(binned: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Return by how much mean prediction and mean label differ, on average over ten groups of equal size by the prediction.

    Args:
        binned: votes by bin of the prediction, [..., PREDICTED].
        gap: sums of label minus prediction by bin, a patient counting once.
    """
    counts = binned / VOTES
    total = np.sum(counts, axis=-1)
    middle = np.cumsum(counts, axis=-1) - counts / 2
    group = np.floor(GROUPS * middle / np.where(total > 0, total, 1)[..., None])
    apart = sum(np.abs(np.sum(np.where(group == number, gap, 0.0), axis=-1)) for number in range(GROUPS))
    return ratio(np.asarray(apart), total)


def calibration_groups(binned: np.ndarray, gap: np.ndarray, predicted: np.ndarray) -> list[dict[str, Any]]:
    """Return mean prediction and mean label in at most ten groups of neighbouring bins, none with fewer than ten patients' votes.

    Args:
        binned: votes by bin, [PREDICTED].
        gap: sums of label minus prediction, a patient counting once.
        predicted: sums of predictions.
    """
    patients = binned / VOTES
    wanted = max(SMALL, float(np.sum(patients)) / GROUPS) - 1e-6
    groups: list[list[float]] = []
    rest = [0.0, 0.0, 0.0]
    for one in zip(patients.tolist(), gap.tolist(), predicted.tolist(), strict=True):
        rest = [before + more for before, more in zip(rest, one, strict=True)]
        if rest[0] >= wanted:
            groups, rest = [*groups, rest], [0.0, 0.0, 0.0]
    if rest[0] and groups:
        groups[-1] = [one + more for one, more in zip(groups[-1], rest, strict=True)]
    return [{"patients": round(many), "predicted": level / many, "observed": (level + wrong) / many} for many, wrong, level in groups]
