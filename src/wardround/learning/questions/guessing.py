"""Say what guessing a number costs: one value for everybody, or one rate times each exposure.

A model is worth something only if it does better. Where the cost is a sum of squares or a deviance it follows exactly from sums of levels.
Where it bends once, as the absolute error and the pinball loss do, it follows from labels in groups of ten patients or more: of each group
its mean counts. That comes out at or below the true cost (Jensen's inequality), so that no model looks better than it is.
"""

from __future__ import annotations

import numpy as np

from wardround.learning.questions.curves import ratio
from wardround.learning.questions.families import Quantile
from wardround.learning.questions.residuals import VOTES
from wardround.study.arrays import Arrays


def spread(sums: Arrays) -> np.ndarray:
    """Return the sum of squares about what one who guesses says, with or without replicates.

    Args:
        sums: `rows`, `level` and `level_squares`; with an exposure also `exposed`, `exposed_squares` and `together`.
    """
    level = sums["level"]
    if "exposed" not in sums:
        return np.asarray(sums["level_squares"] - level * ratio(level, sums["rows"]))
    rate = ratio(level, sums["exposed"])
    return np.asarray(sums["level_squares"] - 2 * rate * sums["together"] + rate * rate * sums["exposed_squares"])


def deviance(sums: Arrays) -> np.ndarray:
    """Return the mean Poisson deviance of one rate for all: 2 (sum of y log(y / exposure) - log(rate) sum of y) / patients."""
    level = sums["level"]
    rate = ratio(level, sums["exposed"] if "exposed" in sums else sums["rows"])
    said = np.where(level > 0, level * np.log(np.where(level > 0, rate, 1.0)), 0.0)
    return np.asarray(2 * ratio(sums["logs"] - said, sums["rows"]))


def absolute(sums: Arrays) -> float:
    """Return the mean absolute error from groups of labels; NaN without any.

    Args:
        sums: `labels`, `label_levels` and, with an exposure, `label_exposed`.
    """
    levels, patients = sums["label_levels"], sums["labels"] / VOTES
    exposed = sums.get("label_exposed", patients)
    rate = ratio(np.asarray(np.sum(levels)), np.asarray(np.sum(exposed)))
    return float(ratio(np.asarray(np.sum(np.abs(levels - rate * exposed))), np.asarray(np.sum(patients))))


def pinball(sums: Arrays, kind: Quantile, centre: float, span: tuple[float, float]) -> float:
    """Return the mean pinball loss of the quantile of groups of labels; NaN without any.

    Args:
        sums: `labels` and `label_levels`.
        kind: which quantile.
        centre: where levels are told from.
        span: the label's range.
    """
    told = sums["labels"] > 0
    if not np.any(told):
        return float("nan")
    patients = sums["labels"][told] / VOTES
    values = centre + sums["label_levels"][told] / patients
    costs = kind.costs(values, np.full(len(values), kind.guess(values, patients)), span)
    return float(np.sum(patients * costs) / np.sum(patients))
