"""Decide at a site which counts and sums of a statistic leave, beside all that it was told before, and keep what was told.

Of each phase a site keeps by fields what rows can be told apart by: one label for each row, of all tables of the very same fields together,
and of a table of several fields also what it tells of each alone. `privacy/disclosure.py` has the rules; this lays out what they need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wardround.learning.statistics.statistic import Axis, Statistic
from wardround.privacy.across import EARLIER, FLOOR, LEFT, SUMMED, fields_of, is_sum, together
from wardround.privacy.disclosure import Before, covered, held_back, joined, linked, solved, told_apart
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError

_ROWS = "rows"
"""Name, among what a site keeps of a phase, of a digest of the snapshot whose rows the tables are of."""


@dataclass
class Leaving:
    """Decide at a site, table after table, which counts leave, and keep what rows can be told apart by from then on.

    Attributes:
        statistic: asks; says whether anything must be held back, and from how many patients on not.
        data: the site's snapshot.
        mine: what the site kept of each phase, this one included.
        turn: tells tables of several rounds of one phase apart.
    """

    statistic: Statistic
    data: Dataset
    mine: Mapping[str, Arrays]
    turn: int = 0
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    _before: dict[bool, dict[tuple[str, ...], np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take over what earlier rounds of this phase let out.

        Raises:
            DataError: a patient has several rows; counts are of rows, and k of patients.
        """
        if self.statistic.least > 1 and len(np.unique(self.data.patient)) < len(self.data):
            raise DataError(
                "A patient has several rows, and statistics count rows: one patient could fill a cell.",
                "Give this study one row a patient; or let the protocol write privacy.smallest_count = 1.",
            )
        rows = np.frombuffer(hashlib.sha256(self.data.digest.encode()).digest(), dtype=np.uint8)
        changed = [phase for phase, kept in self.mine.items() if _ROWS in kept and not np.array_equal(kept[_ROWS], rows)]
        if changed and self.strict and EARLIER not in self.mine:
            raise DataError(
                "The rows changed in the middle of the study, so that what it was told before cannot be held beside them.",
                "Let the protocol keep its data frozen, or the hospital's rules name a ledger ([statistics]).",
            )
        self.mine = {phase: kept for phase, kept in self.mine.items() if phase not in changed}  # the ledger has those
        self.kept.update({_ROWS: rows, **self.mine.get(self.statistic.phase, {})})

    @property
    def strict(self) -> bool:
        """Return whether single sites' counts are seen by others, so that small ones must stay."""
        return not self.statistic.protocol.hides and self.statistic.least > 1

    @property
    def proposal(self) -> Arrays | None:
        """Return what the site is to keep of this phase."""
        return self.kept if self.strict else None

    def table(self, name: str, fields: Sequence[str], cells: np.ndarray, count: int, whole: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return counts of rows, float64 [count], zero where held back, and bool [count], where they are.

        Args:
            name: of the table in this phase.
            fields: of the contract that say in which cell a row is.
            cells: int64 [N], the cell of each row, -1 for none.
            count: how many cells there are.
            whole: hold everything back where one cell must be.
        """
        counts = np.bincount(cells[cells >= 0], minlength=count).astype(np.float64)
        if not self.strict:
            return counts, np.zeros(count, dtype=bool)
        tables = self.mine.get(EARLIER, {})
        earlier = [labels.astype(np.int64) for key, labels in sorted(tables.items()) if set(fields_of(key)) & set(fields)]
        floor = int(tables[FLOOR]) if tables else 1
        held = held_back(cells, count, self.data.patient, self.statistic.least, list(self._beside(fields, floor)), earlier, floor)
        apart = told_apart(cells, held)
        if (whole and bool(np.any(held))) or self._solves(fields, apart):
            held[:], apart = True, np.full(len(cells), -1)
        self._keep(fields, apart)
        return np.where(held, 0.0, counts), held

    def sums(self, fields: Sequence[str], there: np.ndarray, cells: Sequence[np.ndarray]) -> tuple[bool, bool]:
        """Say whether sums of these numbers, their squares and products may leave beside the counts told, and cover others (`solved`).

        Args:
            fields: one or two, numbers.
            there: bool [N], the rows that are summed.
            cells: int64 [N] each, what this phase counts, for a secure sum; of a plain one it is known what left.
        """
        if self.statistic.least <= 1:
            return True, True
        known = list(self._together(fields).values()) if self.strict else [*cells, *self._planned(fields)]
        solves, covers = (self._solved(fields, there, known, ask) for ask in (solved, covered))
        if self.strict and not solves:
            self.kept[f"{LEFT}{self.turn}.sums.{'.'.join(fields)}|{'|'.join(fields)}"] = np.where(there, SUMMED, -1).astype(np.int32)
        return not solves, covers

    def _keep(self, fields: Sequence[str], apart: np.ndarray) -> None:
        """Keep what rows can be told apart by, by all fields and by each alone, with what this phase told before of the same."""
        groups = [(tuple(sorted(set(fields))), apart)]
        groups += [((name,), linked(apart, self._values(name))) for name in fields] if len(groups[0][0]) > 1 else []
        for names, labels in groups if fields and bool(np.any(apart >= 0)) else ():
            same = [key for key, one in self.kept.items() if key.startswith(LEFT) and fields_of(key) == names and not is_sum(one)]
            found = joined(labels, *(self.kept.pop(key) for key in same))
            self.kept[f"{LEFT}{self.turn}|{'|'.join(names)}"] = found.astype(np.int32)

    def _told(self, others: bool = True) -> list[tuple[str, np.ndarray]]:
        """Return name and labels, of the rows here, of what was told before in this study and, where a gate says so, in others."""
        without = {self.statistic.phase} if others else {self.statistic.phase, EARLIER}
        told = [one for phase, tables in sorted(self.mine.items()) if phase not in without for one in sorted(tables.items())]
        return [(key, labels[: len(self.data)]) for key, labels in told if key.startswith(LEFT)]

    def _together(self, fields: Sequence[str], others: bool = True) -> dict[tuple[str, ...], np.ndarray]:
        """Return by fields what tables of the very same fields told together, of those with a field among these."""
        if others not in self._before:
            self._before[others] = together(self._told(others), len(self.data))
        near = {names: labels for names, labels in self._before[others].items() if set(names) & set(fields)}
        for names, labels in together(self.kept.items(), len(self.data)).items():
            if set(names) & set(fields):
                near[names] = joined(labels, near[names]) if names in near else labels
        return near

    def _beside(self, fields: Sequence[str], floor: int) -> Iterator[Before]:
        """Yield what tables with a field in common told: those of the same fields together, and of each field alone."""
        both = ((False, self.statistic.least), (True, floor)) if EARLIER in self.mine else ((False, self.statistic.least),)
        for others, least in both:
            for names, labels in self._together(fields, others).items():
                yield Before(labels, least)
                if len(names) == 1 and len(fields) > 1:
                    yield Before(labels, least, self._values(names[0]))

    def _values(self, name: str) -> np.ndarray:
        """Return int64 [N], which of its field's values each row has; missing values are one."""
        return np.asarray(np.unique(self.data.columns[name], return_inverse=True)[1], dtype=np.int64).reshape(-1)

    def _planned(self, fields: Sequence[str]) -> Iterator[np.ndarray]:
        """Yield the bins into which the study divides these fields anywhere."""
        for one in self.statistic.protocol.algorithms:
            for name, bins in one.divided.items() if isinstance(one, Statistic) else ():
                if name in fields:
                    yield Axis.of(self.statistic.protocol.contract, name, bins).place(self.data)

    def _solves(self, fields: Sequence[str], apart: np.ndarray) -> bool:
        """Say whether a table would leave too few unknown beside sums that were told of a field of it."""
        sums = [(set(fields_of(key)) & set(self.data.columns), labels) for key, labels in (*self._told(), *self.kept.items())]
        beside = [(sorted(names), labels == SUMMED) for names, labels in sums if names & set(fields) and is_sum(labels)]
        return any(self._solved(names, there, [*self._together(names).values(), apart]) for names, there in beside)

    def _solved(
        self,
        fields: Sequence[str],
        there: np.ndarray,
        known: Sequence[np.ndarray],
        ask: Callable[[np.ndarray, np.ndarray, int], bool] = solved,
    ) -> bool:
        """Say whether sums over these rows tell too much beside what was counted."""
        classes = joined(np.zeros(len(self.data), dtype=np.int64), *known)[there]
        return ask(np.column_stack([self.data.columns[name][there] for name in fields]), classes, self.statistic.least)
