"""Find quantiles by histograms that are refined round by round: each round divides the bin that holds the quantile.

After r rounds of b bins the bin is the contract's range divided by b to the r. A bin that holds fewer than k patients is never taken: the
quantile then stays in the wider one before. The width reached is part of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bound

from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import HIDDEN, TOOK_PART, Axis, Statistic, written
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

_ALMOST = 1 - 1e-12
"""A share of a count may be a hair above the whole number that it is."""


@dataclass(frozen=True)
class QuantilesOptions:
    """Say which quantiles, and how finely.

    Attributes:
        fields: numbers of the contract; none named: all numbers.
        at: shares of the known values that lie at or below each quantile.
        bins: into which a bin is divided each round.
        rounds: how often.
    """

    fields: tuple[str, ...] = ()
    at: Annotated[tuple[Annotated[float, Bound(gt=0, lt=1)], ...], Bound(min_length=1, max_length=20)] = (0.25, 0.5, 0.75)
    bins: Annotated[int, Bound(ge=2, le=1000)] = 16
    rounds: Annotated[int, Bound(ge=1, le=12)] = 4


@dataclass(frozen=True)
class Quantiles(Statistic):
    """Count values below a bin, in its parts and above it, and go on in the part that holds the quantile."""

    Options = QuantilesOptions
    options: QuantilesOptions

    def check(self) -> None:
        """Refuse unknown fields and codes."""
        self.named("fields", self.options.fields, "number")

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields, in order."""
        return self.named("fields", self.options.fields, "number")

    @property
    def asked_once(self) -> Mapping[str, str]:
        """Return each field: the bins of two phases would tell what lies between their edges."""
        return {f"quantiles {name}": f"a quantile of {name!r}" for name in self.fields}

    def leaves(self) -> tuple[int, str]:
        """Return one answer a round."""
        at = ", ".join(f"{one:g}" for one in self.options.at)
        return self.options.rounds, f"counts of {', '.join(self.fields)} in bins around the quantiles {at}, narrower each round"

    def begin(self, protocol: Any, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the whole range of each field, for each quantile."""
        fields, at = self.protocol.contract.fields, len(self.options.at)
        ranges = np.array([fields[name].range for name in self.fields], dtype=np.float64)
        low, high = (np.repeat(ranges[:, end, None], at, axis=1) for end in (0, 1))
        return State(self.phase, 0, {"low": low, "high": high, "going": np.ones(low.shape), "told": np.zeros(low.shape)})

    def ask(self, state: State) -> Ask:
        """Ask for counts below, in each part of the bin, above, and missing."""
        shape = (len(self.fields), len(self.options.at))
        layout = self.counts("parts", (*shape, self.options.bins + 3), shape)
        return Ask({"low": state.arrays["low"], "high": state.arrays["high"]}, layout, {"round": state.round})

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts; once it had to hold a quantile's counts back it does so in all later rounds."""
        leaving, bins = Leaving(self, data, mine, int(ask.options["round"])), self.options.bins
        shape = ask.arrays["low"].shape
        parts, held = np.zeros((*shape, bins + 3)), leaving.kept.get("out", np.zeros(shape)).copy()
        for row, name in enumerate(self.fields):
            for column in range(shape[1]):
                if held[row, column]:
                    continue
                ends = _edges(ask.arrays["low"][row, column], ask.arrays["high"][row, column], bins)
                top = (self.protocol.contract.fields[name].range or (0.0, 0.0))[1]
                cells = _place(data.columns[name], ends, bool(ends[-1] == top))
                counts, hidden = leaving.table(f"{name} {column}", (name,), cells, bins + 3, whole=True)
                parts[row, column], held[row, column] = counts, hidden.any()
        leaving.kept["out"] = held
        return Answer({"parts": parts, "parts/held": held}), leaving.proposal

    def advance(self, state: State, total: Total) -> State | Done:
        """Take the part that holds the quantile, unless fewer than k values are in it or a site has dropped out since the first round."""
        bins, parts = self.options.bins, total.sums["parts"]
        low, high = state.arrays["low"], state.arrays["high"]
        told = total.sites - total.sums["parts/held"]
        known = np.sum(parts[..., : bins + 2], axis=-1)
        upto = np.cumsum(parts[..., : bins + 1], axis=-1)
        wanted = np.array(self.options.at) * known
        part = np.argmax(upto[..., 1:] >= wanted[..., None] * _ALMOST, axis=-1)
        inside = np.take_along_axis(parts, part[..., None] + 1, axis=-1)[..., 0]
        same = (told == state.arrays["told"]) | (state.round == 0)
        going = (state.arrays["going"] > 0) & same & (told > 0) & (inside >= max(self.least, 1))
        edges = _edges(low, high, bins)
        new_low = np.where(going, np.take_along_axis(edges, part[..., None], axis=-1)[..., 0], low)
        new_high = np.where(going, np.take_along_axis(edges, part[..., None] + 1, axis=-1)[..., 0], high)
        first = told if state.round == 0 else state.arrays["told"]
        arrays = {"low": new_low, "high": new_high, "going": going.astype(np.float64), "told": first}
        if state.round + 1 < self.options.rounds and bool(np.any(going)):
            return State(self.phase, state.round + 1, arrays)
        counts = {
            "known": known,
            "missing": parts[..., bins + 2],
            "held": total.sums["parts/held"],
            TOOK_PART: np.asarray(float(total.sites)),
        }
        return Done(self.phase, state.round + 1, {**arrays, **counts})

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return by field and quantile: between which two ends it lies, how far these are apart, and over how many values."""
        found = []
        for row, name in enumerate(self.fields):
            span = self.protocol.contract.fields[name].range or (0.0, 0.0)
            quantiles = []
            for column, share in enumerate(self.options.at):
                low, high, sites = (float(results[key][row, column]) for key in ("low", "high", "held"))
                reached = (low, high) != span and not self._crowded(column, float(results["known"][row, column]))
                low, high = (low, high) if reached else span
                one = {"at": share, "from": low if reached else None, "to": high if reached else None, "width": high - low}
                held = {"held_back_at": int(sites)} if sites else {}
                quantiles.append({**one, **({} if reached else {"note": HIDDEN}), **held})
            counts = np.array([results["known"][row, 0], results["missing"][row, 0]])
            sites_held = np.repeat(results["held"][row, 0], 2)
            known, missing = written(counts, sites_held, self.least, self.protocol.hides)
            about = Axis.of(self.protocol.contract, name, 2).about()
            found.append({**about, "known": known, "missing": missing, "quantiles": quantiles})
        return {"fields": found}

    def _crowded(self, column: int, known: float) -> bool:
        """Say whether fewer than k values lie between a share and another, or 0, or 1: the bins of both would tell of so few."""
        others = [*(one for place, one in enumerate(self.options.at) if place != column), 0.0, 1.0]
        nearest = min(abs(self.options.at[column] - one) for one in others)
        return self.least > 1 and nearest * known < self.least


def _edges(low: np.ndarray, high: np.ndarray, bins: int) -> np.ndarray:
    """Return float64 [..., bins + 1], the ends of a bin's parts; the outer ones are its own to the last bit."""
    low, high = np.asarray(low)[..., None], np.asarray(high)[..., None]
    part = np.arange(bins + 1)
    return np.where(part == bins, high, low + (high - low) * part / bins)


def _place(values: np.ndarray, edges: np.ndarray, last: bool) -> np.ndarray:
    """Return int64 [N]: 0 below, then the parts, then above, then missing; a part holds its lower end, that of the range's end both."""
    bins = len(edges) - 1
    found = np.searchsorted(edges, values, side="right")
    found = np.where((values == edges[-1]) & last, bins, found)
    return np.where(np.isnan(values), bins + 2, found).astype(np.int64)
