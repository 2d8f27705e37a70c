"""Count how many patients a study could have: those that meet each criterion, and step by step those that meet all so far.

Criteria are options, never code: a field of the contract, and what its value must be. They are applied in the order in which they stand, so
that the result is the patient flow that a trial reports. A missing value does not meet a criterion unless it says so.

Whoever sees a flow and how many patients fail each criterion can subtract the two. With criteria A and B, those who fail B less those whom
step B takes out are those who fail both. So each number is shown only where everything that follows by adding and subtracting is of nobody
or of k patients or more: at the site in plain sums (see `Leaving`), when the result is written in secure ones (`shown`).

Source: CONSORT 2010, item 13 (flow of participants).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Bound

from wardround.learning.statistics.statistic import HIDDEN, Leaving, Statistic
from wardround.privacy.disclosure import held_field
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.findings import nearest
from wardround.study.plugins import find
from wardround.study.protocol import Contract
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State

MEETS, FAILS, MISSING = 0, 1, 2
"""States of a row beside a criterion, and the cells of a criterion's own table."""


@dataclass(frozen=True)
class Criterion:
    """Say what the value of one field must be.

    Attributes:
        field: of the contract.
        name: as it stands in the result; empty for what it asks.
        at_least: smallest number that meets it.
        above: number that it must be greater than.
        at_most: largest number that meets it.
        below: number that it must be less than.
        one_of: codes that meet it.
        known: True where any known value meets it.
        missing: whether a missing value counts as "excluded" or as "included".
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    field: str
    name: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    one_of: tuple[str, ...] = ()
    known: bool = False
    missing: Literal["excluded", "included"] = "excluded"

    @property
    def bounds(self) -> dict[str, float]:
        """Return the bounds of a number that are given, by their sign."""
        signs = {">=": self.at_least, ">": self.above, "<=": self.at_most, "<": self.below}
        return {sign: value for sign, value in signs.items() if value is not None}

    def asks(self, contract: Contract) -> str:
        """Return the criterion in words, such as "age >= 18 a"."""
        unit = contract.fields[self.field].unit
        after = "" if unit in (None, "1") else f" {unit}"
        if self.one_of:
            text = f"{self.field} is {' or '.join(self.one_of)}"
        else:
            text = " and ".join(f"{self.field} {sign} {value:g}{after}" for sign, value in self.bounds.items()) or f"{self.field} is known"
        return text if self.missing == "excluded" else f"{text}, or missing"

    def wrong(self, contract: Contract) -> tuple[str, str] | None:
        """Return what does not fit the contract, and what to do; None where all does."""
        field = contract.fields.get(self.field)
        if field is None:
            return f"the contract has no field {self.field!r}", nearest(self.field, contract.fields)
        if self.known and self.missing == "included":
            return f"{self.field!r} is met by every row", "Leave out known, or missing."
        if (len(self.bounds) > 0) + (len(self.one_of) > 0) + self.known != 1:
            return f"{self.field!r} must say one thing", "Write bounds (at_least, above, at_most, below), or one_of, or known = true."
        if self.bounds and field.codes:
            return f"{self.field!r} is a code and has no bounds", f"Write one_of with some of: {', '.join(field.codes)}."
        if self.one_of and not field.codes:
            return f"{self.field!r} is a number and has no codes", "Write at_least, above, at_most or below."
        strange = [code for code in self.one_of if code not in (field.codes or ())]
        if strange:
            return f"{self.field!r} has no code {strange[0]!r}", nearest(strange[0], field.codes or ())
        if self.one_of and len(set(self.one_of)) < len(self.one_of):
            return f"{self.field!r} names a code twice", "Leave out the second."
        if not self.possible:
            return f"no value of {self.field!r} is within these bounds", "Write a lower bound that is below the upper one."
        return None

    @property
    def possible(self) -> bool:
        """Say whether some number is within the bounds."""
        lows = [value for value in (self.at_least, self.above) if value is not None]
        highs = [value for value in (self.at_most, self.below) if value is not None]
        if not lows or not highs:
            return True
        strict = self.above == max(lows) or self.below == min(highs)
        return max(lows) < min(highs) or (max(lows) == min(highs) and not strict)

    def states(self, contract: Contract, data: Dataset) -> np.ndarray:
        """Return int64 [N]: whether each row meets it, does not, or has no value."""
        column, codes = data.columns[self.field], contract.fields[self.field].codes
        absent = column < 0 if codes else np.isnan(column)
        if codes:
            met = np.isin(column, [codes.index(code) for code in self.one_of]) if self.one_of else ~absent
        else:
            met = _within(column, self.bounds)
        return np.asarray(np.where(absent, MISSING, np.where(met, MEETS, FAILS)), dtype=np.int64)

    def stopped(self, states: np.ndarray) -> np.ndarray:
        """Return bool [N], which rows it takes out."""
        return np.asarray(states == FAILS if self.missing == "included" else states != MEETS)


def _within(values: np.ndarray, bounds: Mapping[str, float]) -> np.ndarray:
    """Return bool [N], which numbers are within all bounds."""
    compare = {">=": np.greater_equal, ">": np.greater, "<=": np.less_equal, "<": np.less}
    found = ~np.isnan(values)
    for sign, value in bounds.items():
        found = found & compare[sign](values, value)
    return np.asarray(found)


@dataclass(frozen=True)
class FeasibilityOptions:
    """Say which criteria, in order, and what is counted of those who meet all.

    Attributes:
        criteria: each a table; at most 30.
        label: a code whose shares among those who meet all criteria are told; empty for none.
    """

    criteria: Annotated[tuple[Criterion, ...], Bound(min_length=1, max_length=30)]
    label: str = ""


@dataclass(frozen=True)
class Feasibility(Statistic):
    """Count rows by the first criterion that they do not meet, and by each criterion alone."""

    Options = FeasibilityOptions
    options: FeasibilityOptions

    def check(self) -> None:
        """Refuse criteria that do not fit the contract, and what would give small counts away."""
        where, contract = f"phases.{self.phase}", self.protocol.contract
        for number, one in enumerate(self.options.criteria):
            found = one.wrong(contract)
            if found is not None:
                raise ProtocolError(f"{where}.criteria.{number}: {found[0]}.", found[1])
        fields = [one.field for one in self.options.criteria]
        twice = next((name for name in fields if fields.count(name) > 1), None)
        if twice is not None:
            raise ProtocolError(f"{where}.criteria: {twice!r} stands in two criteria.", "Write all its bounds into one.")
        if self.options.label:
            self.named("label", (self.options.label,), "code")
            if self.options.label in fields:
                raise ProtocolError(f"{where}.label: {self.options.label!r} is a criterion already.", "Name another field, or none.")
        self._alone()

    def _alone(self) -> None:
        """Refuse other tables in a study with a secure sum: their edges and a criterion's would tell the patients between them."""
        if self.least <= 1 or not self.protocol.hides:
            return
        for phase in self.protocol.phases:
            if phase.name != self.phase and issubclass(find("algorithm", phase.kind), Statistic):
                message = f"phases.{self.phase}: counts by criteria and the table {phase.name!r} would together give small counts away."
                raise ProtocolError(message, "Give feasibility a study of its own, or write privacy.smallest_count = 1.")

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        words = "; ".join(one.asks(self.protocol.contract) for one in self.options.criteria)
        label = f", by {self.options.label}" if self.options.label else ""
        return 1, f"counts of patients that meet each criterion, and all so far{label}: {words}"

    @property
    def codes(self) -> tuple[str, ...]:
        """Return the label's codes, none where there is no label."""
        return (self.protocol.contract.fields[self.options.label].codes or ()) if self.options.label else ()

    @property
    def cells(self) -> int:
        """Return how many cells the flow has: one a criterion that takes rows out, then those left, by label where there is one."""
        return len(self.options.criteria) + (len(self.codes) + 1 if self.codes else 1)

    def ask(self, state: State) -> Ask:
        """Ask for all rows, the flow's cells, by step how many sites hold one of the cells after it back, and each criterion alone."""
        number = len(self.options.criteria)
        flow, after = self.counts("flow", (self.cells,), (self.cells,)), self.counts("after", (1,), (number,))[1]
        return Ask({}, (*self.counts("all", (1,), (1,)), *flow, after, *self.counts("alone", (number, 3), (number, 3))))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts over all its rows."""
        leaving, contract, criteria = Leaving(self, data, mine), self.protocol.contract, self.options.criteria
        states = [one.states(contract, data) for one in criteria]
        fields = tuple(one.field for one in criteria) + ((self.options.label,) if self.options.label else ())
        everyone, nobody = leaving.table("all", (), np.zeros(len(data), dtype=np.int64), 1)
        flow, held = leaving.table("flow", fields, self._flow(data, states), self.cells)
        alone, hidden = np.zeros((len(criteria), 3)), np.zeros((len(criteria), 3))
        for number, one in enumerate(criteria):
            alone[number], hidden[number] = leaving.table(f"alone {number}", (one.field,), states[number], 3)
        after = np.array([float(held[number + 1 :].any()) for number in range(len(criteria))])
        sums = {"all": everyone, "all/held": nobody, "flow": flow, "flow/held": held, "after/held": after}
        answer = {**sums, "alone": alone, "alone/held": hidden}
        return Answer({name: np.asarray(value, dtype=np.float64) for name, value in answer.items()}), leaving.proposal

    def _flow(self, data: Dataset, states: Sequence[np.ndarray]) -> np.ndarray:
        """Return int64 [N], the flow's cell of each row: the first criterion that takes it out, else its label."""
        number = len(self.options.criteria)
        cells = np.full(len(data), number, dtype=np.int64)
        if self.codes:
            label = data.columns[self.options.label].astype(np.int64)
            cells += np.where(label < 0, len(self.codes), label)
        for place in reversed(range(number)):
            cells[self.options.criteria[place].stopped(states[place])] = place
        return cells

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return all rows, each criterion alone, the flow, and the label's shares among those who meet all."""
        open_ = self._open(results)
        start = _written(results["all"][0], results["all/held"][0], open_.start)
        steps, alone = [], []
        for place, one in enumerate(self.options.criteria):
            told = {"name": one.name or one.asks(self.protocol.contract), "asks": one.asks(self.protocol.contract), "field": one.field}
            left, held = results["flow"][place + 1 :].sum(), results["after/held"][place]
            out = _written(results["flow"][place], results["flow/held"][place], open_.out[place])
            steps.append({**told, "excluded": out, "remaining": _written(left, held, open_.left[place])})
            cells = zip(results["alone"][place], results["alone/held"][place], strict=True)
            meets, fails, missing = (_written(count, held, open_.alone[place]) for count, held in cells)
            alone.append({**told, "meets": meets, "fails": fails, "missing": missing})
        return {"start": start, "criteria": alone, "steps": steps, "label": self._label(results, open_)}

    def _label(self, results: Arrays, open_: Open) -> dict[str, Any] | None:
        """Return the label's counts among those who meet all, with each code's share of the known where all are shown."""
        if not self.codes:
            return None
        first = len(self.options.criteria)
        counts, held = results["flow"][first:], results["flow/held"][first:]
        hidden = held_field(counts, self.least) | (not open_.left[-1]) if self.protocol.hides else np.zeros(len(counts), dtype=bool)
        cells = [_written(*one[:2], not one[2]) for one in zip(counts, held, hidden, strict=True)]
        known, whole = float(counts[:-1].sum()), not (bool(np.any(held)) or bool(np.any(hidden)))
        shares = [float(count) / known if whole and known else None for count in counts[:-1]]
        listed = [{"code": code, **cell, "share": share} for code, cell, share in zip(self.codes, cells[:-1], shares, strict=True)]
        return {"field": self.options.label, "cells": listed, "missing": cells[-1]}

    def _open(self, results: Arrays) -> Open:
        """Return what may be shown: of plain sums all that left the sites, of secure ones what gives no small count away."""
        number = len(self.options.criteria)
        if not self.protocol.hides:
            return Open(True, (True,) * number, (True,) * number, (True,) * number)
        included = [one.missing == "included" for one in self.options.criteria]
        return shown(float(results["all"][0]), results["flow"][:number], results["alone"], included, self.least)


