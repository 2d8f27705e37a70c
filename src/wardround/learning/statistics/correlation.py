"""Correlate numbers pair by pair, from sums about the middle of the contract's range.

The sum of products of two numbers that are 0 or 1 is a count of those with both: a site's sums leave only where they could not tell of
fewer than k patients (`Leaving.sums`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import HIDDEN, Statistic, fine_enough, scaled, written
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State

PARTS = ("x", "y", "xx", "yy", "xy")


@dataclass(frozen=True)
class CorrelationOptions:
    """Say which fields.

    Attributes:
        fields: numbers of the contract, two or more; none named: all numbers.
    """

    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Correlation(Statistic):
    """Sum values, squares and products over the rows in which both fields are known."""

    Options = CorrelationOptions
    options: CorrelationOptions

    def check(self) -> None:
        """Refuse unknown fields, codes, and fewer than two fields."""
        if len(self.fields) < 2:
            raise ProtocolError(f"phases.{self.phase}.fields: two numbers at least can correlate.", "Name two fields or more.")

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields, in order."""
        return self.named("fields", self.options.fields, "number")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return every two of them."""
        return list(combinations(self.fields, 2))

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        return 1, f"for each two of {', '.join(self.fields)}: rows with both, and sums of values, squares and products over them"

    def ask(self, state: State) -> Ask:
        """Ask for rows with both, with either one alone and with none, and five sums, for each pair."""
        pairs = len(self.pairs)
        summed = (*self.counts("summed", (pairs,), (pairs,)), self.counts("covers", (pairs,), (pairs,))[1])
        return Ask({}, (*self.counts("both", (pairs, 4), (pairs,)), *summed, self.moments("sums", (pairs, len(PARTS)))))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts and sums over all its rows."""
        leaving = Leaving(self, data, mine)
        z = {name: scaled(self.protocol.contract, data, name) for name in self.fields}
        both, held, shut, covers, sums = [], [], [], [], []
        for one, other in self.pairs:
            cells = np.isnan(z[one]) + 2 * np.isnan(z[other])
            there = cells == 0
            counts, hidden = leaving.table(f"both {one} {other}", (one, other), cells, 4, whole=True)
            may, much = (False, False) if hidden.any() else leaving.sums((one, other), there, [cells])
            shut.append(not may)
            covers.append(much)
            x, y = (z[name][there & (self.protocol.hides or not shut[-1])] for name in (one, other))
            both.append(counts)
            held.append(hidden.any())
            sums.append([part.sum() for part in (x, y, x * x, y * y, x * y)])
        summed = [counts[0] if self.protocol.hides or not stays else 0.0 for counts, stays in zip(both, shut, strict=True)]
        answer = {"both": both, "both/held": held, "summed": summed, "summed/held": shut, "covers/held": covers, "sums": sums}
        return Answer({name: np.asarray(value, dtype=np.float64) for name, value in answer.items()}), leaving.proposal

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return by pair: rows, Pearson's r and its 95 % interval (Fisher's z); none where a column is constant."""
        found, step = [], float(np.max(self.moments("sums", (1,)).step))
        for place, (one, other) in enumerate(self.pairs):
            held = float(results["both/held"][place])
            counts = results["both"][place]
            hidden = np.repeat(self.protocol.hides and bool(np.any((counts > 0) & (counts < self.least))), 2)
            two = np.array([counts[0], counts[1:].sum()])
            cells = written(two, np.array([held, held]), self.least, self.protocol.hides, hidden)
            summed, shut = float(results["summed"][place]), int(results["summed/held"][place])
            told = self.sums_told(results, place)
            r = _pearson(summed, results["sums"][place], step) if told and summed >= max(self.least, 2) else None
            low, high = _interval(r, summed)
            if hidden.any() and r is not None:
                r, low, high = round(r, 2), None, None  # more digits, or the interval, would tell how many rows there are
            elif self.least > 1 and r is not None:
                r, low, high = (None if value is None else round(value, 4) for value in (r, low, high))
            why = "too few rows, or a column is constant or nearly so for its range" if told else HIDDEN
            note = {"note": why} if r is None else {"r_of": int(summed), "r_held_back_at": shut} if shut and not self.protocol.hides else {}
            found.append({"fields": [one, other], "rows": cells[0], "missing": cells[1], "r": r, "low": low, "high": high, **note})
        return {"pairs": found}


def _pearson(count: float, sums: np.ndarray, step: float) -> float | None:
    x, y, xx, yy, xy = (float(one) / count for one in sums)
    across, along = xx - x * x, yy - y * y
    if not (fine_enough(across, (xx, x * x), step, count) and fine_enough(along, (yy, y * y), step, count)):
        return None
    return min(max((xy - x * y) / math.sqrt(across * along), -1.0), 1.0)


def _interval(r: float | None, count: float) -> tuple[float | None, float | None]:
    """Return the 95 % interval of r.

    Source: Fisher, On the probable error of a coefficient of correlation, Metron 1921.
    """
    if r is None or count < 4 or abs(r) >= 1:
        return None, None
    z, reach = math.atanh(r), 1.959963984540054 / math.sqrt(count - 3)
    return math.tanh(z - reach), math.tanh(z + reach)
