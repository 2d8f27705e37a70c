"""Hold the thresholds of a preflight, all decided beforehand, and the few measures that they are applied to.

Two questions are asked of each field at each hospital. *Is it other than at the others, beyond chance?* `differs`: a test whose level is
`ALARM` over all tests of one preflight together (Bonferroni), and a difference that matters (`MATTERS`). The level is one of theory: what
was measured at hospitals whose patients are drawn alike, of skewed numbers too, stands in decision record 0008. *Is it other than honest
hospitals are?* `clash`: the odds that something went wrong against the hospital's being merely different, where before looking they are
`BEFORE` and are shared by all the ways in which it can have gone wrong. Honest hospitals are taken to differ by `APART` within-hospital
deviations in place, by a factor of about `SPREADS` in spread, by `SHARES` in the arcsine of a share (about 0.7 in log odds), by `GOING` in
how two fields go together.

Source: a between-hospital deviation of half a within-hospital one is an intraclass correlation of 0.2, taken generously: Adams et al.,
Patterns of intra-cluster correlation from primary care research, J. Clin. Epidemiol. 57 (2004), found a median of 0.01. The variance of a
median of hospitals is at most pi / 2 of that of their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from wardround.learning.preflight.layout import GRID, Shape
from wardround.privacy.folding import Folded

ALARM, BEFORE = 0.01, 0.01
MATTERS_DEVIATIONS, MATTERS_SHARE, MATTERS_SPREAD, MATTERS_RANK = 0.3, 0.1, 1.5, 0.3
MATTERS_SHARED = 0.05
"""Share of the patients from which a value that no other hospital has matters."""
APART, SPREADS, SHARES, GOING = 0.5, 0.25, 0.33, 0.1
YEARS_APART = 5.0
"""How many years the middles of honest hospitals' periods lie apart."""
EXPLAINED = 9.21
"""What is left of two squared deviations, once explained, with a chance of 1 %."""
MEDIAN = math.pi / 2
PAIR = 2
"""Of so many others there is no middle that one wrong one would not move; a hospital is then held against the nearer of them."""


def limit(shape: Shape, sites: int) -> float:
    """Return how many deviations one test must show, so that all of a preflight together raise a false alarm with half of `ALARM`."""
    return _limit(2 * sites * (8 * len(shape.numbers) + sum(len(codes) + 4 for codes in shape.codes.values()) + 1))


def limit_exchanged(shape: Shape, sites: int) -> float:
    """Return the same for the one question whether codes are exchanged, which is asked of each code; it has half of `ALARM` for itself."""
    return _limit(2 * sites * sum(len(codes) for codes in shape.codes.values()))


def _limit(tests: int) -> float:
    return NormalDist().inv_cdf(1 - ALARM / max(tests, 1) / 2)


def surprise(apart: np.ndarray, chance: float, honest: float) -> np.ndarray:
    """Return twice the negative log likelihood of differences, 0 where there is none.

    Honest hospitals are alike, or differ, with even odds.

    Args:
        apart: differences.
        chance: their variance at hospitals that are alike.
        honest: what honest differences add to it.
    """
    squared = apart**2
    alike = np.exp(-squared / chance / 2) / math.sqrt(chance)
    differ = np.exp(-squared / (chance + honest) / 2) / math.sqrt(chance + honest)
    most = 1 / math.sqrt(chance) + 1 / math.sqrt(chance + honest)
    return np.asarray(-2 * np.log(np.maximum((alike + differ) / most, 1e-300)))


def odds(ways: int) -> float:
    """Return by how much the squared deviations must shrink before one of so many ways of going wrong is believed."""
    return 2 * math.log(max(ways, 1) / BEFORE)


def scatter(here: float, others: float) -> float:
    """Return the variance, in squared deviations, of a mean here against the median of the others' means, by chance alone."""
    return 1 / max(here, 1.0) + MEDIAN / max(others, 1.0)


def between(deviation: float, others: int) -> float:
    """Return the variance by which honest hospitals differ from the median of so many others."""
    return deviation**2 * (1 + 1 / max(others, 1))


def place(quarters: np.ndarray) -> float:
    """Return where a distribution lies."""
    return float(np.mean(quarters))


def rank_chance(members: float) -> float:
    """Return the variance of a mean rank over so many patients, its grid's among it."""
    return 1 / max(members, 1.0) / 3 + GRID**2 / 12


def unlike(here: float, of: float, others: float, among: float) -> float:
    """Return how many deviations more patients have a value here than can have it at the others; below 0: fewer.

    Args:
        here: patients who have it here.
        of: patients here.
        others: patients of the others who can have it at most, all together.
        among: patients of the others.
    """
    middle = (here + others) / max(of + among, 1.0)
    wide = math.sqrt(max(middle * (1 - middle), 1e-12) * (1 / max(of, 1.0) + 1 / max(among, 1.0)))
    return (here / max(of, 1.0) - others / max(among, 1.0)) / wide


def gap(table: Folded, cells: Sequence[int], others: Sequence[Folded], least: int, share: slice) -> tuple[float, float]:
    """Return by how much the share of some cells is larger here than at the median of the others, and that in deviations.

    0 where folding alone could explain it.

    Args:
        table: of this hospital.
        cells: whose share is looked at.
        others: tables of the other hospitals.
        least: k.
        share: the cells that together make the whole.
    """
    here = _share(table, cells, least, share)
    there = [told for one in others if (told := _share(one, cells, least, share)) is not None]
    if here is None or not there:
        return 0.0, 0.0
    low, high = ends(np.array(there))
    apart = here[0] - high if here[0] > high else here[1] - low if here[1] < low else 0.0
    patients, more = float(table.told[share].sum()), float(sum(one.told[share].sum() for one in others))
    middle = min(max(((here[0] + here[1]) / 2 + (low + high) / 2) / 2, 1 / patients), 1 - 1 / patients)
    return apart, apart / math.sqrt(middle * (1 - middle) * scatter(patients, more))


def median(values: np.ndarray) -> np.ndarray:
    """Return the median over the first axis of what is no NaN; NaN where nothing is. Many times faster than numpy's for few values.

    Example:
        >>> median(np.array([[1.0, np.nan], [5.0, np.nan], [np.nan, 2.0]])).tolist()
        [3.0, 2.0]
    """
    ordered, count = np.sort(values, axis=0), (~np.isnan(values)).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
    return np.asarray((np.take_along_axis(ordered, low[None], 0)[0] + np.take_along_axis(ordered, high[None], 0)[0]) / 2)


def ends(there: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest value that the others can have in the middle.

    Args:
        there: [others, 2], lowest and highest of each.
    """
    if len(there) == PAIR:
        return float(there[:, 0].min()), float(there[:, 1].max())
    return float(np.median(there[:, 0])), float(np.median(there[:, 1]))


def said(table: Folded, cell: int, share: slice) -> str:
    """Return the share of a cell as text; of few patients it is not told.

    Example:
        >>> said(Folded.of(np.array([60, 4]), 10), 1, slice(0, 2))
        'few'
    """
    return "few" if table.few[cell] else f"{table.told[cell] / table.told[share].sum():.0%}"


def _share(table: Folded, cells: Sequence[int], least: int, share: slice) -> tuple[float, float] | None:
    """Return the lowest and highest share that some cells can have; None where nothing was told."""
    total = float(table.told[share].sum())
    if total <= 0:
        return None
    low, high = table.could_be(least)
    listed = list(cells)
    return float(low[listed].sum()) / total, min(float(high[listed].sum()) / total, 1.0)
