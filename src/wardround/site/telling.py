"""Hold what a study of statistics is told against what other studies of the same patients were told, and note it before it leaves.

Three things are checked, when the study is reviewed, when a task comes, and again under the ledger's lock when an answer is let out: the
hospital's own k; how many studies and counts were asked in the period; and that the patients are the same as an earlier study's or differ
by k or more. Of plain sums each table is held, besides, against each earlier one that was read from the same column or bears a field of the
same name: no class of fewer than k patients may follow from the two. The worker holds back what would; the gate lets nothing out that does.
Of secure sums nobody sees this hospital's counts, and tables are not compared.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wardround.privacy.across import EARLIER, FLOOR, LEFT, gone, laid_beside, nearly_the_same, places
from wardround.privacy.disclosure import one_row_each, small_beside_earlier
from wardround.site.known import Known, read_known
from wardround.site.ledger import Ledger, asked, cohorts, told
from wardround.site.limits import Limits, counts_in, counts_planned, tells_tables
from wardround.study.arrays import Arrays
from wardround.study.errors import PolicyRefused
from wardround.study.protocol import Protocol
from wardround.study.task import Task

DAY = 86_400.0
_FEW = "too many {} were asked of these patients in the last {} days"
_TOGETHER = "beside what another study was told of these patients, a table would give few of them away"
_ASK = "If that study was told meanwhile, asking again holds more back; else ask what was asked before."
_ALIKE = "the patients differ, by fewer than {}, from those of whom an earlier study was told"


@dataclass(frozen=True)
class Telling:
    """Hold one study, and the snapshot it is told of, against the hospital's ledger.

    Attributes:
        protocol: the plan.
        limits: the hospital's `[statistics]`; None where it allows no such study.
        folder: of the hospital.
        place: of the snapshot that it brings; None where nothing was prepared yet.
    """

    protocol: Protocol
    limits: Limits | None
    folder: Path
    place: Path | None

    @cached_property
    def applies(self) -> bool:
        """Return whether the study asks for tables of patients; a rehearsal asks for none, since its rows are made up."""
        return tells_tables(self.protocol) and not self.protocol.rehearsal

    @cached_property
    def ledger(self) -> Ledger:
        """Return the hospital's ledger."""
        return Ledger(self.folder / (self.limits.ledger if self.limits else ""))

    @cached_property
    def known(self) -> Known | None:
        """Return whose rows the snapshot has."""
        return None if self.place is None else read_known(self.folder, self.place)

    @property
    def snapshot(self) -> str:
        """Return the digest of the snapshot."""
        return "" if self.place is None else f"sha256:{self.place.name}"

    @property
    def compares(self) -> bool:
        """Return whether tables are held against those of other studies: in plain sums, and where the hospital has a k."""
        return self.applies and not self.protocol.hides and self.limits is not None and self.limits.smallest_count > 1

    def complaints(self, now: float) -> Iterator[tuple[str, str]]:
        """Yield each rule of `[statistics]` that the study breaks, and how; `now` in seconds since 1970."""
        if not self.applies:
            return
        limits = self.limits
        if limits is None:
            yield "statistics", "studies of statistics are not allowed; write the table [statistics]"
            return
        k = self.protocol.privacy.smallest_count
        if k < limits.smallest_count:
            yield "statistics.smallest_count", f"the protocol lets counts of {k} patients be told, and this site none under its own k"
        if self.protocol.contract.patient is None:
            yield "statistics", "the contract names no patient, so studies of the same patients cannot be held beside each other"
        elif self.place is not None and not self._linked():
            yield "statistics.ledger", "the snapshot was prepared without this ledger; run 'wardround site prepare' again"
        elif self.ledger.exists:
            with self.ledger.reading() as connection:
                yield from self._asked(connection, limits, now)

    def _asked(self, connection: sqlite3.Connection, limits: Limits, now: float) -> Iterator[tuple[str, str]]:
        """Yield what would be too much beside what the ledger has."""
        so_far = [one for one in asked(connection, now - limits.days * DAY) if one.protocol != self.protocol.digest]
        if len(so_far) + 1 > limits.studies:
            yield "statistics.studies", _FEW.format("studies", limits.days)
        if sum(one.counts for one in so_far) + counts_planned(self.protocol) > limits.counts:
            yield "statistics.counts", _FEW.format("counts", limits.days)
        known = self.known
        if known is not None and any(nearly_the_same(known.patient, one, limits.smallest_count) for one in cohorts(connection).values()):
            yield "statistics.ledger", _ALIKE.format(limits.smallest_count)

    def _linked(self) -> bool:
        """Say whether the ledger knows the patients of the snapshot."""
        return self.ledger.exists and self.known is not None and self.known.ledger == self.ledger.name

    def permit(self, now: float) -> None:
        """Let a task be answered, or refuse it.

        Raises:
            PolicyRefused: it names the rule.
        """
        for rule, why in self.complaints(now):
            raise _forbidden(rule, why)

    def beside(self, mine: Mapping[str, Arrays]) -> Mapping[str, Arrays]:
        """Return what the site kept of each phase and, where tables are compared, what other studies were told."""
        if not self.compares or self.limits is None:
            return mine
        with self.ledger.reading() as connection:
            tables = self._earlier(connection)
        return {**mine, EARLIER: {**tables, FLOOR: np.asarray(self.limits.smallest_count)}}

    def note(self, task: Task, proposal: Arrays | None, now: float) -> None:
        """Note an answer that is about to leave; durable when this returns.

        Raises:
            PolicyRefused: it may not leave, beside what other studies were told in the meantime.
        """
        if not self.applies or self.limits is None or self.known is None:
            return
        with self.ledger.writing() as connection:
            for rule, why in self._asked(connection, self.limits, now):
                raise _forbidden(rule, why)
            left = {key: one for key, one in (proposal or {}).items() if key.startswith(LEFT)} if self.compares else {}
            if not self._safe(left, self.known, connection):
                raise PolicyRefused(_TOGETHER, _ASK)
            self._write(connection, task, left, self.known, now)

    def _earlier(self, connection: sqlite3.Connection) -> dict[str, np.ndarray]:
        """Return what each table so far with a field in common told the rows apart by, under its number and the fields in common.

        Those of this very study are among them: a site keeps its own memory of a phase only once the coordinator has closed it.
        """
        known = self.known
        if known is None:
            return {}
        others = cohorts(connection)
        mine = {field: known.tags(field) for field in self.protocol.contract.fields}
        common = [(one, [field for field, tags in mine.items() if tags & one.tags]) for one in told(connection)]
        wanted = np.concatenate([known.patient, gone(known.patient, list(others.values()))])
        where = {number: places(wanted, cohort) for number, cohort in others.items()}
        return {
            f"{LEFT}{number}|{'|'.join(fields)}": laid_beside(where[one.cohort], one.labels)
            for number, (one, fields) in enumerate(common)
            if fields
        }

    def _safe(self, left: Mapping[str, np.ndarray], known: Known, connection: sqlite3.Connection) -> bool:
        """Say whether no class of fewer than k patients follows from a table and an earlier one of another study."""
        telling = {key: one.astype(np.int64) for key, one in left.items() if bool(np.any(one >= 0))}
        earlier = self._earlier(connection) if telling else {}
        k = 1 if self.limits is None else self.limits.smallest_count
        for key, apart in telling.items():
            fields = set(key.split("|")[2:])
            beside = [one for name, one in earlier.items() if fields & set(name.split("|")[2:])]
            if bool(np.any(small_beside_earlier(apart, one_row_each(known.patient), k, beside))):
                return False
        return True

    def _write(self, connection: sqlite3.Connection, task: Task, left: Mapping[str, np.ndarray], known: Known, now: float) -> None:
        here, first = np.unique(known.patient, return_index=True)
        row = (self.protocol.digest, self.snapshot, self.protocol.study, here.astype("<u8").tobytes())
        connection.execute("INSERT OR IGNORE INTO cohorts (protocol, snapshot, study, patients) VALUES (?, ?, ?, ?)", row)
        (cohort,) = connection.execute("SELECT number FROM cohorts WHERE protocol = ? AND snapshot = ?", row[:2]).fetchone()
        answer = (cohort, task.phase, task.round, now, counts_in(task.body.layout))
        connection.execute("REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", answer)
        for key, labels in left.items():
            tags = sorted({tag for field in key.split("|")[2:] if field for tag in known.tags(field)})
            one = (cohort, task.phase, key, json.dumps(tags), labels[first].astype("<i4").tobytes())
            connection.execute("REPLACE INTO told VALUES (?, ?, ?, ?, ?)", one)


def _forbidden(rule: str, why: str) -> PolicyRefused:
    return PolicyRefused(f"the site's rule {rule} forbids it: {why}", f"Talk to the hospital about {rule} in its policy.toml.")
