"""Compare one code at one hospital with the others: known codes, missing, shares, and whether the codes look exchanged.

A women's hospital has other shares of the sexes than others and nothing is wrong. What gives exchanged codes away is how they go together
with numbers: those coded "ill" are older and slower everywhere, and younger and faster at the hospital where 0 and 1 were exchanged. So
shares and mean ranks of every number are weighed together, for each order of the codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from wardround.learning.preflight import measures
from wardround.learning.preflight.finding import Finding
from wardround.learning.preflight.layout import Shape
from wardround.learning.preflight.seen import Seen
from wardround.privacy.folding import Folded

MANY = 5
"""Codes beyond which not every order is tried."""
FARFETCHED = 4.6
"""Squared deviations by which an unusual order must fit better than a usual one: one tenth of the odds."""
TOGETHER = 0.5
"""Weight of how a number goes together with all else: these figures are not independent of each other."""
_FITS = 3.0
"""What may be left, a figure, of an order that is believed."""


@dataclass(frozen=True)
class About:
    """Hold what is known of a field beside its counts.

    Attributes:
        name: of the field.
        codes: of the contract.
        label: whether the study is to predict it.
        limit: deviations that one test must show.
        exchanged: deviations that shares must show where an exchange of codes would explain them.
        least: k.
    """

    name: str
    codes: tuple[str, ...]
    label: bool
    limit: float
    exchanged: float
    least: int


def compared(about: About, shape: Shape, here: Seen, others: list[Seen]) -> list[Finding]:
    """Return what is odd about a code at one hospital."""
    table, tables = here.codes[about.name].table, [one.codes[about.name].table for one in others]
    count, whole = len(about.codes), slice(0, len(about.codes) + 2)
    if table.total <= 0:
        return [Finding("few", "cannot_say", f"Fewer than {about.least} patients.")]
    if table.told[count + 1] > 0:
        says = f"{table.told[count + 1] / table.total:.0%} of the patients have a code that is not in the contract, or not mapped to it."
        return [Finding("unreadable", "clash", says)]
    apart, sure = measures.gap(table, [count], tables, about.least, whole)
    gone = f"Missing in {measures.said(table, count, whole)} of the patients"
    rest = [one.told[count] / one.total for one in tables if one.total > 0]
    grave = abs(apart) >= measures.MATTERS_SHARE and abs(sure) > about.limit
    if table.told[:count].sum() <= 0:
        return [Finding("absent", "differs" if grave else "note", f"{gone}.")]
    found = [Finding("missing", "differs", f"{gone}; {float(np.median(rest)):.0%} at the others.")] if grave else []
    return found + _order(about, shape, here, others) + _unmapped(about, here, others)


def _order(about: About, shape: Shape, here: Seen, others: list[Seen]) -> list[Finding]:
    """Return that codes look exchanged, or that their shares differ."""
    count = len(about.codes)
    tables = [one.codes[about.name].table for one in others]
    if not any(one.told[:count].sum() > 0 for one in tables):
        return []
    same = tuple(range(count))
    orders = list(_orders(count))
    strange = _strangeness(about, shape, here, others)
    as_is, terms = strange(same)
    usual = set(_usual(count))
    best = min(orders, key=lambda order: strange(order)[0] + (0.0 if order in usual else FARFETCHED))
    left = strange(best)[0]
    table = here.codes[about.name].table
    odd = bool(_shares(about, table, tables, about.exchanged))
    # Two grounds: with how codes go together with numbers another order is a hundred times likelier, and fits (a clash); or shares alone
    # differ beyond chance as they are, and no longer in that order (differs).
    sure = as_is - left >= measures.odds(len(orders))
    mirrored = odd and as_is > left and not _shares(about, table.moved(best), tables, about.exchanged)
    if (sure and left <= _FITS * terms) or mirrored:
        changed = ", ".join(f"{about.codes[one]} for {about.codes[other]}" for one, other in enumerate(best) if one != other)
        return [Finding("swapped", "clash" if sure else "differs", f"The codes look exchanged: {changed}.{_together(sure)}")]
    return _shares(about, table, tables, about.limit)


def _together(sure: bool) -> str:
    return " Shares and how they go together with other fields say so." if sure else " It may also be that the patients differ so."


def _orders(count: int) -> Iterator[tuple[int, ...]]:
    """Yield the other orders of codes that are tried: the usual ones, and all where there are few codes."""
    same, usual = tuple(range(count)), set(_usual(count))
    yield from sorted(usual)
    if count <= MANY:
        yield from (order for order in permutations(same) if order != same and order not in usual)


def _usual(count: int) -> Iterator[tuple[int, ...]]:
    """Yield the orders in which lists go wrong by hand: two exchanged, counted from one further or one less, the reverse."""
    same = tuple(range(count))
    for one, other in combinations(same, 2):
        order = list(same)
        order[one], order[other] = other, one
        yield tuple(order)
    if count > 2:
        yield from ((*same[1:], 0), (count - 1, *same[:-1]), same[::-1])


@dataclass(frozen=True)
class _Strangeness:
    """Hold, for each code here and each code it could stand for, squared deviations from the others: of shares and of mean ranks."""

    shares: np.ndarray
    ranks: np.ndarray
    numbers: int

    def __call__(self, order: tuple[int, ...]) -> tuple[float, int]:
        """Return how strange the hospital is if each code stands for the one in `order`, and over how many figures."""
        places = np.arange(len(order)), np.array(order)
        free = (len(order) - 1) / len(order)  # what holds for all codes but one follows for the last
        return free * float(self.shares[places].sum() + self.ranks[places].sum()), len(order) * (1 + self.numbers)


def _strangeness(about: About, shape: Shape, here: Seen, others: list[Seen]) -> _Strangeness:
    count = len(about.codes)
    columns = [place for place, (field, _) in enumerate(shape.classes) if field == about.name]
    shares = _share_table(about, here.codes[about.name].table, [one.codes[about.name].table for one in others])
    ranks = np.zeros((count, count))
    for code, column in enumerate(columns):
        for meant, other in enumerate(columns):
            squared = _apart(here.ranks[:, column], here.members[column], [(one.ranks[:, other], one.members[other]) for one in others])
            ranks[code, meant] = float(np.nansum(np.where(np.isnan(squared), 1.0, squared)))
    return _Strangeness(shares, ranks, len(shape.numbers))


def _apart(here: np.ndarray, members: float, others: list[tuple[np.ndarray, float]], sign: float = 1.0) -> np.ndarray:
    """Return squared deviations of mean ranks from the median of the others, of two from the nearer one; NaN where one is not told."""
    told = [(ranks, count) for ranks, count in others if not bool(np.all(np.isnan(ranks))) and count > 0]
    if not told:
        return np.full(len(here), np.nan)
    stacked = sign * np.stack([ranks for ranks, _ in told])
    more = sum(count for _, count in told)
    variance = measures.rank_chance(members) + measures.MEDIAN * measures.rank_chance(more) + measures.between(measures.GOING, len(told))
    if len(told) == measures.PAIR:
        each = (here - stacked) ** 2
        squared = np.where(np.isnan(each), np.inf, each).min(axis=0)
        squared[np.isinf(squared)] = np.nan
    else:
        squared = (here - measures.median(stacked)) ** 2
    return np.asarray(squared / variance)


def _share_table(about: About, table: Folded, tables: list[Folded]) -> np.ndarray:
    """Return [C, C] squared deviations of each code's share here from each code's share at the others, in arcsines."""
    count = len(about.codes)
    low, high = (_angle(end[:count], table.told[:count].sum()) for end in table.could_be(about.least))
    there = [(one, one.told[:count].sum()) for one in tables if one.told[:count].sum() > 0]
    angles = np.array([[_angle(end[:count], total) for end in one.could_be(about.least)] for one, total in there])
    below, above = np.array([measures.ends(angles[:, :, place]) for place in range(count)]).T
    gap = np.maximum(np.maximum(low[:, None] - above[None, :], below[None, :] - high[:, None]), 0.0)
    chance = measures.scatter(float(table.told[:count].sum()), float(sum(total for _, total in there)))
    return measures.surprise(gap, chance, measures.between(measures.SHARES, len(there)))


def _angle(counts: np.ndarray, total: float) -> np.ndarray:
    return np.asarray(2 * np.arcsin(np.sqrt(np.clip(counts / max(total, 1.0), 0.0, 1.0))))


def _shares(about: About, table: Folded, tables: list[Folded], limit: float) -> list[Finding]:
    """Return that shares of codes differ beyond chance, the largest difference first."""
    count = len(about.codes)
    found = []
    for place, code in enumerate(about.codes):
        apart, sure = measures.gap(table, [place], tables, about.least, slice(0, count))
        if abs(apart) >= measures.MATTERS_SHARE and abs(sure) > limit:
            found.append((abs(apart), place, code))
    if not found:
        return []
    _, place, code = max(found)
    share = measures.said(table, place, slice(0, count))
    rest = float(np.median([one.told[place] / one.told[:count].sum() for one in tables if one.told[:count].sum() > 0]))
    says = f"{share[:1].upper() + share[1:]} of the known are {code!r}; {rest:.0%} at the others."
    return [Finding("prevalence" if about.label else "shares", "differs", says)]


def _unmapped(about: About, here: Seen, others: list[Seen]) -> list[Finding]:
    """Return codes of the contract that no local code leads to, and that most other hospitals use."""
    found = []
    for place, code in enumerate(about.codes):
        using = sum(one.codes[about.name].table.told[place] > 0 for one in others)
        if here.codes[about.name].mapped[place] == 0 and using * 2 > len(others):
            found.append(code)
    if not found:
        return []
    listed = ", ".join(map(repr, found))
    return [Finding("unmapped", "differs", f"No local code leads to {listed}, which most other hospitals use.")]


def turned(shape: Shape, name: str, here: Seen, others: list[Seen]) -> float:
    """Return how much less strange a number's going together with all else would be if it counted the other way; below 0: more."""
    row = shape.numbers.index(name)
    gained = 0.0
    for column in range(len(shape.classes)):
        one = here.ranks[row : row + 1, column]
        rest = [(seen.ranks[row : row + 1, column], seen.members[column]) for seen in others]
        gained += _gain(one, float(here.members[column]), rest)
    for column in range(len(shape.numbers)):
        if column == row:
            continue
        at = (max(row, column), min(row, column))
        known = here.numbers[name].known / 3  # a mean product of ranks varies as a mean rank of a third of the patients
        rest = [(np.array([seen.together[at]]), seen.numbers[name].known / 3) for seen in others]
        gained += _gain(np.array([here.together[at]]), known, rest)
    return TOGETHER * gained


def _gain(one: np.ndarray, members: float, rest: list[tuple[np.ndarray, float]]) -> float:
    as_is, other = (float(_apart(one, members, rest, sign)[0]) for sign in (1.0, -1.0))
    return 0.0 if math.isnan(as_is) or math.isnan(other) else as_is - other
