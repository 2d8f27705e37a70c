"""Work out, at a hospital, what it tells of its data in a preflight. No count, and no mean, that leaves is of fewer than k patients.

Each patient counts once, by the first row. Each field's patients lie in the cells of one table, a value that many share among them, and
each cell of fewer than k reads "few" and is folded into the largest (`privacy/folding.py`). Of a number leave besides, in the contract's
unit, means of groups of patients by rank (`groups.py`). How fields go together leaves as means of *ranks*, from -1 (lowest here) to 1:
they stay the same in whatever unit a number is written.

Figures that are told together give more away than each by itself, if they are exact: ranks sum to nothing, so one patient without a number
would be missed in the mean of that patient's class. Therefore means lie on a coarse grid; a patient without a number counts in the mean of
ranks as one in the middle, so that the classes' means sum to nothing wherever those patients are; and *whether* a mean is told follows from
the tables as they are told, not from who lies in both.
"""

from __future__ import annotations

import numpy as np

from wardround.data.notes import LENGTHS
from wardround.learning.preflight.groups import AT_THE_END, FEW_APART, NEARLY_ALL, SET_APART, behind, means, shared
from wardround.learning.preflight.layout import FAR, GRID, HALVES, PARTS, SPIKE, TIME, Shape
from wardround.privacy.across import LEFT
from wardround.privacy.folding import Folded
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol

YEAR = 365.25 * 86400


def summarised(protocol: Protocol, data: Dataset) -> dict[str, np.ndarray]:
    """Return what one hospital tells, by name of the layout's terms."""
    shape, least = Shape.of(protocol), protocol.privacy.smallest_count
    values = {name: _values(shape, data, name)[0] for name in shape.numbers}
    spikes = {name: shared(z, least) for name, z in values.items()}
    cells = _cells(shape, data, spikes)
    tables = {name: Folded.of(np.bincount(places, minlength=count), least) for name, (places, count) in cells.items()}
    groups = [_means(values[name], spikes[name], tables[name], least) for name in shape.numbers]
    mapped = [data.notes.get(f"mapped/{name}", np.ones(len(listed))) for name, listed in shape.codes.items()]
    repeats, halves = _repeats(data, least), tables.get(HALVES, Folded(np.zeros(3), np.zeros(3, dtype=bool)))
    return {
        "numbers": np.array([tables[name].told for name in shape.numbers]).reshape(-1, len(PARTS)),
        "numbers/few": np.array([tables[name].few for name in shape.numbers], dtype=np.float64).reshape(-1, len(PARTS)),
        "groups": np.array([float(count) for count, _, _ in groups]),
        "quarters": np.array([quarters for _, quarters, _ in groups]).reshape(-1, 4),
        "chance": np.array([chance for _, _, chance in groups]).reshape(-1, 2),
        "spike/kind": np.array([float(spikes[name][0]) for name in shape.numbers]),
        "spike/value": np.array([spikes[name][1] for name in shape.numbers]),
        "codes": np.concatenate([*(tables[name].told for name in shape.codes), np.zeros(0)]),
        "codes/few": np.concatenate([*(tables[name].few for name in shape.codes), np.zeros(0)]).astype(np.float64),
        "mapped": np.minimum(np.concatenate([*mapped, np.zeros(0)]), 10_000),
        "halves": halves.told,
        "halves/few": halves.few.astype(np.float64),
        "repeats": repeats.told,
        "repeats/few": repeats.few.astype(np.float64),
        **_together(shape, values, cells, tables, least),
        **_card(data),
    }


def told_apart(protocol: Protocol, data: Dataset) -> dict[str, np.ndarray]:
    """Return by field what rows can be told apart by from what this hospital tells, int32 [N]: for later studies of the same patients.

    Of the time of a row nothing: no other study tells a table of it.
    """
    shape, least = Shape.of(protocol), protocol.privacy.smallest_count
    patient, found = np.unique(data.patient, return_inverse=True)[1], {}
    spikes = {name: shared(_values(shape, data, name)[0], least) for name in shape.numbers}
    for name, (cells, count) in _cells(shape, data, spikes).items() if least > 1 else ():
        counts = np.bincount(cells, minlength=count)
        small = (counts < least)[cells]
        labels = np.where(small, int(np.argmax(counts)), cells) if Folded.of(counts, least).total else np.full(len(cells), -1)
        if name not in (TIME, HALVES):
            found[f"{LEFT}0.{name}|{name}"] = labels[patient].astype(np.int32)
    return found


def _first(data: Dataset) -> np.ndarray:
    """Return the first row of each patient."""
    return np.unique(data.patient, return_index=True)[1]


