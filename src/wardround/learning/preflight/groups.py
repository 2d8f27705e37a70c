"""Say of one number at one hospital what may be told: a value that many share, and means of groups of patients, on a coarse grid.

A mean beside the number of patients behind it gives the sum, and sums of whole numbers give that number away again. So means leave on a
grid: between a thirty-second and a sixteenth of the spread, and coarse enough that one patient more or less behind a mean cannot be told
from rounding. How many groups there are follows from the field's table as it is told, so that it tells nothing more of the patients.

Source: groups of k with their means: Domingo-Ferrer, Mateo-Sanz, Practical data-oriented microaggregation, IEEE TKDE 14 (2002). How means
of groups vary by chance: influence functions of linear combinations of order statistics, Huber, Robust Statistics, Wiley 1981, section 3.3.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

CUTS = (0.05, 0.275, 0.5, 0.725, 0.95)
"""Ends of the four groups by rank, as shares of the patients."""
NOTHING_ALIKE, NEARLY_ALL, SET_APART, FEW_APART, AT_THE_END = 0, 1, 2, 3, 4
"""What is told of a value that patients share: nothing; that nearly all have it; that k or more have it and it lies far from all other
values; that a few share such a value, without the value and without how many; or that k or more have it and it is the lowest or highest of
all, at an end of the contract's range or beyond."""
APART = 4.0
"""How far, in deviations of the other values, a shared value must lie from their middle to be told apart."""
ALONE = 2.0
"""How far, besides, a value that a few share must lie from the nearest other: the tail of a skewed number has ties, but no such gaps."""
SHARED, SHARED_SHARE = 3, 0.03
"""Fewest patients, and smallest share of them, that make a value a shared one where it is not told."""
FINEST = 16.0
"""Into how many steps of the grid a deviation is divided at least; twice as many at most."""
QUARTER = 4.0
"""Factors of chance leave as powers of two, in steps of a quarter, rounded up."""
WIDTH = 1.3144
"""Difference of the means of upper and lower half of a normal distribution without its outer twentieths, in deviations."""
_LOOKED_AT = 30
"""Of the most frequent values, how many are looked at."""
_TAIL = 1.645
"""Deviations between the middle and the outer twentieth of a normal distribution."""


def shared(z: np.ndarray, least: int) -> tuple[int, float]:
    """Return what may be told of a value that patients share, and the value, 0 where it is not told.

    Args:
        z: float64 [P], one value a patient, in halves of the contract's range about its middle, NaN where missing.
        least: k.

    Example:
        >>> shared(np.array([-1.0, -1.0, -0.9, -0.7, -0.4, 0.6]), 2)
        (4, -1.0)
    """
    known = np.sort(z[~np.isnan(z)])
    if len(known) < max(least, 1):
        return NOTHING_ALIKE, 0.0
    values, counts = np.unique(known, return_counts=True)
    most, many = int(np.argmax(counts)), max(least, 2)
    if counts[most] >= many and len(known) - counts[most] < max(least, 1):
        return NEARLY_ALL, float(values[most])
    for place in np.argsort(-counts, kind="stable")[:_LOOKED_AT]:
        if counts[place] >= many and _lies_apart(known, values[place]):
            return SET_APART, float(values[place])
    for place in (0, -1):
        if counts[place] >= many and abs(values[place]) >= 1 - 1e-9:
            return AT_THE_END, float(values[place])
    return (NOTHING_ALIKE if _of_few(known) is None else FEW_APART), 0.0


def behind(z: np.ndarray, kind: int, value: float) -> np.ndarray:
    """Return float64 [N], ascending: the values behind the means, without those that lie far from all others."""
    known = np.sort(z[~np.isnan(z)])
    if kind == SET_APART:
        return np.asarray(known[known != value])
    if kind == FEW_APART:
        return np.asarray(known[known != _of_few(known)])
    return known


def _of_few(known: np.ndarray) -> float | None:
    """Return the value that a few share, far from all others; None where there is none."""
    values, counts = np.unique(known, return_counts=True)
    for place in np.argsort(-counts, kind="stable")[:_LOOKED_AT]:
        if counts[place] >= max(SHARED, SHARED_SHARE * len(known)) and _lies_apart(known, values[place], ALONE):
            return float(values[place])
    return None


def _lies_apart(known: np.ndarray, value: float, alone: float = 0.0) -> bool:
    """Say whether a value lies far from all others, measured by these alone, on its own side of their median.

    Args:
        known: all values, ascending.
        value: one of them.
        alone: deviations in which there must be no other.
    """
    rest = known[known != value]
    low, middle, high = np.quantile(rest, (0.05, 0.5, 0.95)) if len(rest) else (value, value, value)
    below, above = (middle - low) / _TAIL, (high - middle) / _TAIL
    wide = max(above, below / 2) if value > middle else max(below, above / 2)  # half: where one side has no width of its own
    nearest = float(np.min(np.abs(rest - value), initial=np.inf))
    return bool(abs(value - middle) > APART * max(wide, 1e-12)) and not low <= value <= high and nearest > alone * wide


def means(known: np.ndarray, fewest: float, least: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how many groups there are, their means on the grid, and how much place and spread vary by chance.

    Args:
        known: float64 [N], ascending.
        fewest: patients that there are at least, by what is told of them; this alone decides how many groups there are.
        least: k.

    Returns:
        4, 2 or 0; float64 [4], two means stand twice each, none are 0; float64 [2], powers of two by which the variance of place and of
        the logarithm of spread, over so many patients, is larger than that of a mean of as many normal values.
    """
    for cuts in (CUTS, CUTS[::2]):
        if (cuts[1] - cuts[0]) * fewest < max(least, 1) + 1:  # 1: ends are rounded
            continue
        ends = [int(len(known) * cut) for cut in cuts]
        ends[0] = max(ends[0], 1)
        found = np.array([known[low:high].mean() for low, high in pairwise(ends)])
        step = _step(known, spread(np.repeat(found, 4 // len(found))), least)
        quarters = np.repeat(np.round(found / step) * step, 4 // len(found))
        return len(found), quarters, _chance(known, spread(quarters), step)
    return 0, np.zeros(4), np.zeros(2)


def spread(quarters: np.ndarray) -> float:
    """Return the deviation of a distribution by the means of its four groups, were it normal."""
    return float(quarters[2] + quarters[3] - quarters[0] - quarters[1]) / 2 / WIDTH


def _step(known: np.ndarray, wide: float, least: int) -> float:
    """Return the grid's step, a power of two; a sum over k patients is then known to no less than one step of the values themselves."""
    values = np.unique(known)
    own = float(np.median(np.diff(values))) if len(values) > 1 else 0.0
    return float(2.0 ** math.floor(math.log2(max(wide / FINEST, 2 * own / max(least, 1), 2.0**-40))))


def _chance(known: np.ndarray, wide: float, step: float) -> np.ndarray:
    if wide <= 0:
        return np.zeros(2)
    low, middle, high = np.quantile(known, (CUTS[0], 0.5, CUTS[-1]))
    share = CUTS[-1] - CUTS[0]
    place = np.clip(known, low, high) / share
    apart = (np.clip(known, middle, high) - np.clip(known, low, middle)) / (share / 2) / WIDTH
    rounded = len(known) * step**2 / 12 / 4
    factors = np.array([place.var() + rounded, apart.var() + 4 * rounded / WIDTH**2]) / wide**2
    return np.asarray(np.clip(np.ceil(np.log2(np.maximum(factors, 2.0**-8)) * QUARTER) / QUARTER, -8, 24))
