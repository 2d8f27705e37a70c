"""Take a newer snapshot into use between rounds, and stop where the rows are no longer what the plan and the patients allow.

The loader writes a newer snapshot and lays `pending.json` beside it; the gate takes it at the first task of a round that it has not
answered yet, with an entry in its log, before the worker sees that task. A round that was answered keeps its one answer: two answers to one
question, with and without a patient, would show that patient. In a study where sums of two rounds too could be subtracted so
(`wardround.study.protocol.lasting.stands`), a newer snapshot ends the hospital's part once answers have left. What cannot be so, such as an
opt-out list that is gone, is a *hold*: nothing is answered until the hospital has put it right, and the coordinator hears a reason that
says nothing of a patient.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

from wardround.record.log import Log
from wardround.site import approval
from wardround.site.folder import SiteFolder, gone, loading, remove_snapshots, write_text
from wardround.site.gate import Brought, Site, Work
from wardround.site.journal import Journal
from wardround.site.rules import Rules
from wardround.study.arrays import from_bytes
from wardround.study.errors import StoreError, VerificationError
from wardround.study.interfaces import Reply
from wardround.study.protocol import Protocol
from wardround.study.protocol.lasting import stands
from wardround.study.task import Task

PENDING = "pending.json"
_BROUGHT = "brought"
_TALK = "Talk to the hospital; the other hospitals can go on."


@dataclass(frozen=True)
class Hold:
    """Say why a site answers nothing for now.

    Attributes:
        told: what the coordinator hears; no fact about a patient.
        here: what the hospital reads, with what to do.
    """

    told: str
    here: str


HOLDS: Mapping[str, Hold] = MappingProxyType(
    {
        "list": Hold(
            "the site cannot tell at present whose rows it may use",
            "The opt-out list is not applied: it could not be read, or that was cut short. Correct it, then run: wardround site prepare",
        ),
        "changed": Hold(
            "the site's rows are no longer those that it approved, and the data of this study are frozen",
            "Rows changed since they were approved: wardround site changes. Put them back and run: wardround site prepare; "
            "or, to go on with the rows as they were approved: wardround site prepare --keep",
        ),
        "few": Hold(
            "too few rows are left at the site",
            "Too few patients are left after withdrawals. To take no further part: wardround site leave",
        ),
        "tables": Hold(
            "the site's snapshot has changed since sums left it, and sums of two snapshots could be subtracted",
            "Patients withdrew after sums had left. Further sums, subtracted from these, would show who is in one only, so none leave in "
            "this study. To tell the others: wardround site leave",
        ),
    }
)
"""Every hold, the most lasting last."""


@dataclass(frozen=True)
class Pending:
    """Hold a snapshot that waits to be taken into use.

    Attributes:
        brought: what is brought; `withdrew` counts patients of the snapshot now in use.
        why: "withdrawal" or "rolling".
        changed: patients whose rows are not as they were.
    """

    brought: Brought
    why: str
    changed: int = 0


def put_pending(folder: SiteFolder, pending: Pending) -> None:
    """Lay a snapshot ready for the gate, in place of one that it has not taken yet."""
    write_text(folder.path / PENDING, json.dumps(asdict(pending), indent=1) + "\n")


def pending(folder: SiteFolder) -> Pending | None:
    """Return the snapshot that waits, or None.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        found = json.loads((folder.path / PENDING).read_text(encoding="utf-8"))
        return Pending(Brought(**found["brought"]), found["why"], found["changed"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder.path / PENDING} is damaged.", "Run: wardround site prepare.") from error


def hold(journal: Journal, why: str, on: bool = True) -> None:
    """Stop answering for one of `HOLDS`, or no longer."""
    journal.put_meta(f"hold {why}", b"1" if on else b"")


def held(journal: Journal) -> Hold | None:
    """Return why nothing is answered for now; None where all is well."""
    found = [one for why, one in HOLDS.items() if journal.meta(f"hold {why}")]
    return found[-1] if found else None


def stopped(journal: Journal) -> tuple[str, str, bool] | None:
    """Return, where nothing is answered, for the coordinator: reason, remedy, and whether it may ask again later."""
    if approval.refused(journal) is not None:
        return "the hospital has refused the protocol, or left", "Talk to the hospital.", False
    found = held(journal)
    return None if found is None else (found.told, _TALK, True)


@dataclass
class Renewal:
    """Hold what it takes to renew a gate.

    Attributes:
        folder: of the hospital.
        connection: its database; committed here.
        journal: in it.
        rules: the hospital's own.
    """

    folder: SiteFolder
    connection: sqlite3.Connection
    journal: Journal
    rules: Rules

    def due(self, site: Site, task: Task) -> bool:
        """Say whether a snapshot waits and this task may begin with it: one of a round that was not answered yet."""
        before = site.state.answered(task.phase) if task.stage != "close" else None
        fresh = task.stage != "close" and (before is None or before.round < task.round)
        return fresh and (self.folder.path / PENDING).exists()

    def renewed(self, site: Site, task: Task) -> Site:
        """Return the gate for a task: the same, or with the snapshot that waited, which is in the log and on the disk then."""
        if not self.due(site, task):
            return site
        with loading(self.folder.path, wait=False):
            return self._renewed(site)

    def same(self, worker: Callable[[Work], Reply]) -> Callable[[Work], Reply]:
        """Return a worker that reads the snapshot of `prepared.json`, and fails where that is not the approved one, or changes.

        Its answers are so of the snapshot that the gate names with them: only the gate takes another one into use while it works.
        """

        def works(work: Work) -> Reply:
            before = self.folder.brought.snapshot
            reply = worker(work)
            if {before, self.folder.brought.snapshot} != {approval.snapshot(self.journal)}:
                raise StoreError("The snapshot was changed while an answer was worked out.", "Approve again: wardround site approve.")
            return reply

        return works

    def _renewed(self, site: Site) -> Site:
        new = pending(self.folder)
        if new is None:
            return site
        _whole(self.folder, new)
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            _take(site, self.journal, new)
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise
        _follow(self.folder, new)
        return self.folder.gate(self.connection, frozenset({site.protocol.digest}), self.rules)


def told_apart(protocol: Protocol, log: Log) -> bool:
    """Say whether answers have left which, subtracted from answers on other rows, would show who is in one only."""
    return stands(protocol) and any(entry["t"] == "egress" for entry in log.entries())


def _whole(folder: SiteFolder, new: Pending) -> None:
    """Check that a snapshot that waits is there, and has nobody in it who has withdrawn."""
    place = folder.snapshots / new.brought.snapshot.removeprefix("sha256:")
    try:
        who = {one.tobytes().hex() for one in from_bytes(place.with_name(f"{place.name}.who").read_bytes())["who"]}
    except (OSError, KeyError, VerificationError):
        who = None
    if who is None or not place.is_dir() or who & gone(folder.path):
        raise StoreError("The snapshot that waits is not whole, or has patients in it who withdrew.", "Run: wardround site prepare.")


def _take(site: Site, journal: Journal, new: Pending) -> None:
    """Log a newer snapshot and take memory and approval over to it; the caller commits."""
    if told_apart(site.protocol, site.log):
        hold(journal, "tables")
    replace(site, state=site.state.move(new.brought.snapshot)).bring(new.brought, new.why, new.changed)
    approval.renew(journal, new.brought.snapshot)
    journal.forget()  # what waits for a look was worked out on the older rows
    journal.put_meta(_BROUGHT, json.dumps(asdict(new)).encode())


def _follow(folder: SiteFolder, new: Pending) -> None:
    """Have `prepared.json` name a snapshot that was taken into use, and remove the older ones."""
    folder.bring(new.brought)
    waits = pending(folder)
    if waits == new:
        (folder.path / PENDING).unlink()
    remove_snapshots(folder.snapshots, {new.brought.snapshot, *(() if waits is None else (waits.brought.snapshot,))})


def finish(folder: SiteFolder, journal: Journal) -> None:
    """After a crash: have `prepared.json` name the snapshot that was taken into use last."""
    with loading(folder.path):
        follow(folder, journal)


def follow(folder: SiteFolder, journal: Journal) -> None:
    """Do what `finish` does, for who holds `loading` already."""
    kept = journal.meta(_BROUGHT)
    if not kept:
        return
    found = json.loads(kept)
    new = Pending(Brought(**found["brought"]), found["why"], found["changed"])
    if folder.brought != new.brought and approval.snapshot(journal) == new.brought.snapshot:
        _follow(folder, new)
