"""Turn wishes (mixes of classes, sizes) into whole numbers of patients, and these into a hospital for every patient.

The wishes become a table of hospitals by classes. Its columns must add up to the patients that there are; its rows to the sizes, where
these were wished. Scaling columns and rows in turn gives the table nearest to the wished mixes with these sums; it is then rounded so that
no patient is lost.

Source: Deming and Stephan, On a least squares adjustment of a sampled frequency table when the expected marginal totals are known, Ann.
Math. Statist. 1940 (iterative proportional fitting).
"""

from __future__ import annotations

import numpy as np

_TURNS = 500
_LEAST = 1e-12
"""Of every cell, so that a class of which no hospital is to have much is not lost."""


def fitted(weights: np.ndarray, counts: np.ndarray, sizes: np.ndarray | None) -> np.ndarray:
    """Return the table nearest to the weights whose columns sum to `counts` and, where given, rows to `sizes`.

    Args:
        weights: float64 [S, K], above 0.
        counts: patients of each class, [K].
        sizes: patients of each hospital, [S], with the same sum; None where the weights decide.
    """
    table: np.ndarray = np.array(weights, dtype=np.float64)
    for _ in range(_TURNS if sizes is not None else 1):
        table = table * (counts / np.maximum(table.sum(axis=0), _LEAST))
        if sizes is None:
            return table
        rows = table.sum(axis=1)
        scale = np.divide(sizes, rows, out=np.zeros(len(rows)), where=rows > 0)
        if np.allclose(rows, sizes, rtol=1e-9, atol=1e-6):
            break
        table = np.maximum(table * scale[:, None], _LEAST)
    return np.asarray(table * (counts / np.maximum(table.sum(axis=0), _LEAST)))  # of a class that nobody has, nothing


def apportioned(shares: np.ndarray, total: int) -> np.ndarray:
    """Return whole numbers nearest to shares of a total and with exactly that sum: int64 [S], by largest remainders.

    Source: Hamilton's method of apportionment.
    """
    exact = shares / shares.sum() * total
    whole: np.ndarray = np.floor(exact).astype(np.int64)
    left = total - int(whole.sum())
    whole[np.argsort(-(exact - whole), kind="stable")[:left]] += 1
    return whole


def whole_table(table: np.ndarray, counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return whole numbers near a table, int64 [S, K], with exactly these sums of columns and rows.

    Args:
        table: float64 [S, K], with about these sums.
        counts: int64 [K], patients of each class.
        sizes: int64 [S], patients of each hospital, with the same sum.
    """
    # As a fitted row may stand a hair above its size, a cell is taken down to what its row still has room for.
    whole = np.floor(table + 1e-6).astype(np.int64)
    for site in range(len(whole)):
        while whole[site].sum() > sizes[site]:
            whole[site, np.argmax(whole[site])] -= 1
    for kind in range(whole.shape[1]):
        while whole[:, kind].sum() > counts[kind]:
            whole[np.argmax(whole[:, kind]), kind] -= 1
    for kind in range(whole.shape[1]):
        for _ in range(int(counts[kind] - whole[:, kind].sum())):
            whole[np.argmax(sizes - whole.sum(axis=1)), kind] += 1
    return whole


def dealt(order: np.ndarray, kinds: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the hospital of each patient, int64 [P]: in a random order, each class fills the hospitals one after another.

    Args:
        order: float64 [P], a random place for each patient, which depends on nothing but the patient.
        kinds: int64 [P], class of each patient, 0 to K - 1.
        table: int64 [S, K], how many of each class each hospital gets.
    """
    place = np.empty(len(kinds), dtype=np.int64)
    for kind in range(table.shape[1]):
        own = np.flatnonzero(kinds == kind)
        place[own[np.argsort(order[own], kind="stable")]] = np.repeat(np.arange(len(table)), table[:, kind])
    return place


def evenly(order: np.ndarray, sites: int) -> np.ndarray:
    """Return the hospital of each patient, int64 [P], all of one size but for one patient, at random."""
    place = np.empty(len(order), dtype=np.int64)
    place[np.argsort(order, kind="stable")] = np.arange(len(order)) % sites
    return place
