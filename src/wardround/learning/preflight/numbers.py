"""Compare one number at one hospital with the others: readable, shared values, unit, sign, scale, dates, place, spread, missing.

Numbers are compared by the means of four groups of patients by rank, which say where a distribution lies and how wide it is without its
outer twentieths. "Others" is the median of the other hospitals, group by group, so that one wrong hospital does not make all others
wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wardround.learning.preflight import measures
from wardround.learning.preflight.finding import Finding
from wardround.learning.preflight.groups import APART, AT_THE_END, FEW_APART, NEARLY_ALL, SET_APART, spread
from wardround.learning.preflight.layout import PARTS, TIME
from wardround.learning.preflight.seen import Number
from wardround.learning.preflight.ways import Way, applied, ways
from wardround.privacy.folding import Folded

_ALL = slice(0, len(PARTS))
UNREADABLE, MISSING, OUTSIDE = 3, 2, 1
_HALF, _MOST = 0.5, 0.9
_VALUE = (AT_THE_END, NEARLY_ALL, SET_APART)


@dataclass(frozen=True)
class About:
    """Hold what is known of a field beside its numbers.

    Attributes:
        name: of the field.
        unit: of the contract.
        description: of the contract.
        limit: deviations that one test must show.
        least: k.
        turned: squared deviations that the other sign would take from how the field goes together with the others; see `codes.turned`.
    """

    name: str
    unit: str
    description: str
    limit: float
    least: int
    turned: float = 0.0


def compared(about: About, here: Number, others: list[Number]) -> list[Finding]:
    """Return what is odd about a number at one hospital."""
    if here.table.total <= 0:
        return [Finding("few", "cannot_say", f"Fewer than {about.least} patients.")]
    tables = [one.table for one in others]
    if here.table.told[UNREADABLE] > 0:
        share = here.table.told[UNREADABLE] / here.table.total
        return [
            Finding("unreadable", "clash", f"{share:.0%} of the patients have something there that is no number, or of an unknown unit.")
        ]
    if here.known <= 0 or here.table.told[MISSING] >= _MOST * here.table.total:
        apart, sure = measures.gap(here.table, [MISSING], tables, about.least, _ALL)
        grave = apart > measures.MATTERS_SHARE and sure > about.limit
        return [
            Finding(
                "absent", "differs" if grave else "note", f"Missing in {here.table.told[MISSING] / here.table.total:.0%} of the patients."
            )
        ]
    found = _distribution(about, here, [one for one in others if one.groups])
    found += _share(about, here, tables, MISSING)
    if here.outside > 0 and not any(one.grade == "clash" for one in found):
        share = here.outside / here.known
        found.append(
            Finding("outside", "clash" if share > _HALF else "differs", f"{share:.0%} of the numbers lie outside the contract's range.")
        )
    return found


def _share(about: About, here: Number, tables: list[Folded], cell: int) -> list[Finding]:
    apart, sure = measures.gap(here.table, [cell], tables, about.least, _ALL)
    if abs(apart) < measures.MATTERS_SHARE or abs(sure) < about.limit:
        return []
    rest = float(np.median([one.told[cell] / one.total for one in tables if one.total > 0]))
    return [Finding("missing", "differs", f"Missing in {measures.said(here.table, cell, _ALL)} of the patients; {rest:.0%} at the others.")]


def _distribution(about: About, here: Number, others: list[Number]) -> list[Finding]:
    if not others:
        return _spike(about, here, None)
    if not here.groups:
        spikes = _spike(about, here, _middle(others, 2, here.value))
        return spikes or [Finding("few", "cannot_say", "Too few patients to say where the numbers lie.")]
    count = 4 if here.groups == 4 and any(one.groups == 4 for one in others) else 2
    there = [one for one in others if one.groups >= count]
    wanted, patients = _middle(there, count, measures.place(here.quarters)), sum(one.behind for one in there)
    spikes = _spike(about, here, wanted) + _at_the_end(about, here, others)
    if spikes and here.kind == NEARLY_ALL:
        return spikes
    usual = np.median([one.chance for one in there], axis=0)
    chance = np.stack([usual, np.maximum(here.chance, usual)]) * measures.scatter(here.behind, patients)
    return spikes + _shape(about, _halved(here.quarters, count), wanted, chance, len(there))


def _halved(quarters: np.ndarray, count: int) -> np.ndarray:
    return quarters if count == 4 else np.repeat(quarters.reshape(2, 2).mean(axis=1), 2)


def _middle(others: list[Number], count: int, near: float) -> np.ndarray:
    """Return what the others have: their median; of two the one that is nearer, since a wrong one would drag their mean along."""
    told = [_halved(one.quarters, count) for one in others]
    if len(told) == measures.PAIR:
        return min(told, key=lambda one: abs(measures.place(one) - near))
    return np.asarray(np.median(told, axis=0))


def _spike(about: About, here: Number, wanted: np.ndarray | None) -> list[Finding]:
    """Return that many patients share a value far from all others: a marker for missing that was taken for a number."""
    value = f"{here.value:g}"
    if here.kind == FEW_APART:
        few = f"Fewer than {about.least} patients share one number"
        return [Finding("spike", "differs", f"{few} (not told) far from all others: a marker for 'missing'?")]
    if here.kind == SET_APART:
        share = here.sharing / here.known
        near = wanted is not None and _far(here.value, wanted) < APART
        if near:
            return []
        return [Finding("spike", "clash", f"{share:.0%} of the numbers are {value}, far from all others: a marker for 'missing'?")]
    if here.kind == NEARLY_ALL and wanted is not None and spread(wanted) > 0:
        if _far(here.value, wanted) >= APART:
            return [Finding("spike", "clash", f"(Nearly) all numbers are {value}, far from those of the others: a marker for 'missing'?")]
        return [Finding("constant", "differs", f"(Nearly) all numbers are {value}, and those of the others are not alike.")]
    return []


def _at_the_end(about: About, here: Number, others: list[Number]) -> list[Finding]:
    """Return that many patients share a number at an end of the contract's range, or beyond, that too few of the others can have.

    So zeros are seen among numbers so skewed that 0 lies near the bulk of them. Another hospital none of whose numbers lies outside the
    range has nothing beyond it, and fewer than k patients at its end, or it would tell so.
    """
    beside = [one for one in others if one.outside <= 0 and not one.table.few[OUTSIDE] and one.known > 0]
    beside = [one for one in beside if here.beyond or one.kind not in _VALUE or one.value == here.value]  # only one value is told
    grouped = [one.quarters for one in beside if one.groups]
    if here.kind != AT_THE_END or about.name == TIME or here.sharing < measures.MATTERS_SHARED * here.known or not grouped:
        return []
    low, high = float(np.min(grouped)), float(np.max(grouped))
    if low <= here.value <= high or any(one.kind in _VALUE and one.value == here.value for one in beside):
        return []
    most = 0.0 if here.beyond else sum(min(about.least - 1.0, one.known) for one in beside)
    if measures.unlike(here.sharing, here.known, most, sum(one.known for one in beside)) < about.limit:
        return []
    where = "below" if here.value < low else "above"
    says = f"{here.sharing / here.known:.0%} of the numbers are {here.value:g}, {where} nearly all of the others'"
    return [Finding("spike", "differs", f"{says}: a marker for 'missing'?")]


def _far(value: float, wanted: np.ndarray) -> float:
    return abs(value - measures.place(wanted)) / max(spread(wanted), 1e-12)


def _shape(about: About, here: np.ndarray, wanted: np.ndarray, chance: np.ndarray, others: int) -> list[Finding]:
    """Return that a distribution lies elsewhere or is wider or narrower than at the others, with the way that explains it.

    Args:
        about: the field.
        here: means of groups.
        wanted: those of the others.
        chance: float64 [2, 2], variances of place and of the logarithm of spread by chance alone: were it distributed as the others, and
            with its own distribution where that varies more.
        others: how many hospitals they are.
    """
    scale = max(spread(wanted), spread(here) * 1e-6, 1e-12 * max(1.0, abs(measures.place(wanted))))

    def apart(quarters: np.ndarray) -> tuple[float, float]:
        wide = max(spread(quarters), scale * 1e-6)
        return (measures.place(quarters) - measures.place(wanted)) / scale, math.log(wide / scale)

    def strange(quarters: np.ndarray) -> float:
        shift, wide = apart(quarters)
        honest = measures.YEARS_APART / scale if about.name == TIME else measures.APART
        loose = measures.APART if about.name == TIME else measures.SPREADS
        place, width = chance[0] + (measures.between(honest, others), measures.between(loose, others))
        return float(shift**2 / place + wide**2 / width)

    listed = ways(about.name, about.unit, about.description)
    at_all = strange(here)
    best, left = _best(listed, here, strange, about.turned)
    gained = at_all - left + (about.turned if best is not None and best.kind == "sign" else 0.0)
    if best is not None and left <= measures.EXPLAINED and gained >= measures.odds(len(listed)):
        where = f"Lies at {_number(here)} here, at {_number(wanted)} at the others"
        return [Finding(best.kind, "clash", f"{where}: as if {best.says}.", best.remedy)]
    if at_all > measures.odds(len(listed)) + measures.EXPLAINED:
        kind = "period" if about.name == TIME else "other"
        says = f"Lies at {_number(here)} here, at {_number(wanted)} at the others, and no known unit explains it."
        return [Finding(kind, "differs" if about.name == TIME else "clash", says)]
    return _different(about, apart(here), chance[1], here, wanted)


def _best(listed: list[Way], here: np.ndarray, strange: Callable[[np.ndarray], float], turned: float) -> tuple[Way | None, float]:
    """Return the way that explains a distribution best, and what stays strange then."""
    found: tuple[Way | None, float, float] = (None, math.inf, math.inf)
    for way in listed:
        back = applied(way, here)
        if back is None:
            continue
        left = strange(back)
        cost = left + way.farfetched - (turned if way.kind == "sign" else 0.0)
        if cost < found[2]:
            found = (way, left, cost)
    return found[0], found[1]


def _different(about: About, apart: tuple[float, float], chance: np.ndarray, here: np.ndarray, wanted: np.ndarray) -> list[Finding]:
    shift, wide = apart
    found = []
    if abs(shift) >= measures.MATTERS_DEVIATIONS and abs(shift) > about.limit * math.sqrt(chance[0]):
        kind = "period" if about.name == TIME else "place"
        where = f"Lies at {_number(here)} here, at {_number(wanted)} at the others"
        found.append(Finding(kind, "differs", f"{where}: {abs(shift):.1f} deviations {'higher' if shift > 0 else 'lower'}."))
    if abs(wide) >= math.log(measures.MATTERS_SPREAD) and abs(wide) > about.limit * math.sqrt(chance[1]):
        says = f"Its spread is {math.exp(wide):.2g} times that of the others."
        found.append(Finding("spread", "differs", says))
    return found


def _number(quarters: np.ndarray) -> str:
    return f"{measures.place(quarters):.4g}"