def _cells(shape: Shape, data: Dataset, spikes: dict[str, tuple[int, float]]) -> dict[str, tuple[np.ndarray, int]]:
    """Return by field the cell of each patient in the field's table, int64 [P], and how many cells there are."""
    found, first = {}, _first(data)
    for name in shape.numbers:
        z, unread = _values(shape, data, name)
        inside = np.abs(z) <= (FAR if name == TIME else 1 + 1e-9)
        cells = np.where(unread, 3, np.where(np.isnan(z), 2, np.where(inside, 0, 1)))
        kind, value = spikes[name]
        found[name] = np.where((z == value) & (kind in (SET_APART, AT_THE_END)), SPIKE, cells), len(PARTS)
    for name, listed in shape.codes.items():
        place, unread = data.columns[name][first].astype(np.int64), _unreadable(data, name)[first]
        found[name] = np.where(place >= 0, place, np.where(unread, len(listed) + 1, len(listed))), len(listed) + 2
    if shape.timed:
        early = ranks(_values(shape, data, TIME)[0])
        found[HALVES] = np.where(np.isnan(early), 2, early >= 0).astype(np.int64), 3
    return found


def _means(z: np.ndarray, spike: tuple[int, float], table: Folded, least: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return what `groups.means` tells, where so many patients stand behind it by what the table tells already."""
    low, kind = table.could_be(least)[0], spike[0]
    if kind == NEARLY_ALL:
        return 4, np.full(4, spike[1]), np.zeros(2)  # the few others are in none of the means
    fewest = low[:2].sum() + (0.0 if kind == SET_APART else low[SPIKE]) - (least - 1 if kind == FEW_APART else 0)
    return means(behind(z, *spike), float(fewest) if table.total else 0.0, least)


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


def _together(
    shape: Shape, values: dict[str, np.ndarray], cells: dict[str, tuple[np.ndarray, int]], tables: dict[str, Folded], least: int
) -> dict[str, np.ndarray]:
    """Return the mean rank of each number among the patients of each code, and the mean product of each two numbers' ranks."""
    numbers, classes = shape.numbers, shape.classes
    by_class, told = np.zeros((len(numbers), len(classes))), np.zeros((len(numbers), len(classes)))
    pairs, pairs_told = np.zeros((len(numbers), len(numbers))), np.zeros((len(numbers), len(numbers)))
    middled = [np.nan_to_num(ranks(values[name])) for name in numbers]
    without = [most_without(tables[name], least) for name in numbers]
    for row in range(len(numbers)):
        for field in dict.fromkeys(field for field, _ in classes):
            columns = [column for column, (other, _) in enumerate(classes) if other == field]
            may = may_be_told(tables[field], len(columns), without[row], least)
            for column in (column for column, one in zip(columns, may, strict=True) if one):
                by_class[row, column] = middled[row][cells[field][0] == classes[column][1]].mean()
                told[row, column] = 1.0
        for column in range(row):
            both = ~np.isnan(values[numbers[row]]) & ~np.isnan(values[numbers[column]])
            if len(both) - without[row] - without[column] >= max(least, 2):
                pairs[row, column], pairs_told[row, column] = 3 * (middled[row] * middled[column])[both].mean(), 1.0
    by_class, pairs = (np.round(one / GRID) * GRID for one in (by_class, pairs))
    return {"ranks": by_class, "ranks/told": told, "together": pairs, "together/told": pairs_told}


def most_without(table: Folded, least: int) -> float:
    """Return how many patients have no number, at most, as far as a number's table tells; all where it tells nothing."""
    return float(table.could_be(least)[1][2:4].sum()) if table.total else np.inf


def may_be_told(table: Folded, codes: int, without: float, least: int) -> np.ndarray:
    """Return bool [codes], of which codes' patients a mean may be told beside the mean of all, which is known.

    Those of k patients and more who have the number, wherever the patients are who have none; and of what is left nobody or as many,
    since the mean of the rest follows. It is decided by what the tables tell, so that it tells nothing itself.

    Args:
        table: of the codes; cells after them hold patients without a code.
        codes: how many there are.
        without: patients without a number at most.
        least: k.

    Example:
        >>> may_be_told(Folded.of(np.array([50, 30, 12, 0]), 10), 3, 5, 10).tolist()
        [False, True, False]
    """
    low, high = table.could_be(least)
    told = np.append(low[:codes] - without >= max(least, 1), np.zeros(len(low) - codes, dtype=bool))
    for place in np.flatnonzero(told):
        if high[~told].sum() <= 0 or low[~told].sum() - without >= least:
            break
        told[place] = False
    return np.asarray(told[:codes])


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
