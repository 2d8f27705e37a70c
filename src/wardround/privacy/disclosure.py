"""Hold small counts back, and with them whatever would give them away.

Whoever sees counts can add and subtract them. Two rows that lie in the same cells of everything that was let out cannot be told apart by
that; such a class of rows is an *atom*. Every count that follows by adding and subtracting is a sum of whole atoms. So where every atom
that is not empty holds at least k patients, every such count is 0 or at least k. That is the rule here, for each table by itself and for
each pair of tables that share a field; two tables without a common field give no count of fewer patients than one of them does.

What is held back is chosen in order of place, never by size: which cell covers for a small one then says nothing of how small that is.

Source: Hundepool et al., Statistical Disclosure Control, Wiley 2012, chapters 2 and 4 (primary and secondary suppression, differencing);
Dobkin, Jones, Lipton, Secure databases: protection against user influence, ACM TODS 1979 (what overlapping counts give away).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def joined(*labels: np.ndarray) -> np.ndarray:
    """Return int64 [N], the class of each row: rows alike in all labels have the same one, counted from 0.

    Args:
        labels: int [N] each, at least one.

    Example:
        >>> joined(np.array([0, 0, 5, 5]), np.array([1, 2, 1, 1])).tolist()
        [0, 1, 2, 2]
    """
    _, found = np.unique(np.stack(labels), axis=1, return_inverse=True)
    return np.asarray(found, dtype=np.int64).reshape(-1)


def patients_in(classes: np.ndarray, patient: np.ndarray) -> np.ndarray:
    """Return int64 [classes]: how many different patients have a row in each class.

    Args:
        classes: int64 [N], from 0.
        patient: int64 [N], the patient of each row.
    """
    pairs = np.unique(np.stack([classes, patient]), axis=1)
    return np.bincount(pairs[0], minlength=int(classes.max(initial=-1)) + 1)


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


def held_back(cells: np.ndarray, count: int, patient: np.ndarray, least: int, beside: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return bool [C], the cells of one table whose counts must not leave, beside the total, which is taken as known.

    Args:
        cells: int64 [N], the cell of each row, -1 for none; cells do not overlap.
        count: C, how many cells the table has.
        patient: int64 [N], the patient of each row.
        least: k, fewest patients that a count may be of.
        beside: int64 [N] each: what rows can be told apart by already, from tables that share a field with this one.
    """
    held = np.zeros(count, dtype=bool)
    if least <= 1 or not len(cells):
        return held
    occupied = np.bincount(cells[cells >= 0], minlength=count) > 0
    while bool(np.any(occupied & ~held)):
        apart = told_apart(cells, held)
        small = _in_small_atoms(apart, patient, least, beside)
        if not bool(np.any(small)):
            return held
        named = np.unique(apart[small & (apart >= 0)])
        held[named if len(named) else _next(apart, held, occupied, small)] = True
    return held


def _in_small_atoms(apart: np.ndarray, patient: np.ndarray, least: int, beside: Sequence[np.ndarray]) -> np.ndarray:
    """Return bool [N], the rows in an atom of fewer than `least` patients, of this table alone or together with one that lies beside it."""
    small = np.zeros(len(apart), dtype=bool)
    for labels in ((apart,), *((apart, other) for other in beside)):
        atoms = joined(*labels)
        small |= (patients_in(atoms, patient) < least)[atoms]
    return small


def _next(apart: np.ndarray, held: np.ndarray, occupied: np.ndarray, small: np.ndarray) -> int:
    """Return the cell that covers for those held back: the next one after the first of these that any row is in."""
    open_ = np.flatnonzero(occupied & ~held)
    first = int(np.argmax(held)) if bool(np.any(held)) else -1
    after = open_[open_ > first]
    return int(after[0] if len(after) else open_[0])


def held_totals(counts: np.ndarray, least: int) -> np.ndarray:
    """Return bool [C], the cells of a summed table that must not be shown, beside their total: small ones, and one more if it takes that.

    Args:
        counts: [C], whole numbers, of cells that do not overlap.
        least: k.

    Example:
        >>> held_totals(np.array([50, 4, 30, 0]), 10).tolist()
        [False, True, True, False]
    """
    held = (counts > 0) & (counts < least)
    while 0 < counts[held].sum() < least and bool(np.any((counts > 0) & ~held)):
        open_ = np.flatnonzero((counts > 0) & ~held)
        after = open_[open_ > int(np.argmax(held))]
        held[after[0] if len(after) else open_[0]] = True
    return held


def held_crossed(counts: np.ndarray, least: int) -> np.ndarray:
    """Return bool [R, C], the cells of a summed two-way table that must not be shown, beside the totals of its rows and columns.

    A line whose total is itself hidden (`held_totals`, as in a table of that field alone) is held back whole. Each other line holds back
    nothing, or cells that together are of `least` or more. And no small cell follows from the lines: where one would (it is the only path
    between two parts of what is held back), everything is held back.

    Args:
        counts: [R, C], whole numbers.
        least: k.
    """
    rows, columns = (held_totals(counts.sum(axis=axis), least) for axis in (1, 0))
    held = (counts > 0) & ((counts < least) | rows[:, None] | columns[None, :])
    changed = bool(np.any(held))
    while changed:
        changed = False
        for line, flags in (*zip(counts, held, strict=True), *zip(counts.T, held.T, strict=True)):
            open_ = np.flatnonzero((line > 0) & ~flags)
            if bool(np.any(flags)) and len(open_) and (line[flags].sum() < least or flags.sum() < 2):
                after = open_[open_ > int(np.argmax(flags))]
                flags[after[0] if len(after) else open_[0]] = True
                changed = True
    return np.asarray(counts > 0) if _gives_one_away(held, counts, least) else held


def _gives_one_away(held: np.ndarray, counts: np.ndarray, least: int) -> bool:
    """Say whether a held cell follows from the totals of rows and columns, though it is small: it is a bridge between lines."""
    rows = len(held)
    for row, column in zip(*np.nonzero(held & (counts < least)), strict=True):
        reached, todo = {int(row)}, [int(row)]
        while todo:  # lines are numbered: rows first, then columns
            line = todo.pop()
            if line < rows:
                near = [rows + int(other) for other in np.flatnonzero(held[line]) if (line, other) != (row, column)]
            else:
                near = [int(other) for other in np.flatnonzero(held[:, line - rows]) if (other, line - rows) != (row, column)]
            todo += [other for other in near if other not in reached]
            reached.update(near)
        if rows + int(column) not in reached:
            return True
    return False
