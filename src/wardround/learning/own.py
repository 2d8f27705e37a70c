"""Work out one site's own figures from the sums it kept; and, where the protocol lets figures leave, write, read and join them.

What leaves is metrics with their intervals and what a verdict needs; nothing where a metric would stand on fewer than ten test patients, in
all or of a class. Numpy only: the gate works this out, and no rows are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from wardround.learning.assessed import against_bar, judged, measured
from wardround.learning.evaluation import Difference, Estimate, Verdict, difference, replicated, used_model, verdicts
from wardround.study.arrays import Arrays, under
from wardround.study.errors import VerificationError
from wardround.study.protocol import Protocol

MODELS = ("federated", "personalised", "local", "model")
PAIRED: Mapping[str, tuple[str, ...]] = {"paired": ("personalised", "local"), "paired_personalised": ("local",)}
"""By part of what a site tells: the models that are taken off the federated, or off the personalised one (see `pairs`)."""

ABSENT = "it was absent when the models were personalised, so there is none to judge"
FEWEST = 10
"""Test patients, in all and of each class, under which no figure of a site leaves it."""

FEWEST_SITES = 3
"""Sites under which no median and band are given: of two, each would know the other's."""

WITHHELD: Mapping[str, Any] = {"withheld": True}
_MOST_METRICS = 50
_BAND = "[1-9][0-9]{1,15}-[1-9][0-9]{1,15}"


def own_figures(protocol: Protocol, sums: Arrays) -> dict[str, Any]:
    """Return a site's metrics by model, the paired differences, what a verdict needs, and how many patients were tested.

    Args:
        protocol: gives the question.
        sums: what the site kept of the evaluation: `federated/...`, and `local/...` and `personalised/...` where it has such models.
    """
    if protocol.evaluates:
        return _tested(protocol, under(sums, "model"))
    parts = {model: under(sums, model) for model in MODELS if under(sums, model)}
    values = {model: replicated(protocol, one) for model, one in parts.items()}
    used = used_model(protocol)
    apart = None
    if used in values and "local" in values:
        apart = difference(protocol, values[used], values["local"], parts["federated"]["patients"])
    paired: dict[str, Any] = {"paired": {}}
    for part, one, other in pairs(values):
        paired.setdefault(part, {})[other] = shown(less(values[one], values[other]))
    return {
        "tested": int(parts["federated"]["patients"][0]),
        "metrics": {model: shown(one) for model, one in values.items()},
        **paired,
        "difference": None if apart is None else asdict(apart) if apart.enough else {"enough": False},
    }


