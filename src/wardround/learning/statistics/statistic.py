"""Share what all statistics have in common: their fields, the counts that may leave a site, and how counts are written."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wardround.privacy.disclosure import held_totals
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.findings import nearest
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.plugins import find, validated
from wardround.study.protocol import Contract, Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Done, State, Total

HIDDEN = "withheld"
TOOK_PART = "/sites"
"""Name of the number of sites among a phase's results; no table of a field has it, since none begins with a slash."""


@dataclass(frozen=True)
class Statistic(Algorithm):
    """Be asked once, and keep the sums; a table is made of them when the result is written."""

    gives = "table"

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm, once its fields are there.

        Raises:
            ProtocolError: a field is unknown or of the wrong type; names the option.
        """
        found = super().expand(protocol, phase)
        for one in found:
            if isinstance(one, Statistic):
                one.check()
                one._divided_alike()
        return found

    @property
    def divided(self) -> Mapping[str, int]:
        """Return by field into how many bins its numbers are divided, where counts of bins are told."""
        return {}

    @property
    def asked_once(self) -> Mapping[str, str]:
        """Return what no later phase may ask again, each with its words: two answers about it would give small counts away."""
        return {}

    @property
    def others(self) -> list[Statistic]:
        """Return the statistics of the phases before this one."""
        found = []
        for phase in self.protocol.phases:
            if phase.name == self.phase:
                break
            kind = find("algorithm", phase.kind)
            found.append(kind(phase.name, self.protocol, validated(kind.Options, phase.options, f"phases.{phase.name}")))
        return [one for one in found if isinstance(one, Statistic)]

    def _divided_alike(self) -> None:
        """Refuse another division of a number, and a second question about the same, that an earlier phase has.

        Of totals, the two would tell what lies between their edges.
        """
        if self.least <= 1:
            return
        for other in self.others:
            twice = sorted(self.asked_once.keys() & other.asked_once.keys())
            if twice:
                message = (
                    f"phases.{self.phase}: {self.asked_once[twice[0]]} is asked in {other.phase!r} already; two would tell small counts."
                )
                raise ProtocolError(message, "Leave one of the two phases out, or write privacy.smallest_count = 1.")
            for name, bins in other.divided.items() if self.protocol.hides else ():
                if self.divided.get(name, bins) != bins:
                    message = (
                        f"phases.{self.phase}.bins: {name!r} has {bins} bins in {other.phase!r}; with others, small counts would follow."
                    )
                    raise ProtocolError(message, f"Write bins = {bins} here too, or privacy.smallest_count = 1.")

    @abstractmethod
    def check(self) -> None:
        """Refuse options that do not fit the contract.

        Raises:
            ProtocolError: names the option.
        """

    @abstractmethod
    def told(self, results: Arrays) -> dict[str, Any]:
        """Return the table, as JSON values, that the phase's results come to; small counts are no longer in it."""

    def shared(self, results: Arrays) -> dict[str, Any]:
        """Return the same as hospitals may see it of each other; where nothing is told of single ones, the table itself."""
        return self.told(results)

    @property
    def least(self) -> int:
        """Return k: fewest patients that a count may be of."""
        return self.protocol.privacy.smallest_count

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the first state, without arrays."""
        return State(self.phase, 0, {})

    def advance(self, state: State, total: Total) -> State | Done:
        """Return the sums as they are."""
        return Done(self.phase, 1, {**total.sums, TOOK_PART: np.asarray(float(total.sites))})

    def sums_told(self, results: Arrays, place: int) -> bool:
        """Say whether sums may be used: of plain ones those that left; of secure ones where no site's could tell, or one's cover all."""
        held, covers = results["summed/held"][place], results["covers/held"][place]
        return bool(not held or covers) if self.protocol.hides else bool(held < results[TOOK_PART])

    def counts(self, name: str, shape: tuple[int, ...], held: tuple[int, ...]) -> tuple[Term, Term]:
        """Return the terms of a table of counts, and of how many sites hold each cell back."""
        bounds = self.protocol.bounds
        return Term.count(name, shape, bounds.examples, bounds.sites), Term.count(f"{name}/held", held, 1, bounds.sites)

    def moments(self, name: str, shape: tuple[int, ...]) -> Term:
        """Return the term of sums of values between -1 and 1, in 64 bits with a limit per element."""
        bounds = self.protocol.bounds
        return Term.sized(name, shape, np.full(shape, float(bounds.examples)), bounds.sites, bits=64)

    def named(self, option: str, wanted: Sequence[str], kind: str = "") -> tuple[str, ...]:
        """Return the fields that an option names, or all of a type where it names none; images only where they are asked for.

        Raises:
            ProtocolError: a field is not in the contract or of another type, or none is left.
        """
        fields, where = self.protocol.contract.fields, f"phases.{self.phase}.{option}"
        for name in wanted:
            if name not in fields:
                raise ProtocolError(f"{where}: the contract has no field {name!r}.", nearest(name, fields))
            if kind and fields[name].type != kind:
                raise ProtocolError(f"{where}: {name!r} is a {fields[name].type}, and this needs a {kind}.", "Name another field.")
            if fields[name].type == "image" and kind != "image":
                raise ProtocolError(f"{where}: {name!r} is an image, which has no single value.", "Use a phase of kind 'pixels' for it.")
        if len(set(wanted)) < len(wanted):
            raise ProtocolError(f"{where}: names a field twice.", "Leave out the second.")
        found = tuple(wanted) or tuple(name for name, one in fields.items() if one.type == kind or not (kind or one.type == "image"))
        if not found:
            raise ProtocolError(f"{where}: the contract has no field of type {kind}.", "Leave this phase out, or add such a field.")
        return found


@dataclass(frozen=True)
class Axis:
    """Divide a field into cells: a number into bins of equal width over the contract's range, a code into its codes.

    Attributes:
        field: its name.
        unit: of a number, None for a code.
        codes: of a code, empty for a number.
        edges: float64 [cells + 1] of a number, empty for a code.
    """

    field: str
    unit: str | None
    codes: tuple[str, ...]
    edges: np.ndarray

    @classmethod
    def of(cls, contract: Contract, name: str, bins: int) -> Axis:
        """Return the axis of a field; `bins` is for numbers."""
        one = contract.fields[name]
        return cls(name, one.unit, one.codes or (), edges_of(one.range, bins) if one.range is not None else np.zeros(0))

    @property
    def cells(self) -> int:
        """Return how many cells there are, without that of missing values."""
        return len(self.codes) or len(self.edges) - 1

    def place(self, data: Dataset) -> np.ndarray:
        """Return int64 [N], the cell of each row, -1 where the value is missing; a bin holds its lower end, the last also its upper."""
        column = data.columns[self.field]
        return column.astype(np.int64) if self.codes else binned(column, self.edges)

    def labels(self) -> list[dict[str, Any]]:
        """Return what each cell stands for: `code`, or `from` and `to`."""
        if self.codes:
            return [{"code": code} for code in self.codes]
        return [{"from": float(low), "to": float(high)} for low, high in zip(self.edges[:-1], self.edges[1:], strict=True)]

    def about(self) -> dict[str, Any]:
        """Return field, and unit or none."""
        return {"field": self.field, **({} if self.codes else {"unit": self.unit})}


def edges_of(span: tuple[float, float], bins: int) -> np.ndarray:
    """Return float64 [bins + 1], the ends of equal bins."""
    return np.asarray(span[0] + (span[1] - span[0]) * np.arange(bins + 1) / bins)


def binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return int64 [N], the bin of each value, -1 where missing or outside; a bin holds its lower end, the last also its upper."""
    found = np.searchsorted(edges, values, side="right") - 1
    found = np.where(values == edges[-1], len(edges) - 2, found)
    return np.where(np.isnan(values) | (found < 0) | (found > len(edges) - 2), -1, found).astype(np.int64)


