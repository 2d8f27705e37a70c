"""Turn sums into metrics with intervals, differences that pair, and a verdict per site. Numpy only: sums in, numbers out.

Intervals are the 2.5th and 97.5th percentile of bootstrap replicates by patient. A verdict takes the paired difference (federated minus
local) with its replicates' standard deviation, one-sided tests at 2.5 %, and Holm's correction over the sites.

Source: DESIGN section 5; Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 1979.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from wardround.study.arrays import Arrays, under
from wardround.study.interfaces import Question
from wardround.study.protocol import Protocol

ALPHA = 0.025


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
        if value is None or len(known) < 20:
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
    return {**question.metrics(test), **question.rates_at(test, validation, protocol.evaluation.specificity)}


@dataclass(frozen=True)
class Difference:
    """Hold what a verdict needs: the paired difference, larger is better, its standard deviation, and whether there are patients enough."""

    value: float
    deviation: float
    enough: bool


def difference(question: Question, metric: str, federated: Arrays, local: Arrays, test: Arrays, patients: int) -> Difference:
    """Return the paired difference of one metric, turned so that larger favours the federated model."""
    sign = question.better(metric)
    both = sign * (np.atleast_1d(federated[metric]) - np.atleast_1d(local[metric]))
    known = both[1:][~np.isnan(both[1:])]
    plain = {name: (value[0] if np.ndim(federated[metric]) else value) for name, value in test.items()}
    enough = question.enough(plain, patients) and len(known) >= 20 and not np.isnan(both[0])
    return Difference(float(both[0]), float(np.std(known)) if len(known) else math.nan, enough)


def verdicts(differences: Mapping[str, Difference], margin: float) -> dict[str, str]:
    """Return gains, no_worse, loses or cannot_say for each site.

    Args:
        differences: by site.
        margin: largest loss that still counts as no worse.
    """
    judged = {site: one for site, one in differences.items() if one.enough}
    gains = _holm({site: _upper(one.value, one.deviation) for site, one in judged.items()})
    holds = _holm({site: _upper(one.value + margin, one.deviation) for site, one in judged.items()})
    loses = _holm({site: _upper(-one.value, one.deviation) for site, one in judged.items()})
    found: dict[str, str] = {}
    for site in differences:
        if site in gains:
            found[site] = "gains"
        elif site in holds:
            found[site] = "no_worse"
        elif site in loses:
            found[site] = "loses"
        else:
            found[site] = "cannot_say"
    return found


def _upper(value: float, deviation: float) -> float:
    """Return the one-sided p value of `value <= 0`."""
    if deviation == 0:
        return 0.0 if value > 0 else 1.0
    return 0.5 * math.erfc(value / deviation / math.sqrt(2))


def _holm(p_values: Mapping[str, float]) -> set[str]:
    """Return the names that Holm's procedure rejects at `ALPHA`."""
    rejected: set[str] = set()
    for rank, name in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        if p_values[name] > ALPHA / (len(p_values) - rank):
            break
        rejected.add(name)
    return rejected


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
