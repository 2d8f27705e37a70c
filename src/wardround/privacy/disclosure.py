"""Hold small counts back, and with them whatever would give them away.

Whoever sees counts can add and subtract them. Two rows that lie in the same cells of everything that was let out cannot be told apart by
that; such a class of rows is an *atom*. Every count that follows by adding and subtracting is a sum of whole atoms. So where every atom
that is not empty holds at least k patients, every such count is 0 or at least k. That is the rule here, for each table by itself and for
each pair of tables that share a field, and for all tables of the very same fields together; what a table of several fields tells of one of
them alone (`linked`) counts as a table of that one. Two tables without a common field give no count of fewer than one of them does.

What is held back is chosen in order of place, never by size: which cell covers for a small one then says nothing of how small that is.
Counts are never below 0, so that adding up can tell what subtracting cannot: ten hidden cells that sum to 10 would each be 1 if they were
known not to be 0. Where any cell of a table is held back its empty cells are too, and nothing marks which of the hidden are empty, small
or cover for others.

Source: Hundepool et al., Statistical Disclosure Control, Wiley 2012, chapters 2 and 4 (primary and secondary suppression, differencing);
Dobkin, Jones, Lipton, Secure databases: protection against user influence, ACM TODS 1979 (what overlapping counts give away).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ABSENT = -2
"""Stands in what a table told rows apart by where it did not know the patient."""


def joined(*labels: np.ndarray) -> np.ndarray:
    """Return int64 [N], the class of each row: rows alike in all labels have the same one, counted from 0.

    Args:
        labels: int [N] each, at least one.

    Example:
        >>> joined(np.array([0, 0, 5, 5]), np.array([1, 2, 1, 1])).tolist()
        [0, 1, 2, 2]
    """
    found = np.zeros(len(labels[0]), dtype=np.int64)
    for one in labels if len(found) else ():
        low = int(one.min())
        found = _counted_from_0(found * (int(one.max()) - low + 1) + (one.astype(np.int64) - low))
    return found


def linked(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return int64 [N], the class of each row where rows alike in either label are in the same class, and so those alike to these.

    Of a table and the values of one of its fields these are the finest groups of values that the table counts.

    Args:
        one: int [N].
        other: int [N].

    Example:
        >>> linked(np.array([0, 1, 2, 3]), np.array([5, 5, 6, 7])).tolist()
        [0, 0, 1, 2]
    """
    one, other = joined(one), joined(other)
    if not len(one):
        return one
    wide = int(other.max()) + 1
    near, far = np.divmod(np.unique(one * wide + other), wide)
    found = np.arange(int(one.max()) + 1)
    while True:
        low = np.full(wide, len(found))
        np.minimum.at(low, far, found[near])
        lower = found.copy()
        np.minimum.at(lower, near, low[far])
        if np.array_equal(lower, found):
            return joined(found[one])
        found = lower


def _counted_from_0(codes: np.ndarray) -> np.ndarray:
    """Return int64 [N], numbers of 0 or more with the gaps between them closed."""
    most = int(codes.max())
    if most > 8 * len(codes) + 100_000:
        return np.asarray(np.unique(codes, return_inverse=True)[1], dtype=np.int64).reshape(-1)
    there = np.zeros(most + 1, dtype=bool)
    there[codes] = True
    return np.asarray((np.cumsum(there) - 1)[codes], dtype=np.int64)


