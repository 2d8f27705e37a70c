"""Say which method a table supports, and whether a hospital loses by it: rules that were stated before any figure was seen.

Federated averaging stays unless the test table shows a method that is better beyond noise, in AUROC or in loss, on all test patients; of
those that are, the one with the lowest validation loss takes its place. So a method is named only where both agree: the test table says
that there is something to gain, and validation says by which. Intervals are not corrected for the number of methods.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wardround.comparing import ALL, OWN, Run, differences

FEWEST, MARGIN = 100, 0.02
"""Test patients from which on a hospital is judged, and how much of AUROC it may lose."""


def supported(runs: Mapping[str, Sequence[Run]], losses: Mapping[str, Sequence[float]], plain: str, barred: Sequence[str] = ()) -> str:
    """Return the method that a table supports.

    Args:
        runs: by method, one a seed.
        losses: by method, the validation loss of each seed; nan where it does not exist.
        plain: the method that stays where nothing is better.
        barred: methods that looked at validation rows, so that their validation loss cannot be held against others'.
    """
    others = {name: own for name, own in runs.items() if name != plain and name not in barred and np.isfinite(losses[name]).all()}
    model = used(runs[plain])
    found = {**better(runs[plain], model, others, "auroc"), **better(runs[plain], model, others, "loss", -1)}
    return min(found, key=lambda name: float(np.mean(losses[name])), default=plain)


def better(
    default: Sequence[Run], model: str, others: Mapping[str, Sequence[Run]], metric: str, sign: int = 1
) -> dict[str, Mapping[str, Any]]:
    """Return by method the paired gain over the default on all test patients, where it is beyond noise.

    Args:
        default: its runs, one a seed.
        model: that the default's hospitals use, "federated" or "personalised".
        others: by method, its runs with the same seeds.
        metric: what is compared.
        sign: 1 where larger is better, -1 where smaller is.
    """
    found = {}
    for name, runs in others.items():
        pairs = list(zip(runs, default, strict=True))
        gain = differences(pairs, used(runs), model)[ALL][metric]
        worst = gain["low"] if sign > 0 else gain["high"]
        if worst is not None and sign * worst > 0:
            found[name] = gain
    return found


def used(runs: Sequence[Run]) -> str:
    """Return the model that hospitals use: the personalised one where the method makes one."""
    there = all(f"all/{OWN[1]}/auroc" in run.kept for run in runs)
    return OWN[1] if there else OWN[0]


def sites_judged(runs: Sequence[Run], base: Sequence[Run], model: str) -> dict[str, dict[str, Any]]:
    """Return by hospital with enough test patients in every run: gain over its own model in AUROC, interval, patients and a word.

    Args:
        runs: of the method, one a seed.
        base: the runs in which the hospitals' own models were trained.
        model: of the method.
    """
    tallies = {name.removeprefix("tally/") for name in runs[0].kept if name.startswith("tally/")}
    least = {site: min(int(run.kept[f"tally/{site}"][0]) for run in runs) for site in tallies}
    shown = differences(list(zip(runs, base, strict=True)), model, "local")
    found = {}
    for site in sorted(site for site, patients in least.items() if patients >= FEWEST):
        gain = shown.get(site, {}).get("auroc", {"value": None, "low": None, "high": None})
        found[site] = {**gain, "tested": least[site], "word": word(gain["low"], gain["high"])}
    return found


def word(low: float | None, high: float | None) -> str:
    """Return what an interval of a gain over the own model says: "no worse", "worse", or "cannot say"."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "cannot say"
    return "no worse" if low >= -MARGIN else "worse" if high < -MARGIN else "cannot say"
