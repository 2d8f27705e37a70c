"""Hold what a study of statistics is told against what other studies of the same patients were told, and note it before it leaves.

Checked when the study is reviewed, when a task comes, and again under the ledger's lock when an answer is let out: the hospital's own k;
how many studies and counts were asked in the period; that patients are told apart by the same column as ever, and are the same as an
earlier study's or differ by k or more; and that a field is asked in plain sums only or in secure sums only, since a total less what the
others told in plain is this hospital's own. Of plain sums each table is held, besides, against each earlier one that was read from the same
column or bears a field of the same name: no class of fewer than k patients may follow from the two. The worker holds back what would; the
gate lets nothing out that does. Of secure sums nobody sees this hospital's counts, and tables are not compared.

The coordinator hears which rule forbids and no more: why is a fact about few patients. The hospital reads it in `wardround site review`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wardround.privacy.across import EARLIER, FLOOR, LEFT, nearly_the_same
from wardround.site.known import KnownPatients, read_known
from wardround.site.ledger import Cohort, Ledger, LedgerBusy, add_cohort, answers, cohorts, studies_told
from wardround.site.limits import Limits, counts_in, counts_planned, tells_tables
from wardround.site.noted import check_noted, keep_noted
from wardround.site.tables import all_may_leave, earlier_tables, note_tables
from wardround.study.arrays import Arrays
from wardround.study.errors import PolicyRefused, StoreError, VerificationError
from wardround.study.protocol import Protocol
from wardround.study.task import Task

DAY = 86_400.0
RULE = "statistics.ledger"
_FEW = "too many {} were asked of these patients in the last {} days"
_ASK = "Asking again holds more back where another study was told meanwhile; else ask what was asked before."
_ALIKE = (
    "the patients differ, by fewer than {}, from those of whom an earlier study was told; wait until more have changed, or leave others "
    "out too, drawn at random"
)
_COLUMN = "patients are told apart by another column than in earlier studies, so the ledger could not know them again"
_MODE = "an earlier study was told of a field of these patients in {}; this one asks in {}, and the two together could give them away"
_MODES = {"plain": "plain sums", "secure": "secure sums", "single": "plain sums without a smallest count"}


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
    def known(self) -> KnownPatients | None:
        """Return whose rows the snapshot has."""
        return None if self.place is None else read_known(self.folder, self.place)

    @property
    def snapshot(self) -> str:
        """Return the digest of the snapshot."""
        return "" if self.place is None else f"sha256:{self.place.name}"

    @property
    def mode(self) -> str:
        """Return how the study's counts leave; `single` are counts of single patients in plain sums, of which no table is noted."""
        plain = "plain" if self.protocol.privacy.smallest_count > 1 else "single"
        return "secure" if self.protocol.hides else plain

    @property
    def compares(self) -> bool:
        """Return whether tables are held against those of other studies: in plain sums, and where the hospital has a k."""
        return self.applies and not self.protocol.hides and self.limits is not None and self.limits.smallest_count > 1

    def complaints(self, now: float) -> Iterator[tuple[str, str]]:
        """Yield each rule of `[statistics]` that the study breaks, and how, for the hospital's eyes; `now` in seconds since 1970.

        Raises:
            StoreError: the ledger cannot be used, or has forgotten what this study was told.
        """
        limits, k = self.limits, self.protocol.privacy.smallest_count
        if limits is None:
            if self.applies:
                yield "statistics", "studies of statistics are not allowed; write the table [statistics]"
            return
        tested = self.protocol.evaluates and not self.protocol.hides and not self.protocol.rehearsal
        if (self.applies or tested) and k < limits.smallest_count:
            yield "statistics.smallest_count", f"the protocol lets counts of {k} patients be told, and this site none under its own k"
        if self.applies:
            yield from self._of_the_ledger(limits, now)

    def _of_the_ledger(self, limits: Limits, now: float) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with the ledger, or would be too much beside what it has."""
        check_noted(self.folder, self.ledger, self.protocol.digest)
        if self.protocol.contract.patient is None:
            yield "statistics", "the contract names no patient, so studies of the same patients cannot be held beside each other"
        elif self.ledger.folder.resolve().is_relative_to(self.folder.resolve()):
            yield RULE, "the ledger lies in the folder of this study, where no other study would find it; name one beside it"
        elif self.place is not None and not self._linked():
            yield RULE, "the snapshot was prepared without this ledger; run 'wardround site prepare' again"
        elif self.ledger.exists:
            with self.ledger.reading() as connection:
                yield from self._asked(connection, limits, now)

    def _asked(self, connection: sqlite3.Connection, limits: Limits, now: float) -> Iterator[tuple[str, str]]:
        """Yield what would be too much beside what the ledger has."""
        so_far = [one for one in studies_told(connection, now - limits.days * DAY) if one.protocol != self.protocol.digest]
        if len(so_far) + 1 > limits.studies:
            yield "statistics.studies", _FEW.format("studies", limits.days)
        if sum(one.counts for one in so_far) + counts_planned(self.protocol) > limits.counts:
            yield "statistics.counts", _FEW.format("counts", limits.days)
        if self.known is not None:
            for why in _near(self.known, cohorts(connection), self.mode, self.protocol.contract.fields, limits.smallest_count):
                yield RULE, why

    def _linked(self) -> bool:
        """Say whether the ledger knows the patients of the snapshot."""
        return self.ledger.exists and self.known is not None and self.known.ledger == self.ledger.name

    def permit(self, now: float) -> None:
        """Let a task be answered, or refuse it; a study that is refused counts as asked, so that trying is not free.

        Raises:
            PolicyRefused: it names the rule.
        """
        with _briefly():
            found = [rule for rule, _ in self.complaints(now)]
            if found and self.applies and self._linked():
                with self.ledger.writing() as connection:
                    connection.execute("INSERT OR IGNORE INTO refused VALUES (?, ?, ?)", (self.protocol.digest, self.protocol.study, now))
        for rule in found:
            raise _forbidden(rule)

    def beside(self, mine: Mapping[str, Arrays]) -> Mapping[str, Arrays]:
        """Return what the site kept of each phase and, where tables are compared, what other studies were told.

        Raises:
            PolicyRefused: the ledger cannot be used.
        """
        if not self.compares or self.limits is None:
            return mine
        with _briefly(), self.ledger.reading() as connection:
            tables = {} if self.known is None else earlier_tables(connection, self.known, self.protocol.contract.fields)
        return {**mine, EARLIER: {**tables, FLOOR: np.asarray(self.limits.smallest_count)}}

    def note(self, task: Task, proposal: Arrays | None, now: float) -> None:
        """Note an answer that is about to leave; durable when this returns.

        Raises:
            PolicyRefused: it may not leave, beside what other studies were told in the meantime.
        """
        if not self.applies:
            return
        limits = self.limits
        if limits is None:
            raise _forbidden("statistics")
        with _briefly():
            if self.known is None:
                raise _forbidden(RULE)
            with self.ledger.writing() as connection:
                for rule, _ in self._asked(connection, limits, now):
                    raise _forbidden(rule)
                left = {} if self.protocol.hides else {key: one for key, one in (proposal or {}).items() if key.startswith(LEFT)}
                fields, k = self.protocol.contract.fields, limits.smallest_count
                if self.compares and not all_may_leave(left, connection, self.known, fields, k):
                    raise PolicyRefused(f"the site's rule {RULE} forbids it", _ASK)
                self._write(connection, task, left, self.known, now)
                noted = answers(connection, self.protocol.digest)
            keep_noted(self.folder, noted)

    def _write(self, connection: sqlite3.Connection, task: Task, left: Mapping[str, np.ndarray], known: KnownPatients, now: float) -> None:
        here = np.unique(known.patient).astype("<u8").tobytes()
        protocol, tags = self.protocol, json.dumps(sorted(known.tags(*self.protocol.contract.fields)))
        row = (protocol.digest, self.snapshot, protocol.study, self.mode, known.identifier, tags, here)
        number, counts = add_cohort(connection, row), counts_in(task.body.layout)
        connection.execute("REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", (number, task.phase, task.round, now, counts))
        note_tables(connection, number, task.phase, left, known)


def _near(known: KnownPatients, earlier: Sequence[Cohort], mode: str, fields: Iterable[str], k: int) -> Iterator[str]:
    """Yield why a study of these patients could be subtracted from an earlier one."""
    if any(one.identifier != known.identifier for one in earlier[:1]):
        yield _COLUMN
    if any(nearly_the_same(known.patient, one.patients, k) for one in earlier):
        yield _ALIKE.format(k)
    tags = known.tags(*fields)
    other = [one for one in earlier if one.mode != mode and one.tags & tags and bool(np.any(np.isin(known.patient, one.patients)))]
    if other and k > 1:
        yield _MODE.format(_MODES[other[0].mode], _MODES[mode])


@contextmanager
def _briefly() -> Iterator[None]:
    """Tell the coordinator of trouble with the ledger in one sentence that says nothing of the hospital."""
    try:
        yield
    except LedgerBusy as error:
        raise PolicyRefused("the hospital's ledger is busy", "Ask again in some minutes.") from error
    except (StoreError, VerificationError, OSError) as error:
        raise PolicyRefused("the hospital's ledger cannot be used", "Talk to the hospital.") from error


def _forbidden(rule: str) -> PolicyRefused:
    return PolicyRefused(f"the site's rule {rule} forbids it", f"Talk to the hospital about {rule} in its policy.toml.")
