"""Turn the runs of a sweep into figures: means over seeds, intervals over seeds and over patients, paired differences, verdicts by site.

Two things make a figure uncertain, and both are shown. Another seed would train another model: Student's t over the seeds. Other patients
would have been tested: the bootstrap by patient, of the mean over seeds where all seeds tested the same patients, else the mean of the
seeds' own intervals. `low` and `high` hold both: the distances from the value are added as squares.

Source: DESIGN section 5; Student, The probable error of a mean, Biometrika 1908.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wardround import replicates
from wardround.learning.evaluation import Difference, Estimate, verdicts
from wardround.study.arrays import Arrays
from wardround.study.protocol import Protocol

COMPARATORS = ("local", "pooled", "ensemble", "best_single")
OWN = ("federated", "personalised")
"""Models that a method makes; all others a method is compared with."""

MEAN = "mean of sites"
ALL = "all patients"
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
    2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, 97.5 %, of 1 to 30 degrees of freedom; of more the normal distribution's 1.96 is at most 4 % too narrow."""


@dataclass(frozen=True)
class Run:
    """Hold what one run of a sweep came to.

    Attributes:
        seed: of splits, initial parameters and training.
        kept: every metric under every weight, see `wardround.replicates`.
        result: contents of `result.json`.
    """

    seed: int
    kept: Arrays
    result: Mapping[str, Any]


def estimate(values: Sequence[np.ndarray], same: bool) -> dict[str, Any]:
    """Return a figure with its intervals.

    Args:
        values: by seed: the plain value, then the replicates, [1 + R].
        same: whether all seeds tested the same patients.

    Returns:
        "value", "seeds" and "patients" (each [low, high] or None), "low" and "high" of both together, "n" seeds. None where undefined.
    """
    plain = np.array([one[0] for one in values], dtype=np.float64)
    if not len(plain) or not np.isfinite(plain).all():
        return {"value": None, "seeds": None, "patients": None, "low": None, "high": None, "n": len(plain)}
    value = float(plain.mean())
    half = _t(len(plain) - 1) * float(plain.std(ddof=1)) / math.sqrt(len(plain)) if len(plain) > 1 else None
    patients = _patients(values, same)
    below = [one for one in (half, value - patients[0] if patients else None) if one is not None]
    above = [one for one in (half, patients[1] - value if patients else None) if one is not None]
    return {
        "value": value,
        "seeds": None if half is None else [value - half, value + half],
        "patients": patients,
        "low": value - math.hypot(*below) if below else None,
        "high": value + math.hypot(*above) if above else None,
        "n": len(plain),
    }


def _patients(values: Sequence[np.ndarray], same: bool) -> list[float] | None:
    """Return the interval over patients; None where there are too few replicates."""
    if same:
        together = Estimate.of(np.mean(np.stack(list(values)), axis=0))
        return None if together.low is None or together.high is None else [together.low, together.high]
    apart = [Estimate.of(one) for one in values]
    if any(one.low is None or one.high is None for one in apart):
        return None
    return [float(np.mean([one.low for one in apart])), float(np.mean([one.high for one in apart]))]


def _t(freedom: int) -> float:
    return _T[freedom - 1] if freedom <= len(_T) else 1.96


def places(run: Run) -> dict[str, str | None]:
    """Return where a model was tested: all patients together, and each site."""
    return {ALL: None, **{site: site for site in replicates.sites_of(run.kept)}}


def tested_where(run: Run, model: str) -> dict[str, dict[str, np.ndarray]]:
    """Return by place and metric the [1 + R] values of one model of a run; the mean of sites is that of those where the metric exists."""
    found = {place: values for place, site in places(run).items() if (values := replicates.of(run.kept, model, site))}
    sites = [values for place, values in found.items() if place != ALL]
    metrics = dict.fromkeys(name for values in sites for name in values)
    return {**found, MEAN: {name: _mean([values[name] for values in sites if name in values]) for name in metrics}}


def _mean(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over those where it exists; a replicate in which a site has no value is no replicate of the mean."""
    known = [one for one in values if math.isfinite(one[0])]
    return np.mean(np.stack(known), axis=0) if known else np.array([math.nan])


def same_patients(runs: Iterable[Run]) -> bool:
    """Say whether all runs tested the same patients at the same sites."""
    seen = [{name: value.tobytes() for name, value in run.kept.items() if name.startswith("tested/")} for run in runs]
    return all(one == seen[0] for one in seen)


def figures(runs: Sequence[Run], model: str) -> dict[str, dict[str, Any]]:
    """Return by place and metric the estimate of one model over its runs."""
    by_run = [tested_where(run, model) for run in runs]
    same = same_patients(runs)
    return {
        place: {
            name: estimate([one[place][name] for one in by_run], same)
            for name in by_run[0][place]
            if all(name in one.get(place, {}) for one in by_run)
        }
        for place in by_run[0]
    }


def differences(pairs: Sequence[tuple[Run, Run]], model: str, other: str) -> dict[str, dict[str, Any]]:
    """Return by place and metric the paired difference between a model and a comparator, seed by seed on the same patients.

    All patients, and the mean of sites, are given where both models were tested at the same sites.

    Args:
        pairs: by seed: the method's run, and the run that has the comparator.
        model: of the method.
        other: the comparator.
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for run, base in pairs:
        one, two = tested_where(run, model), tested_where(base, other)
        for place in one.keys() & two.keys() if one.keys() == two.keys() else (one.keys() & two.keys()) - {ALL, MEAN}:
            for name in one[place].keys() & two[place].keys():
                here, there = np.broadcast_arrays(one[place][name], two[place][name])
                found.setdefault(place, {}).setdefault(name, []).append(here - there)
    same = same_patients(run for run, _ in pairs)
    order = [place for place in (ALL, MEAN) if place in found] + sorted(found.keys() - {ALL, MEAN})
    complete = {place: {name: one for name, one in sorted(found[place].items()) if len(one) == len(pairs)} for place in order}
    return {place: {name: estimate(one, same) for name, one in metrics.items()} for place, metrics in complete.items() if metrics}


def judged(protocol: Protocol, pairs: Sequence[tuple[Run, Run]], model: str) -> dict[str, dict[str, str]]:
    """Return each site's verdict on the difference to its own model: word and note, by the rules of a single study.

    Value and interval are those of the difference over seeds and patients; the p value takes the deviations of both.
    """
    shown = differences(pairs, model, "local")
    found: dict[str, Difference] = {}
    for site, metrics in shown.items():
        if site in (ALL, MEAN) or protocol.primary not in metrics:
            continue
        one, sign = metrics[protocol.primary], protocol.direction
        enough = all(protocol.question_plugin.enough(run.kept[f"tally/{site}"]) for run, _ in pairs)
        if one["value"] is None or one["patients"] is None:
            found[site] = Difference(math.nan, math.nan, -math.inf, math.inf, False)
            continue
        low, high = sorted((sign * one["low"], sign * one["high"]))
        found[site] = Difference(sign * one["value"], (high - low) / 2 / 1.96, low, high, enough)
    told = verdicts(found, protocol.evaluation.margin, few=protocol.question_plugin.few)
    return {site: {"word": one.word, "note": one.note} for site, one in sorted(told.items())}