@dataclass(frozen=True)
class Open:
    """Say which totals may be shown.

    Attributes:
        start: how many rows there are.
        out: by step, how many it takes out.
        left: by step, how many are left.
        alone: by criterion, how many meet it, do not, and have no value.
    """

    start: bool
    out: tuple[bool, ...]
    left: tuple[bool, ...]
    alone: tuple[bool, ...]


def shown(rows: float, out: np.ndarray, alone: np.ndarray, included: Sequence[bool], least: int) -> Open:
    """Return which totals of a flow may be shown, so that adding and subtracting gives counts of nobody or of k or more.

    What is left after a step is shown where it and what went since the last shown step are 0 or k; where any step takes out fewer, steps
    that take out nobody are hidden too. A criterion alone is shown where its step is, and what follows from both is 0 or k. That
    nothing else follows holds because each criterion is about a field of its own; a test goes through every sum and difference.

    Args:
        rows: in all.
        out: [C], how many rows each step takes out.
        alone: [C, 3], rows that meet each criterion, do not, and have no value.
        included: by criterion, whether a missing value meets it.
        least: k.
    """
    if least <= 1:
        return Open(True, (True,) * len(out), (True,) * len(out), (True,) * len(out))
    if 0 < rows < least:
        return Open(False, (False,) * len(out), (False,) * len(out), (False,) * len(out))
    small = bool(np.any((out > 0) & (out < least)))
    left: list[bool] = []
    taken: list[bool] = []
    last = here = rows
    for count in out:
        here -= count
        fine = here == last if not small else False
        fine = (fine or last - here >= least) and not 0 < here < least
        taken.append(fine and (not left or left[-1]))
        left.append(bool(fine))
        last = here if fine else last
    before = [rows, *(rows - np.cumsum(out))][: len(out)]
    fits = [all(count == 0 or count >= least for count in _follow(rows, *each)) for each in zip(before, out, alone, included, strict=True)]
    return Open(True, tuple(map(bool, taken)), tuple(left), tuple(bool(one and fit) for one, fit in zip(taken, fits, strict=True)))


def _follow(rows: float, before: float, out: float, alone: np.ndarray, included: bool) -> Iterator[float]:
    """Yield the counts that follow from a criterion alone together with its step.

    Args:
        rows: in all.
        before: rows that came to this step.
        out: of these, taken out.
        alone: [3], of all rows.
        included: whether a missing value meets it.
    """
    meets, fails, missing = map(float, alone)
    stopped = fails if included else fails + missing
    earlier = rows - before  # were taken out by a step before
    again = stopped - out  # of these, would be by this one as well
    yield from (meets, fails, missing, rows - meets, rows - fails, rows - missing, out, again, earlier - again)
    if not included:
        yield from (earlier + out - missing, earlier + out - fails)


def _written(count: float, held: float, open_: bool) -> dict[str, Any]:
    """Return a count as it may be written, with how many sites held something of it back."""
    shown: int | str = HIDDEN if not open_ or (held and not count) else int(count)
    return {"count": shown, **({"held_back_at": int(held)} if held else {})}
