"""Count patients' rows by two fields at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bound

from wardround.learning.statistics.chances import chi_square_above
from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import HIDDEN, Axis, Statistic, number, written
from wardround.privacy.disclosure import held_crossed
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State


@dataclass(frozen=True)
class CrosstabOptions:
    """Say which two fields.

    Attributes:
        rows: field of the rows.
        columns: field of the columns.
        bins: of a number.
    """

    rows: str
    columns: str
    bins: Annotated[int, Bound(ge=2, le=1000)] = 5


@dataclass(frozen=True)
class Crosstab(Statistic):
    """Count each pair of codes or bins; Pearson's chi-square is worked out when the result is written."""

    Options = CrosstabOptions
    options: CrosstabOptions

    def check(self) -> None:
        """Refuse unknown fields, and a field crossed with itself."""
        self.named("rows", (self.options.rows,))
        self.named("columns", (self.options.columns,))
        if self.options.rows == self.options.columns:
            raise ProtocolError(f"phases.{self.phase}.columns: is the same field as rows.", "Name another field.")

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Return rows and columns."""
        contract, bins = self.protocol.contract, self.options.bins
        return Axis.of(contract, self.options.rows, bins), Axis.of(contract, self.options.columns, bins)

    @property
    def divided(self) -> Mapping[str, int]:
        """Return the bins of each number."""
        return {axis.field: axis.cells for axis in self.axes if not axis.codes}

    @property
    def asked_once(self) -> Mapping[str, str]:
        """Return the two fields, in whatever order: each order would hide other cells."""
        one, other = sorted((self.options.rows, self.options.columns))
        return {f"crosstab {one} {other}": f"{one!r} by {other!r}"}

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        return 1, f"counts of {self.options.rows} by {self.options.columns}, with those where one is missing"

    def ask(self, state: State) -> Ask:
        """Ask for one row of counts: each row's cells in turn; the last row and the last column are of missing values."""
        rows, columns = self.axes
        shape = ((rows.cells + 1) * (columns.cells + 1),)
        return Ask({}, self.counts("pairs", shape, shape))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts over all its rows."""
        (rows, columns), leaving = self.axes, Leaving(self, data, mine)
        one, other = (np.where(axis.place(data) < 0, axis.cells, axis.place(data)) for axis in (rows, columns))
        pairs = (rows.cells + 1) * (columns.cells + 1)
        counts, held = leaving.table("pairs", (rows.field, columns.field), one * (columns.cells + 1) + other, pairs)
        return Answer({"pairs": counts, "pairs/held": held.astype(np.float64)}), leaving.proposal

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return the table, its last line each way of missing values, and Pearson's chi-square where nothing in it is hidden."""
        rows, columns = self.axes
        wide, hides = columns.cells + 1, self.protocol.hides
        counts, held = results["pairs"].reshape(-1, wide), results["pairs/held"]
        hidden = held_crossed(counts, self.least) if hides else np.zeros(counts.shape, dtype=bool)
        cells = written(results["pairs"], held, self.least, hides, hidden.reshape(-1))
        absent = {"missing": True}
        return {
            "rows": {**rows.about(), "cells": [*rows.labels(), absent]},
            "columns": {**columns.about(), "cells": [*columns.labels(), absent]},
            "cells": [cells[start : start + wide] for start in range(0, len(cells), wide)],
            **(_WITHHELD if bool(np.any(held)) or bool(np.any(hidden)) else _chi_square(counts[:-1, :-1])),
        }


_WITHHELD: Mapping[str, Any] = {"chi_square": None, "degrees_of_freedom": None, "p": None, "note": HIDDEN}
"""Stands where a cell is hidden: with the totals of the lines, chi-square would tell it."""


def _chi_square(counts: np.ndarray) -> dict[str, Any]:
    """Return Pearson's chi-square of independence over the lines that are not empty, without continuity correction."""
    there = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    freedom = (there.shape[0] - 1) * (there.shape[1] - 1)
    if freedom < 1 or not there.size:
        return {"chi_square": None, "degrees_of_freedom": 0, "p": None}
    expected = there.sum(axis=1, keepdims=True) * there.sum(axis=0, keepdims=True) / there.sum()
    value = float(((there - expected) ** 2 / expected).sum())
    return {"chi_square": number(value), "degrees_of_freedom": freedom, "p": chi_square_above(value, freedom)}
