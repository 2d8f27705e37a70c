"""Work out, at a hospital, what it tells of its data in a preflight. Nothing that leaves is about fewer than k patients.

Each patient counts once, by the first row. Of a number leave, in the contract's unit, means of four groups of patients by rank, the
outermost twentieth at either end left out (so no lowest and no highest value is in any of them); a group has k patients or more, else
there are two groups, else none. Of codes leave counts in which each of fewer than k reads "few" and is folded into the largest
(`privacy/folding.py`). How fields go together leaves as means of *ranks*, from -1 (lowest here) to 1, over k patients or more: they stay
the same in whatever unit a number is written.

Source: groups of k with their means: Domingo-Ferrer, Mateo-Sanz, Practical data-oriented microaggregation, IEEE TKDE 14 (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wardround.data.notes import LENGTHS
from wardround.learning.preflight.layout import FAR, HALVES, TIME, Shape
from wardround.privacy.across import LEFT
from wardround.privacy.folding import Folded
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol

YEAR = 365.25 * 86400
CUTS = (0.05, 0.275, 0.5, 0.725, 0.95)
"""Ends of the four groups by rank, as shares of the patients."""
NOTHING_ALIKE, NEARLY_ALL, SET_APART, FEW_APART = 0, 1, 2, 3
"""What is told of a value that patients share: nothing; that nearly all have it; that k or more have it and it lies far from all other
values; or that a few share such a value, without the value and without how many."""
APART = 4.0
"""How far, in deviations of the other values, a shared value must lie from them to be told apart."""
SHARED, SHARED_SHARE = 3, 0.03
"""Fewest patients, and smallest share of them, that make a value a shared one where it is not told."""
_LOOKED_AT = 30
"""Of the most frequent values, how many are looked at."""
_WIDTH = 1.645
"""Deviations between the middle and the outer twentieth of a normal distribution."""


@dataclass(frozen=True)
class Told:
    """Hold what is told of one number: see `layout.Shape.terms` for the names."""

    groups: int = 0
    quarters: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    kind: int = NOTHING_ALIKE
    count: float = 0.0
    value: float = 0.0


def summarised(protocol: Protocol, data: Dataset) -> dict[str, np.ndarray]:
    """Return what one hospital tells, by name of the layout's terms."""
    shape, least = Shape.of(protocol), protocol.privacy.smallest_count
    values = {name: _values(shape, data, name) for name in shape.numbers}
    tables = {name: Folded.of(np.bincount(cells, minlength=count), least) for name, (cells, count) in _cells(shape, data).items()}
    told = [number_told(values[name][0], least) for name in shape.numbers]
    first = _first(data)
    places = {name: data.columns[name][first].astype(np.int64) for name in shape.codes}
    ranked = {name: ranks(values[name][0]) for name in shape.numbers}
    halves = np.zeros(2)
    if shape.timed:
        places[HALVES] = np.where(np.isnan(ranked[TIME]), -1, ranked[TIME] >= 0).astype(np.int64)
        halves = Folded.of(np.bincount(places[HALVES][places[HALVES] >= 0], minlength=2), least).told
    mapped = [data.notes.get(f"mapped/{name}", np.ones(len(listed))) for name, listed in shape.codes.items()]
    repeats = _repeats(data, least)
    return {
        "numbers": np.array([tables[name].told for name in shape.numbers]).reshape(-1, 4),
        "numbers/few": np.array([tables[name].few for name in shape.numbers], dtype=np.float64).reshape(-1, 4),
        "groups": np.array([float(one.groups) for one in told]),
        "quarters": np.array([one.quarters for one in told]).reshape(-1, 4),
        "spike/kind": np.array([float(one.kind) for one in told]),
        "spike/count": np.array([one.count for one in told]),
        "spike/value": np.array([one.value for one in told]),
        "codes": np.concatenate([*(tables[name].told for name in shape.codes), np.zeros(0)]),
        "codes/few": np.concatenate([*(tables[name].few for name in shape.codes), np.zeros(0)]).astype(np.float64),
        "mapped": np.minimum(np.concatenate([*mapped, np.zeros(0)]), 10_000),
        "halves": halves,
        "repeats": repeats.told,
        "repeats/few": repeats.few.astype(np.float64),
        **_together(shape, ranked, places, least),
        **_card(data),
    }