def patients_in(classes: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Return int64 [classes]: how many different patients have a row in each class.

    Args:
        classes: int64 [N], from 0.
        patient: int64 [N], the patient of each row.
    """
    once = np.unique(patient, return_inverse=True)[1].reshape(-1)
    width = int(once.max(initial=0)) + 1
    return np.bincount(np.unique(classes * width + once) // width, minlength=int(classes.max(initial=-1)) + 1)


def _small(classes: np.ndarray, patient: np.ndarray | None, least: int) -> np.ndarray:
    """Return bool [N], the rows in a class of fewer than `least` patients; `patient` is None where each row is another patient's."""
    return np.asarray(((np.bincount(classes) if patient is None else patients_in(classes, patient)) < least)[classes])


def one_row_each(patient: np.ndarray) -> np.ndarray | None:
    """Return None where each row is another patient's, which makes counting patients counting rows; else the patients as they are."""
    return None if len(np.unique(patient)) == len(patient) else patient


def fewest(classes: np.ndarray, patient: np.ndarray) -> int:
    """Return the patients in the smallest class that is not empty; 0 where there are no rows."""
    counts = patients_in(joined(classes), patient) if len(classes) else np.zeros(0, dtype=np.int64)
    return int(counts.min(initial=np.iinfo(np.int64).max)) if len(counts) else 0


def told_apart(cells: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return int64 [N], what an observer can tell rows apart by once some cells are held back: the cell, or -1 for all others together.

    Args:
        cells: int64 [N], the cell of each row, -1 for none.
        held: bool [C], the cells that are held back.
    """
    return np.where((cells >= 0) & ~held[cells], cells, -1)


@dataclass(frozen=True)
class Before:
    """Hold what was told already of the same rows.

    Attributes:
        labels: int64 [N], what it told rows apart by.
        least: k beside it.
        values: int64 [N], those of a field, where a table counts here only by what it tells of that field alone; None for the whole table.
    """

    labels: np.ndarray
    least: int
    values: np.ndarray | None = None


def held_back(
    cells: np.ndarray,
    count: int,
    patient: np.ndarray,
    least: int,
    beside: Sequence[Before] = (),
    earlier: Sequence[np.ndarray] = (),
    floor: int = 1,
) -> np.ndarray:
    """Return bool [C], the cells of one table whose counts must not leave, beside the total, which is taken as known.

    Args:
        cells: int64 [N], the cell of each row, -1 for none; cells do not overlap.
        count: C, how many cells the table has.
        patient: int64 [N], the patient of each row.
        least: k, fewest patients that a count may be of.
        beside: what these rows can be told apart by already.
        earlier: int [N + M] each: what tables of other studies told; see `small_beside_earlier`.
        floor: k beside other studies: the site's own.
    """
    held = np.zeros(count, dtype=bool)
    if least <= 1 or not len(cells):
        return held
    occupied = np.bincount(cells[cells >= 0], minlength=count) > 0
    whose = one_row_each(patient)
    while bool(np.any(occupied & ~held)):
        apart = told_apart(cells, held)
        small = _in_small_atoms(apart, whose, least, beside) | small_beside_earlier(apart, whose, floor, earlier)
        if not bool(np.any(small)):
            break
        named = np.unique(apart[small & (apart >= 0)])
        held[named if len(named) else _next(apart, held, occupied, small)] = True
    if not bool(np.any(occupied)) and bool(np.any(small_beside_earlier(cells, whose, floor, earlier))):
        held[:] = True  # that nobody is in any cell would tell whose values an earlier study still knew
    return held | ~occupied if bool(np.any(held)) else held


def small_beside_earlier(apart: np.ndarray, patient: np.ndarray | None, least: int, earlier: Sequence[np.ndarray]) -> np.ndarray:
    """Return bool [N], the rows by which a table and one of another study, at another time, would give fewer than `least` away.

    Patients who are new are a class of their own in each cell. Those who have gone are in no cell now; how many they are follows for cells
    of then that are the same rows as cells of now (`linked`). Where these are few, the rows are those of the cells of then that lost some.

    Args:
        apart: int64 [N], what this table tells rows apart by.
        patient: int64 [N], the patient of each row; None where each is another one's (`one_row_each`).
        least: k.
        earlier: int [N + M] each: what an earlier table told these rows apart by, and then M patients who are no longer here; -2 where
            that table did not know the patient.
    """
    small = np.zeros(len(apart), dtype=bool)
    for other in earlier if least > 1 else ():
        here, gone = other[: len(apart)], other[len(apart) :]
        small |= _small(joined(apart, here), patient, least)
        if bool(np.any(gone != ABSENT)):
            small |= _lost_few(apart, here, gone[gone != ABSENT], least)
    return small


def _lost_few(apart: np.ndarray, here: np.ndarray, gone: np.ndarray, least: int) -> np.ndarray:
    """Return bool [N], the rows of cells of then that lost some, where cells of now tell that they lost fewer than `least`.

    Args:
        apart: int64 [N], what this table tells rows apart by.
        here: int [N], what the earlier one told them apart by.
        gone: int [M], the same of those who have gone.
        least: k.
    """
    few = np.zeros(len(apart), dtype=bool)
    known = np.flatnonzero(here != ABSENT)
    then, first, which = np.unique(here[known], return_index=True, return_inverse=True)
    place = np.minimum(np.searchsorted(then, gone), max(len(then) - 1, 0))
    lost = np.bincount(place[then[place] == gone], minlength=len(then)) if len(then) else np.zeros(0, dtype=np.int64)
    if bool(np.any(lost)):
        groups = linked(apart[known], here[known])
        together = np.bincount(groups[first], weights=lost)[groups]
        few[known] = (together > 0) & (together < least) & (lost[which.reshape(-1)] > 0)
    return few


def _in_small_atoms(apart: np.ndarray, patient: np.ndarray | None, least: int, beside: Sequence[Before]) -> np.ndarray:
    """Return bool [N], the rows in an atom of fewer than `least` patients, of this table alone or together with what was told before."""
    small = _small(joined(apart), patient, least)
    for one in beside:
        mine = apart if one.values is None else linked(apart, one.values)
        small |= _small(joined(mine, one.labels), patient, one.least)
    return small


_MOST_OF = 0.9
"""Part of a spread that fewer than k patients must not make; the dominance rule of Hundepool et al., section 4.2.2."""


def solved(values: np.ndarray, classes: np.ndarray, least: int) -> bool:
    """Say whether sums of numbers and of their squares could tell how many of fewer than `least` patients have a value.

    For a number that is 0 or 1 the sum is a count. So it is with few values, and where tables count all but few of them: what they leave
    open are as many unknown counts as there are values, over the classes that were counted. Sums stay where these are fewer than 2 k and
    one is small, or where fewer than k patients make nearly all that values differ within a class: then the sum is about them.

    Args:
        values: float64 [N, F], numbers of which sums, sums of squares and products are told; each row another patient's.
        classes: int64 [N], by which rows were counted.
        least: k.
    """
    parts = [values, *(values[:, [place]] for place in range(values.shape[1]))] if least > 1 and len(values) else []
    return any(bool(np.any(np.bincount(_valued(one, classes)) < least)) and not _many(one, classes, least) for one in parts)


def covered(values: np.ndarray, classes: np.ndarray, least: int) -> bool:
    """Say whether these rows' values are so many that sums, also with those of other rows, leave open how often each is there.

    Args:
        values: float64 [N, F].
        classes: int64 [N].
        least: k.
    """
    return len(values) > 0 and all(_many(values[:, [place]], classes, least) for place in range(values.shape[1]))


def _many(values: np.ndarray, classes: np.ndarray, least: int) -> bool:
    """Say whether many values are open over the classes, and no few rows make nearly all that they differ."""
    free = int(_valued(values, classes).max()) - int(joined(classes).max())
    return free >= 2 * least and not any(_of_few(column, joined(classes), least) for column in values.T)


def _valued(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return int64 [N], the class of each row once its values are known."""
    return joined(classes, *(np.unique(column, return_inverse=True)[1].reshape(-1) for column in values.T))


def _of_few(values: np.ndarray, classes: np.ndarray, least: int) -> bool:
    """Say whether fewer than `least` rows make nearly all squares about the means of the classes."""
    means = np.bincount(classes, weights=values) / np.bincount(classes)
    squares = np.sort((values - means[classes]) ** 2)
    return bool(squares[-(least - 1) :].sum() > _MOST_OF * squares.sum())


def _next(apart: np.ndarray, held: np.ndarray, occupied: np.ndarray, small: np.ndarray) -> int:
    """Return the cell that covers for those held back: the next one after the first of these that any row is in."""
    open_ = np.flatnonzero(occupied & ~held)
    first = int(np.argmax(held)) if bool(np.any(held)) else -1
    after = open_[open_ > first]
    return int(after[0] if len(after) else open_[0])


def held_totals(counts: np.ndarray, least: int) -> np.ndarray:
    """Return bool [C], the cells of a summed table that must not be shown, beside their total.

    Where one is small, all small and all empty cells are hidden, and others until the hidden ones are two and together of `least` or more.

    Args:
        counts: [C], whole numbers, of cells that do not overlap.
        least: k.

    Example:
        >>> held_totals(np.array([50, 4, 30, 0]), 10).tolist()
        [False, True, True, True]
    """
    held = (counts > 0) & (counts < least)
    if bool(np.any(held)):
        held |= counts == 0
        _cover(counts, held, counts > 0, least)
    return held


def _cover(counts: np.ndarray, held: np.ndarray, may: np.ndarray, least: int) -> bool:
    """Hide more cells of a line, the next ones in order of place, until the hidden ones are two and of `least`; say whether any was added.

    Args:
        counts: [C].
        held: bool [C], changed in place.
        may: bool [C], which cells can cover.
        least: k.
    """
    added, first = False, int(np.argmax((counts > 0) & held))
    while counts[held].sum() < least or held.sum() < 2:
        open_ = np.flatnonzero(may & ~held)
        if not len(open_):
            break
        after = open_[open_ > first]
        held[after[0] if len(after) else open_[0]] = added = True
    return added


def held_field(counts: np.ndarray, least: int) -> np.ndarray:
    """Return bool [C], the cells of a field that must not be shown; the last is of missing values, and other tables may tell the known.

    So missing values never cover for a cell, since a table of known and missing shows them; where they are hidden, a cell is hidden too.

    Args:
        counts: [C], whole numbers.
        least: k.

    Example:
        >>> held_field(np.array([50, 4, 30]), 10).tolist()
        [True, True, False]
    """
    cells = held_totals(counts[:-1], least)
    missing = bool(held_totals(np.array([counts[:-1].sum(), counts[-1]]), least)[1])
    if missing and not bool(np.any(cells)) and bool(np.any(counts[:-1])):
        cells = counts[:-1] == 0
        cells[int(np.argmax(counts[:-1] > 0))] = True
    return np.append(cells, missing)


def held_crossed(counts: np.ndarray, least: int) -> np.ndarray:
    """Return bool [R, C], the cells of a summed two-way table that must not be shown, beside the totals of its rows and columns.

    A line whose total is itself hidden (`held_field`, as in a table of that field alone) is held back whole. Each other line holds back
    nothing, or two cells that together are of `least` or more. And each small cell could, as far as the lines and counts of 0 or more tell,
    be of `least`; where one could not, everything is held back. Lines that are told to be empty stay open.

    Args:
        counts: [R, C], whole numbers; the last row and the last column are of missing values.
        least: k.
    """
    totals = [counts.sum(axis=axis) for axis in (1, 0)]
    rows, columns = (held_field(one, least) for one in totals)
    if not (bool(np.any((counts > 0) & (counts < least))) or bool(np.any(rows)) or bool(np.any(columns))):
        return np.zeros(counts.shape, dtype=bool)
    free = ((totals[0] > 0) | rows)[:, None] & ((totals[1] > 0) | columns)[None, :]
    held = free & ((counts < least) | rows[:, None] | columns[None, :])
    changed = True
    while changed:
        changed = False
        for line, flags in (*zip(counts, held, strict=True), *zip(counts.T, held.T, strict=True)):
            if bool(np.any(line[flags] > 0)):
                changed |= _cover(line, flags, line > 0, least)
    return np.asarray(held if _all_could_be(held, counts, least) else free)


_MOST_STEPS = 4_000_000
"""Cells looked at for one table; beyond this it is held back whole, which is always safe."""


def _all_could_be(held: np.ndarray, counts: np.ndarray, least: int) -> bool:
    """Say whether each small hidden cell could be of `least` though the lines' totals stay: some others can give and take that much."""
    places = list(zip(*np.nonzero(held & (counts > 0) & (counts < least)), strict=True))
    if len(places) * held.size > _MOST_STEPS:
        return False
    return all(_could_be(held, counts, least, int(row), int(column)) for row, column in places)


def _could_be(held: np.ndarray, counts: np.ndarray, least: int, row: int, column: int) -> bool:
    """Follow what makes room for a cell to grow: its column gives in another row, this takes in another column, until its row gives."""
    gives, takes = held & (counts >= least - counts[row, column]), held.copy()
    gives[row, column] = takes[row, column] = False
    columns, todo = {column}, [column]
    rows: set[int] = set()
    while todo:
        here = todo.pop()
        for giver in map(int, np.flatnonzero(gives[:, here])):
            if giver == row:
                return True
            if giver not in rows:
                rows.add(giver)
                near = {int(one) for one in np.flatnonzero(takes[giver])} - columns
                columns |= near
                todo += near
    return False