def scaled(contract: Contract, data: Dataset, name: str) -> np.ndarray:
    """Return a number field about the middle of its range, in units of half of it, float64 [N], NaN where missing."""
    low, high = contract.fields[name].range or (-1.0, 1.0)
    return np.asarray((data.columns[name] - (low + high) / 2) / ((high - low) / 2))


def written(counts: np.ndarray, held: np.ndarray, least: int, hides: bool, hidden: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Return counts as they may be written: whole numbers, or "withheld", the same for empty cells, small ones and what would tell them.

    Args:
        counts: [C] totals of cells that do not overlap.
        held: [C], how many sites held each back.
        least: k.
        hides: whether the totals came through a secure sum; then the rule is for the totals, else each site has kept it.
        hidden: bool [C], which must not be shown; None works it out from the counts.
    """
    if hidden is None:
        hidden = held_totals(counts, least) if hides else np.zeros(len(counts), dtype=bool)
    found = []
    for count, sites, hide in zip(counts, held, hidden, strict=True):
        shown: int | str = HIDDEN if hide or (sites and not count) else int(count)
        found.append({"count": shown, **({"held_back_at": int(sites)} if sites else {})})
    return found


COARSE = "the spread is too small beside the contract's range for sums of 64 bits; write a narrower range"
_LOST = 2.0**-50
"""Part of a sum that adding it up in 64 bits may lose."""


def fine_enough(variance: float, parts: Sequence[float], step: float, count: float) -> bool:
    """Say whether a variance, worked out as a difference of large sums, has four places.

    Args:
        variance: in units of half the contract's range, squared.
        parts: magnitudes, by count, of what was subtracted.
        step: of the sums.
        count: of values.
    """
    return variance > 1e4 * (step / count + _LOST * max(parts))


def number(value: float) -> float | None:
    """Return a number that JSON can hold, None where it does not exist."""
    return float(value) if math.isfinite(value) else None
