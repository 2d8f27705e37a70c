"""Turn sums into metrics with intervals, differences that pair, and a verdict per site. Numpy only: sums in, numbers out.

Intervals are the 2.5th and 97.5th percentile of bootstrap replicates by patient. A verdict takes the paired difference (of the model that
the hospital will use minus its own) with its replicates' standard deviation, one-sided tests at 2.5 %, and Holm's correction over the
sites.

Source: DESIGN section 5; Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 1979.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wardround.study.arrays import Arrays, under
from wardround.study.protocol import Protocol

ALPHA = 0.025
LEAST = 20
"""Fewest replicates in which a metric exists that still carry an interval."""


@dataclass(frozen=True)
class Estimate:
    """Hold a value with its 95 % interval; None where it does not exist."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, replicates: np.ndarray) -> Estimate:
        """Return the estimate of [1 + R] values: the plain one first, then the replicates."""
        flat = np.atleast_1d(replicates)
        value = _finite(float(flat[0]))
        known = flat[1:][~np.isnan(flat[1:])]
        if value is None or len(known) < LEAST:
            return cls(value, None, None)
        low, high = np.percentile(known, [2.5, 97.5])
        return cls(value, float(low), float(high))


def all_sites(parts: Iterable[Arrays]) -> dict[str, np.ndarray]:
    """Return the sum over sites."""
    total: dict[str, np.ndarray] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else np.asarray(value)
    return total


def replicated(protocol: Protocol, sums: Arrays) -> dict[str, np.ndarray]:
    """Return every metric on test rows as [1 + R] values, with sensitivity and specificity at the threshold from validation.

    Args:
        protocol: gives the question and the specificity.
        sums: `test/...` and `validation/...` of one model, at one site or added over sites.
    """
    question = protocol.question_plugin
    test, validation = under(sums, "test"), under(sums, "validation")
    found = {name: question.finalise(test, name) for name in question.better}
    if not validation:  # nothing was set apart to choose a threshold on
        return found
    return {**found, **question.rates_at(test, validation, protocol.evaluation.specificity)}


def used_model(protocol: Protocol) -> str:
    """Return the model that a hospital will use, and that verdicts are about: "personalised" where the study makes it, else "federated"."""
    made = protocol.giving("personal model", before=protocol.giving("judgement"))
    return "federated" if made is None else "personalised"


@dataclass(frozen=True)
class Difference:
    """Hold what a verdict needs.

    Attributes:
        value: the paired difference of the primary metric, larger favours the model that the hospital will use.
        deviation: of its replicates.
        low: end of its 95 % interval.
        high: the other end.
        enough: whether there are test patients enough for a claim.
    """

    value: float
    deviation: float
    low: float
    high: float
    enough: bool


@dataclass(frozen=True)
class Verdict:
    """Hold gains, no_worse, loses or cannot_say, and why in one sentence."""

    word: str
    note: str


def difference(protocol: Protocol, used: Arrays, local: Arrays, tally: np.ndarray) -> Difference:
    """Return the paired difference of the primary metric, turned so that larger favours the model that the hospital will use.

    Args:
        protocol: gives the metric and says what is enough.
        used: each metric of that model as [1 + R] values at one site.
        local: the same of the site's own model.
        tally: of the site's test patients.
    """
    both = protocol.direction * (np.atleast_1d(used[protocol.primary]) - np.atleast_1d(local[protocol.primary]))
    known = both[1:][~np.isnan(both[1:])]
    if len(known) < LEAST or np.isnan(both[0]):
        return Difference(float(both[0]), math.nan, -math.inf, math.inf, False)
    low, high = np.percentile(known, [2.5, 97.5])
    return Difference(float(both[0]), float(np.std(known)), float(low), float(high), protocol.question_plugin.enough(tally))


@dataclass(frozen=True)
class Claim:
    """Hold one thing that a verdict can say: its word, the words for it, the side it is on, and how much of the margin it grants."""

    word: str
    says: str
    sign: int
    granted: float

    def p(self, one: Difference, margin: float) -> float:
        """Return the one-sided p value of its opposite."""
        return _upper(self.sign * one.value + self.granted * margin, one.deviation)

    def shown(self, one: Difference, margin: float) -> bool:
        """Say whether the interval that is shown says so too."""
        return (one.low if self.sign > 0 else -one.high) > -self.granted * margin


AGAINST_OWN = (
    Claim("gains", "better than the site's own model", 1, 0.0),
    Claim("no_worse", "worse by no more than the margin", 1, 1.0),
    Claim("loses", "worse than the site's own model", -1, 0.0),
)


FEW = "fewer than 30, or fewer than 5 of a class"
"""What too few test patients are, where the question says nothing else."""


def verdicts(
    differences: Mapping[str, Difference], margin: float, claims: Sequence[Claim] = AGAINST_OWN, few: str = FEW
) -> dict[str, Verdict]:
    """Return each site's verdict: the corrected test and the interval that is shown must both say so.

    Args:
        differences: by site.
        margin: largest loss that still counts as no worse.
        claims: what can be said, the first that holds is.
        few: what too few test patients are, in words.
    """
    fit = {site: one for site, one in differences.items() if one.enough}
    tests = [(claim, _holm({site: claim.p(one, margin) for site, one in fit.items()})) for claim in claims]
    found: dict[str, Verdict] = {}
    for site, one in differences.items():
        if not one.enough:
            found[site] = Verdict("cannot_say", f"too few test patients to say: {few}")
            continue
        found[site] = Verdict("cannot_say", "the evidence does not settle it")
        for claim, corrected in tests:
            if corrected[site] <= ALPHA and claim.shown(one, margin):
                among = f" after Holm's correction over {len(fit)} sites" if len(fit) > 1 else ""
                found[site] = Verdict(claim.word, f"{claim.says}: one-sided p {_p(corrected[site])}{among}")
                break
    return found


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _upper(value: float, deviation: float) -> float:
    """Return the one-sided p value of `value <= 0`."""
    if deviation == 0:
        return 0.0 if value > 0 else 1.0
    return 0.5 * math.erfc(value / deviation / math.sqrt(2))


def _holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p values after Holm's step-down correction."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - rank)))
        corrected[name] = largest
    return corrected


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