def told_apart(protocol: Protocol, data: Dataset) -> dict[str, np.ndarray]:
    """Return by field what rows can be told apart by from what this hospital tells, int32 [N]: for later studies of the same patients."""
    shape, least = Shape.of(protocol), protocol.privacy.smallest_count
    patient, found = np.unique(data.patient, return_inverse=True)[1], {}
    for name, (cells, count) in _cells(shape, data).items() if least > 1 else ():
        counts = np.bincount(cells, minlength=count)
        small = (counts < least)[cells]
        labels = np.where(small, int(np.argmax(counts)), cells) if Folded.of(counts, least).total else np.full(len(cells), -1)
        if name != TIME:
            found[f"{LEFT}0.{name}|{name}"] = labels[patient].astype(np.int32)
    return found


def _first(data: Dataset) -> np.ndarray:
    """Return the first row of each patient."""
    return np.unique(data.patient, return_index=True)[1]


def _cells(shape: Shape, data: Dataset) -> dict[str, tuple[np.ndarray, int]]:
    """Return by field the cell of each patient in the field's table, int64 [P], and how many cells there are."""
    found, first = {}, _first(data)
    for name in shape.numbers:
        z, unread = _values(shape, data, name)
        inside = np.abs(z) <= (FAR if name == TIME else 1 + 1e-9)
        found[name] = np.where(unread, 3, np.where(np.isnan(z), 2, np.where(inside, 0, 1))), 4
    for name, listed in shape.codes.items():
        place, unread = data.columns[name][first].astype(np.int64), _unreadable(data, name)[first]
        found[name] = np.where(place >= 0, place, np.where(unread, len(listed) + 1, len(listed))), len(listed) + 2
    return found


