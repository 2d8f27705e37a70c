"""Count how many patients a study could have: those that meet each criterion, and step by step those that meet all so far.

Criteria are options, never code: a field of the contract, and what its value must be. They are applied in the order in which they stand, so
that the result is the patient flow that a trial reports. A missing value does not meet a criterion unless it says so.

Whoever sees a flow and how many patients fail each criterion can subtract the two. With criteria A and B, those who fail B less those whom
step B takes out are those who fail both. So each number is shown only where everything that follows by adding and subtracting is of nobody
or of k patients or more: at the site in plain sums (see `Leaving`), when the result is written in secure ones (`shown`). In plain sums each
site holds back other steps; for these it counts those who are left after a later step, so that a sum is of at least so many patients.

Source: CONSORT 2010, item 13 (flow of participants).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict
from pydantic import Field as Bound

from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import HIDDEN, Statistic
from wardround.privacy.disclosure import held_totals
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
        if field is None or field.type == "image":
            return f"the contract has no field {self.field!r} to count", nearest(self.field, sorted(set(contract.fields) - {self.field}))
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

    @property
    def asked_once(self) -> Mapping[str, str]:
        """Return the fields of the criteria: several bounds of one field would tell how many patients lie between them."""
        return {f"criterion {one.field}": f"a criterion for {one.field!r}" for one in self.options.criteria}

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
    def least(self) -> int:
        """Return k, or 3 where it is 2: of a number that is between 1 and k - 1, "withheld" must not tell which."""
        return max(super().least, 3) if super().least > 1 else super().least

    def ask(self, state: State) -> Ask:
        """Ask for all rows, by step how many are left and taken out, each criterion alone, and the label of those left in the end."""
        number = len(self.options.criteria)
        sizes = {"all": (1,), "left": (number,), "out": (number,), "alone": (number, 3)}
        if self.codes:
            sizes["label"] = (len(self.codes) + 1,)
        return Ask({}, tuple(term for name, size in sizes.items() for term in self.counts(name, size, size)))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts over all its rows; where it holds back how many are left, at least so many are."""
        leaving, contract, criteria = Leaving(self, data, mine), self.protocol.contract, self.options.criteria
        states = [one.states(contract, data) for one in criteria]
        last = self._last(states, len(data))
        fields = tuple(one.field for one in criteria)
        sent = {"all": leaving.table("all", (), np.zeros(len(data), dtype=np.int64), 1)}
        left, hidden = self._left(leaving, fields, last)
        shut = np.append(sent["all"][1], hidden)
        before = np.append(len(data), left)
        sent["left"] = _at_least(left, hidden), hidden
        sent["out"] = np.where(shut[1:] | shut[:-1], 0, before[:-1] - before[1:]), shut[1:] | shut[:-1]
        alone = [leaving.table(f"alone {place}", (one.field,), states[place], 3, whole=True) for place, one in enumerate(criteria)]
        sent["alone"] = np.array([counts for counts, _ in alone]), np.array([held for _, held in alone])
        if self.codes:
            sent["label"] = self._labelled(leaving, (*fields, self.options.label), last == len(criteria), bool(hidden[-1]))
        pairs = ((name, part) for name, (counts, held) in sent.items() for name, part in ((name, counts), (f"{name}/held", held)))
        return Answer({name: np.asarray(part, dtype=np.float64) for name, part in pairs}), leaving.proposal

    def _last(self, states: Sequence[np.ndarray], rows: int) -> np.ndarray:
        """Return int64 [N], the step that takes each row out, the number of steps for those left in the end."""
        found = np.full(rows, len(states), dtype=np.int64)
        for place in reversed(range(len(states))):
            found[self.options.criteria[place].stopped(states[place])] = place
        return found

    def _left(self, leaving: Leaving, fields: Sequence[str], last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return float64 [C], how many are left after each step, and bool [C], where that is held back.

        Those left after a step and those taken out by then are a table of two cells, beside those of the steps before. Where one is held
        back, steps that take out nobody are too: else one that is held back would be known to take somebody out.
        """
        left, held = np.zeros(len(self.options.criteria)), np.zeros(len(self.options.criteria), dtype=bool)
        for place in range(len(left)):
            left[place] = np.count_nonzero(last > place)
            held[place] = leaving.table(f"left {place}", fields, np.where(last > place, 0, 1), 2)[1].any()
        before = float(len(last))
        for place in range(len(left)) if held.any() else ():
            held[place] |= left[place] == before
            before = before if held[place] else left[place]
        return left, held

    def _labelled(self, leaving: Leaving, fields: Sequence[str], met: np.ndarray, shut: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return counts of those who meet all by label, missing last, and which are held back: all where their number is."""
        size = len(self.codes) + 1
        if shut:
            return np.zeros(size), np.ones(size, dtype=bool)
        label = leaving.data.columns[self.options.label].astype(np.int64)
        return leaving.table("label", fields, np.where(met, np.where(label < 0, len(self.codes), label), -1), size)

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return all rows, each criterion alone, the flow, and the label's shares among those who meet all."""
        open_ = self._open(results)
        start = _written(results["all"][0], results["all/held"][0], open_.start)
        steps, alone = [], []
        for place, one in enumerate(self.options.criteria):
            told = {"name": one.name or one.asks(self.protocol.contract), "asks": one.asks(self.protocol.contract), "field": one.field}
            out = _written(results["out"][place], results["out/held"][place], open_.out[place])
            left = _written(results["left"][place], results["left/held"][place], open_.left[place])
            steps.append({**told, "excluded": out, "remaining": left})
            cells = zip(results["alone"][place], results["alone/held"][place], strict=True)
            meets, fails, missing = (_written(count, held, open_.alone[place]) for count, held in cells)
            alone.append({**told, "meets": meets, "fails": fails, "missing": missing})
        return {"start": start, "criteria": alone, "steps": steps, "label": self._label(results, open_)}

    def _label(self, results: Arrays, open_: Open) -> dict[str, Any] | None:
        """Return the label's counts among those who meet all, with each code's share of the known where all are shown."""
        if not self.codes:
            return None
        counts, held = results["label"], results["label/held"]
        hidden = held_totals(counts, self.least) | (not open_.left[-1]) if self.protocol.hides else np.zeros(len(counts), dtype=bool)
        cells = [_written(*one[:2], not one[2]) for one in zip(counts, held, hidden, strict=True)]
        known, whole = float(counts[:-1].sum()), not (bool(np.any(held)) or bool(np.any(hidden)))
        shares = [float(count) / known if whole and known else None for count in counts[:-1]]
        listed = [{"code": code, **cell, "share": share} for code, cell, share in zip(self.codes, cells[:-1], shares, strict=True)]
        return {"field": self.options.label, "cells": listed, "missing": cells[-1]}

    def _open(self, results: Arrays) -> Open:
        """Return what may be shown: of plain sums all that left the sites, of secure ones what gives no small count away."""
        every = (True,) * len(self.options.criteria)
        if not self.protocol.hides:
            return Open(True, every, every, every)
        included = [one.missing == "included" for one in self.options.criteria]
        return shown(float(results["all"][0]), results["out"], results["alone"], included, self.least)


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

    What is left after a step is shown where it and what went since the last shown step are 0 or k; where any is not shown, steps that take
    out nobody are hidden too, since a step that is hidden would else be known to take out somebody. A criterion alone is shown where its
    step is, and what follows from both is 0 or k. That nothing else follows holds because each criterion is about a field of its own: one
    test goes through every sum and difference, another through all small studies that an attacker who knows this rule could think of.

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
    left = _kept(rows, out, least, True)
    if not all(left):
        left = _kept(rows, out, least, False)
    taken = [now and before for now, before in zip(left, [True, *left], strict=False)]
    before = [rows, *(rows - np.cumsum(out))][: len(out)]
    fits = [all(count == 0 or count >= least for count in _follow(rows, *each)) for each in zip(before, out, alone, included, strict=True)]
    return Open(True, tuple(taken), tuple(left), tuple(one and fit for one, fit in zip(taken, fits, strict=True)))


def _kept(rows: float, out: np.ndarray, least: int, none: bool) -> list[bool]:
    """Return by step whether those left may be told: they and what went since the last step told are of k or more, or of nobody.

    Args:
        rows: in all.
        out: [C], how many rows each step takes out.
        least: k.
        none: whether a step may be told since which nobody went.
    """
    found: list[bool] = []
    last = here = rows
    for count in out:
        here -= count
        gone = last - here
        found.append(bool((gone >= least or (none and not gone)) and not 0 < here < least))
        last = here if found[-1] else last
    return found


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


def _at_least(left: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return how many at least are left after each step: where that is hidden, as many as after the next step that is not.

    Example:
        >>> _at_least(np.array([90.0, 88.0, 40.0, 3.0]), np.array([False, True, False, True])).tolist()
        [90.0, 40.0, 40.0, 0.0]
    """
    found, least = np.zeros(len(left)), 0.0
    for place in reversed(range(len(left))):
        found[place] = least = least if hidden[place] else float(left[place])
    return found


def _written(count: float, held: float, open_: bool) -> dict[str, Any]:
    """Return a count as it may be written, with how many sites held something of it back."""
    shown: int | str = HIDDEN if not open_ or (held and not count) else int(count)
    return {"count": shown, **({"held_back_at": int(held)} if held else {})}