def pairs(models: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield part of a result, model, and the model that is taken off it: federated minus each other, and personalised minus local."""
    yield from (("paired", "federated", model) for model in models if model != "federated" and "federated" in models)
    if "personalised" in models and "local" in models:
        yield "paired_personalised", "personalised", "local"


def less(one: Arrays, other: Arrays) -> dict[str, np.ndarray]:
    """Return each metric of one model minus that of another, replicate by replicate."""
    return {name: one[name] - other[name] for name in one}


def _tested(protocol: Protocol, sums: Arrays) -> dict[str, Any]:
    """Return the same of a finished model that is tested alone: its difference is that to the bar."""
    apart = against_bar(protocol, sums)
    return {
        "tested": int(sums["patients"][0]),
        "metrics": {"model": shown(measured(protocol, sums))},
        "paired": {},
        "difference": None if apart is None else asdict(apart) if apart.enough else {"enough": False},
    }


def shown(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return each metric's value and interval as JSON values."""
    return {name: asdict(Estimate.of(one)) for name, one in values.items()}


def as_left(protocol: Protocol, sums: Arrays) -> dict[str, Any]:
    """Return a site's own figures as they may leave it, once the count of patients tested is a band."""
    fewest = max(FEWEST, protocol.privacy.smallest_count) if protocol.evaluates else FEWEST
    if protocol.question_plugin.smallest_of(under(sums, "model" if protocol.evaluates else "federated")["patients"]) < fewest:
        return dict(WITHHELD)
    return own_figures(protocol, sums)


def as_received(told: Any) -> dict[str, Any]:
    """Return figures that a site sent, after a look at each part.

    Raises:
        VerificationError: they are not what `as_left` gives.
    """
    if told == WITHHELD:
        return dict(WITHHELD)
    parts = [part for part in PAIRED if part == "paired" or (isinstance(told, dict) and part in told)]
    if not isinstance(told, dict) or set(told) != {"tested", "metrics", *parts, "difference"}:
        raise _not_so()
    if not isinstance(told["tested"], str) or not re.fullmatch(_BAND, told["tested"]):
        raise _not_so()
    metrics = {model: _cells(cells) for model, cells in _table(told["metrics"], MODELS).items()}
    paired = {part: {model: _cells(cells) for model, cells in _table(told[part], PAIRED[part]).items()} for part in parts}
    return {"tested": told["tested"], "metrics": metrics, **paired, "difference": _apart(told["difference"])}


def _not_so() -> VerificationError:
    return VerificationError("Its own figures are not well formed.", "Have the hospital run the same release of wardround.")


def _table(found: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(found, dict) or not set(found) <= set(names):
        raise _not_so()
    return found


def _cells(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or len(found) > _MOST_METRICS or not all(re.fullmatch("[a-z][a-z0-9_]{0,63}", name) for name in found):
        raise _not_so()
    return {name: _numbers(cell, ("value", "low", "high"), missing=True) for name, cell in found.items()}


def _apart(found: Any) -> dict[str, Any] | None:
    if found is None or found == {"enough": False}:
        return dict(found) if found else None
    if not isinstance(found, dict) or found.get("enough") is not True:
        raise _not_so()
    numbers = _numbers({name: one for name, one in found.items() if name != "enough"}, ("value", "deviation", "low", "high"), missing=False)
    if numbers["deviation"] < 0:
        raise _not_so()
    return {**numbers, "enough": True}


def _numbers(found: Any, names: tuple[str, ...], missing: bool) -> dict[str, Any]:
    """Return finite numbers under exactly these names; None among them where something may be missing."""
    if not isinstance(found, dict) or set(found) != set(names):
        raise _not_so()
    for one in found.values():
        if not (type(one) in (int, float) and math.isfinite(one)) and not (missing and one is None):
            raise _not_so()
    return {name: found[name] if found[name] is None else float(found[name]) for name in names}


def side_by_side(protocol: Protocol, told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return metrics, paired differences and verdicts by site, in the shape of `result.json`; Holm's correction is over these sites."""
    known = {site: one for site, one in told.items() if not one.get("withheld")}
    parts: dict[str, Any] = {}
    personal = used_model(protocol) == "personalised"
    for part, models in (("metrics", MODELS), *PAIRED.items()) if personal else (("metrics", MODELS), ("paired", PAIRED["paired"])):
        tables = {model: {site: one[part][model] for site, one in known.items() if model in one.get(part, {})} for model in models}
        parts[part] = {model: sites for model, sites in tables.items() if sites}
    few = {"value": math.nan, "deviation": math.nan, "low": -math.inf, "high": math.inf}
    apart = {site: Difference(**{**few, **one["difference"]}) for site, one in known.items() if one["difference"] is not None}
    too_few = protocol.question_plugin.few
    found = judged(protocol, apart) if protocol.evaluates else verdicts(apart, protocol.evaluation.margin, few=too_few)
    if apart:
        found.update({site: without(personal and "personalised" not in known[site]["metrics"]) for site in known.keys() - apart.keys()})
        note = f"fewer than {FEWEST} test patients, in all or of a class, so its figures did not leave the hospital"
        found.update({site: Verdict("cannot_say", note) for site in told.keys() - known.keys()})
    words, notes = ({site: getattr(one, what) for site, one in sorted(found.items())} for what in ("word", "note"))
    return {**parts, "verdicts": words, "verdict_notes": notes}


def without(absent: bool) -> Verdict:
    """Return the verdict of a site that lacks a model: the personalised one that is judged, or its own to compare with."""
    return Verdict("cannot_say", ABSENT if absent else "no model of its own to compare with")


def blinded(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return, for each metric that three sites or more told, its median and band over the sites, rounded to two places."""
    known = [one for one in told.values() if not one.get("withheld")]
    found: dict[str, Any] = {"metrics": {}, **{part: {} for part in PAIRED if part == "paired" or any(part in one for one in known)}}
    for part, cells in found.items():
        for model in dict.fromkeys(model for one in known for model in one.get(part, ())):
            tables = [one[part][model] for one in known if model in one.get(part, ())]
            over = {
                name: [table[name]["value"] for table in tables if name in table] for name in dict.fromkeys(n for t in tables for n in t)
            }
            enough = {name: there for name, values in over.items() if len(there := [x for x in values if x is not None]) >= FEWEST_SITES}
            cells[model] = {name: _band(values) for name, values in enough.items()}
    return found


def _band(values: list[float]) -> dict[str, Any]:
    middle, low, high = float(np.median(values)), min(values), max(values)
    return {"median": round(middle, 2), "low": round(low, 2), "high": round(high, 2), "sites": len(values)}
