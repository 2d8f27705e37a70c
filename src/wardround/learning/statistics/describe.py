"""Describe each field: how many values are known and missing, and of a number mean, deviation and about where its values end.

Lowest and highest values are never told: they are single patients'. Told are the outermost bins that hold k patients or more. The sum of a
number that is 0 or 1 is a count: a site's sums leave only where they could not tell of fewer than k patients (`Leaving.sums`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bound

from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import COARSE, HIDDEN, Axis, Statistic, fine_enough, number, scaled, written
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State


@dataclass(frozen=True)
class DescribeOptions:
    """Say which fields.

    Attributes:
        fields: of the contract; none named: all.
        bins: into how many the range of a number is divided to say about where its values end.
    """

    fields: tuple[str, ...] = ()
    bins: Annotated[int, Bound(ge=2, le=1000)] = 20


@dataclass(frozen=True)
class Describe(Statistic):
    """Count, and sum values and squares about the middle of the contract's range."""

    Options = DescribeOptions
    options: DescribeOptions

    def check(self) -> None:
        """Refuse unknown fields."""
        self.named("fields", self.options.fields)

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields, in order."""
        return self.named("fields", self.options.fields)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Return those that are numbers."""
        return tuple(name for name in self.fields if self.protocol.contract.fields[name].type == "number")

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        return 1, "for each field: how many values are known and missing; of numbers sum, sum of squares and counts in coarse bins"

    def ask(self, state: State) -> Ask:
        """Ask for counts by field, and moments and coarse bins of numbers."""
        fields, numbers = len(self.fields), len(self.numbers)
        known = self.counts("known", (fields, 2), (fields,))
        if not numbers:
            return Ask({}, known)
        spread = self.counts("spread", (numbers, self.options.bins), (numbers, self.options.bins))
        summed = (*self.counts("summed", (numbers,), (numbers,)), self.counts("covers", (numbers,), (numbers,))[1])
        return Ask({}, (*known, *spread, *summed, self.moments("sum", (numbers,)), self.moments("squares", (numbers,))))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts and sums over all its rows."""
        contract, leaving = self.protocol.contract, Leaving(self, data, mine)
        sums: dict[str, list[Any]] = {term.name: [] for term in ask.layout}
        for name in self.fields:
            column = data.columns[name]
            absent = column < 0 if contract.fields[name].codes else np.isnan(column)
            counts, held = leaving.table(f"known {name}", (name,), absent.astype(np.int64), 2)
            sums["known"].append(counts)
            sums["known/held"].append(held.any())
            if name in self.numbers:
                axis = Axis.of(contract, name, self.options.bins)
                spread, hidden = leaving.table(f"spread {name}", (name,), axis.place(data), axis.cells)
                may, covers = leaving.sums((name,), ~absent, [axis.place(data)]) if not held[0] else (False, False)
                shut = not may
                z = scaled(contract, data, name)[~absent] if self.protocol.hides or not shut else np.zeros(0)
                parts = {"spread": spread, "spread/held": hidden, "summed": len(z), "summed/held": shut, "covers/held": covers}
                for part, value in {**parts, "sum": z.sum(), "squares": (z * z).sum()}.items():
                    sums[part].append(value)
        return Answer({name: np.asarray(values, dtype=np.float64) for name, values in sums.items()}), leaving.proposal

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return by field: known, missing, and of a number mean, deviation (n - 1) and the outermost bins with k or more."""
        found = []
        for place, name in enumerate(self.fields):
            counts, held = results["known"][place], float(results["known/held"][place])
            known, missing = written(counts, np.array([held, held]), self.least, self.protocol.hides)
            one = {**Axis.of(self.protocol.contract, name, 2).about(), "known": known, "missing": missing}
            if name in self.numbers:
                open_ = HIDDEN not in (known["count"], missing["count"])
                one.update(self._number(results, self.numbers.index(name), name, open_))
            found.append(one)
        return {"fields": found}

    def _number(self, results: Arrays, place: int, name: str, open_: bool) -> dict[str, Any]:
        """Return a number's mean and deviation, over the sites whose sums left, and outermost bins; none where a count is hidden."""
        labels = Axis.of(self.protocol.contract, name, self.options.bins).labels()
        full = np.flatnonzero(results["spread"][place] >= max(self.least, 1)) if open_ else np.zeros(0, dtype=np.int64)
        ends = {"lowest_bin": labels[full[0]], "highest_bin": labels[full[-1]]} if len(full) else {"lowest_bin": None, "highest_bin": None}
        held, count = int(results["summed/held"][place]), float(results["summed"][place])
        if not open_ or count < max(self.least, 1) or not self.sums_told(results, place):
            return {"mean": None, "deviation": None, **ends, "note": "withheld, or no values"}
        others = {"mean_of": int(count), "mean_held_back_at": held} if held and not self.protocol.hides else {}
        return {**self._mean(results, place, name, count), **ends, **others}

    def _mean(self, results: Arrays, place: int, name: str, count: float) -> dict[str, Any]:
        """Return mean and deviation (n - 1); with k over 1, to two places of the deviation's first digit."""
        low, high = self.protocol.contract.fields[name].range or (-1.0, 1.0)
        middle, half = (low + high) / 2, (high - low) / 2
        total, squares = float(results["sum"][place]), float(results["squares"][place])
        variance = max(squares - total * total / count, 0.0) / (count - 1) if count > 1 else float("nan")
        step = float(np.max(self.moments("squares", (1,)).step))
        fine = fine_enough(variance, (squares / count, (total / count) ** 2), step, count)
        spread = half * variance**0.5
        told = {"mean": middle + half * total / count, "deviation": number(spread) if fine else None}
        if self.least > 1:
            told = {name: None if one is None else _to_places(one, spread) for name, one in told.items()}
        if not fine and half >= 1e6 * abs(told["mean"] or 0.0):
            told["mean"] = None
        return {**told, **({} if fine or count <= 1 else {"note": COARSE})}


def _to_places(value: float, spread: float) -> float:
    """Return a number to two places after the first digit of the spread, so that times a count it gives no sum to the unit."""
    return round(value, 2 - math.floor(math.log10(spread))) if spread > 0 and math.isfinite(spread) else value
