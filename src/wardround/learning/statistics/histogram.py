"""Count values in bins of equal width over the contract's range, and codes one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bound

from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import Axis, Statistic, written
from wardround.privacy.disclosure import held_field
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State


@dataclass(frozen=True)
class HistogramOptions:
    """Say which fields.

    Attributes:
        fields: of the contract; none named: all.
        bins: of a number.
    """

    fields: tuple[str, ...] = ()
    bins: Annotated[int, Bound(ge=1, le=10_000)] = 20


@dataclass(frozen=True)
class Histogram(Statistic):
    """Count the values in each cell of each field, and those that are missing."""

    Options = HistogramOptions
    options: HistogramOptions

    def check(self) -> None:
        """Refuse unknown fields."""
        self.named("fields", self.options.fields)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Return one axis a field."""
        names = self.named("fields", self.options.fields)
        return tuple(Axis.of(self.protocol.contract, name, self.options.bins) for name in names)

    @property
    def divided(self) -> Mapping[str, int]:
        """Return the bins of each number."""
        return {axis.field: axis.cells for axis in self.axes if not axis.codes}

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        return 1, f"counts of {', '.join(axis.field for axis in self.axes)} by bin or code, and of missing values"

    def ask(self, state: State) -> Ask:
        """Ask for the counts of each field; the last cell is that of missing values."""
        shapes = [(axis.field, (axis.cells + 1,)) for axis in self.axes]
        return Ask({}, tuple(term for name, shape in shapes for term in self.counts(name, shape, shape)))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts over all its rows."""
        leaving, sums = Leaving(self, data, mine), {}
        for axis in self.axes:
            place = axis.place(data)
            cells = np.where(place < 0, axis.cells, place)
            counts, held = leaving.table(axis.field, (axis.field,), cells, axis.cells + 1)
            sums.update({axis.field: counts, f"{axis.field}/held": held.astype(np.float64)})
        return Answer(sums), leaving.proposal

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return by field: each cell with its count, and how many values are missing."""
        found = []
        for axis in self.axes:
            counts, hides = results[axis.field], self.protocol.hides
            hidden = held_field(counts, self.least) if hides else np.zeros(len(counts), dtype=bool)
            *cells, missing = written(counts, results[f"{axis.field}/held"], self.least, hides, hidden)
            listed = [{**label, **cell} for label, cell in zip(axis.labels(), cells, strict=True)]
            found.append({**axis.about(), "cells": listed, "missing": missing})
        return {"fields": found}