def _values(shape: Shape, data: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a number in halves of its range about the middle, float64 [P], NaN where there is none, and what is none but should be."""
    (middle, half), first = shape.scales[name], _first(data)
    if name == TIME:
        raw = np.full(len(data), np.nan) if data.time is None else data.time / YEAR + 1970
        unread = np.zeros(len(first), dtype=bool)
    else:
        raw, unread = data.columns[name], _unreadable(data, name)[first]
    z = (raw[first] - middle) / half
    beyond = ~np.isnan(z) & ~(np.abs(z) <= FAR)
    return np.where(beyond, np.nan, z), unread | beyond


def _unreadable(data: Dataset, name: str) -> np.ndarray:
    noted = data.notes.get(f"unreadable/{name}")
    return np.zeros(len(data), dtype=bool) if noted is None else noted.astype(bool)


def number_told(z: np.ndarray, least: int) -> Told:
    """Return what may be told of a number.

    Args:
        z: float64 [P], one value a patient, NaN where missing.
        least: k.
    """
    known = np.sort(z[~np.isnan(z)])
    if len(known) < max(least, 1):
        return Told()
    values, counts = np.unique(known, return_counts=True)
    most = int(np.argmax(counts))
    if counts[most] >= max(least, 2) and len(known) - counts[most] < max(least, 1):
        return Told(4, (float(values[most]),) * 4, NEARLY_ALL, 0.0, float(values[most]))
    far = [place for place in np.argsort(-counts, kind="stable")[:_LOOKED_AT] if _lies_apart(known, values[place])]
    for place in far:
        if counts[place] >= max(least, 2):
            groups, quarters = _groups(known[known != values[place]], least)
            return Told(groups, quarters, SET_APART, float(counts[place]), float(values[place]))
    for place in far:
        if counts[place] >= max(SHARED, SHARED_SHARE * len(known)):
            return Told(*_groups(known[known != values[place]], least), FEW_APART)
    return Told(*_groups(known, least))


def _lies_apart(known: np.ndarray, value: float) -> bool:
    """Say whether a value lies far from all others, measured by these alone, on its own side of their median."""
    rest = known[known != value]
    low, middle, high = np.quantile(rest, (0.05, 0.5, 0.95)) if len(rest) else (value, value, value)
    below, above = (middle - low) / _WIDTH, (high - middle) / _WIDTH
    wide = max(above, below / 2) if value > middle else max(below, above / 2)  # half: where one side has no width of its own
    return bool(abs(value - middle) > APART * max(wide, 1e-12)) and not low <= value <= high


def _groups(known: np.ndarray, least: int) -> tuple[int, tuple[float, ...]]:
    """Return how many groups there are, and their means; two means stand twice each, none are 0.

    Args:
        known: float64 [N], ascending.
        least: k.
    """
    for cuts in (CUTS, CUTS[::2]):
        ends = [int(len(known) * cut) for cut in cuts]
        if min(np.diff(ends)) >= max(least, 1):
            means = [float(known[low:high].mean()) for low, high in pairwise(ends)]
            return len(means), tuple(np.repeat(means, 4 // len(means)).tolist())
    return 0, (0.0,) * 4


def ranks(z: np.ndarray) -> np.ndarray:
    """Return float64 [P], each value's rank among the known ones from -1 to 1, ties at their middle; NaN where missing.

    Example:
        >>> ranks(np.array([30.0, 10.0, np.nan, 10.0])).tolist()[:2]
        [0.6666666666666667, -0.3333333333333333]
    """
    known = ~np.isnan(z)
    found = np.full(len(z), np.nan)
    if known.any():
        _, where, counts = np.unique(z[known], return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        found[known] = (2 * (ends - counts / 2) / known.sum() - 1)[where]
    return found


def _together(shape: Shape, ranked: dict[str, np.ndarray], places: dict[str, np.ndarray], least: int) -> dict[str, np.ndarray]:
    """Return the mean rank of each number among the patients of each code, and the mean product of each two numbers' ranks."""
    numbers, classes = shape.numbers, shape.classes
    by_class, told = np.zeros((len(numbers), len(classes))), np.zeros((len(numbers), len(classes)))
    pairs, pairs_told = np.zeros((len(numbers), len(numbers))), np.zeros((len(numbers), len(numbers)))
    for row, name in enumerate(numbers):
        known = ~np.isnan(ranked[name])
        for field in dict.fromkeys(field for field, _ in classes):
            columns = [column for column, (other, _) in enumerate(classes) if other == field]
            counts = np.array([float((known & (places[field] == classes[column][1])).sum()) for column in columns])
            for column, may in zip(columns, may_be_told(counts, float(known.sum()), least), strict=True):
                if may:
                    by_class[row, column] = ranked[name][known & (places[field] == classes[column][1])].mean()
                    told[row, column] = 1.0
        for column in range(row):
            both = known & ~np.isnan(ranked[numbers[column]])
            if both.sum() >= max(least, 2):
                pairs[row, column], pairs_told[row, column] = 3 * (ranked[name] * ranked[numbers[column]])[both].mean(), 1.0
    return {"ranks": by_class, "ranks/told": told, "together": pairs, "together/told": pairs_told}


def may_be_told(counts: np.ndarray, total: float, least: int) -> np.ndarray:
    """Return bool [C], of which classes a mean may be told beside the mean of all, which is known.

    Those of k patients and more; and of what is left nothing or k and more, since the mean of the rest follows.

    Args:
        counts: [C], patients of each class.
        total: patients in all, those without a class too.
        least: k.
    """
    told = counts >= max(least, 1)
    for place in np.flatnonzero(told):
        rest = total - counts[told].sum()
        if rest <= 0 or rest >= least:
            break
        told[place] = False
    return np.asarray(told)


def _repeats(data: Dataset, least: int) -> Folded:
    """Return how many patients have no row that repeats an earlier one in every field, and how many have one."""
    columns = [np.asarray(one, dtype=np.float64) for one in data.columns.values()]
    columns += [data.time] if data.time is not None else []
    table = np.nan_to_num(np.stack(columns, axis=1), nan=np.inf)
    where = np.unique(table, axis=0, return_index=True)[1]
    again = np.ones(len(data), dtype=bool)
    again[where] = False
    repeated = len(np.unique(data.patient[again]))
    return Folded.of(np.array([data.patients - repeated, repeated]), least)


def _card(data: Dataset) -> dict[str, np.ndarray]:
    """Return the label card, zeros where there is none; an agreement of -2 stands for none."""
    agreement, readers = data.notes.get("card/figures", np.array([np.nan, 0.0]))
    texts = {f"card/{name}": data.notes.get(f"card/{name}", np.zeros(length)).astype(np.float64) for name, length in LENGTHS.items()}
    there = np.asarray(float("card/figures" in data.notes))
    stated = np.asarray(-2.0 if np.isnan(agreement) else float(agreement))
    return {**texts, "card/agreement": stated, "card/readers": np.asarray(float(readers)), "card/there": there}
