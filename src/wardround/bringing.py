"""Bring a hospital's rows into a study, and keep them right while it runs: prepare, prepare again, take out who withdrew.

This is the loader's side of a hospital: it reaches the hospital's own systems and never the coordinator. Once answers have left, a newer
snapshot is laid ready beside the one in use, and the gate takes it at its next round (`wardround.site.renewal`). The opt-out list is read
anew each time. It is applied to the snapshot first, by keyed pseudonyms, so that a patient who withdrew is out even where the table
cannot be read or does not meet the contract any more.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wardround.data.changes import Changes, Known, changes, known_of, without
from wardround.data.consent import OptOut, read_opt_out
from wardround.data.load import prepare as load
from wardround.data.load import read
from wardround.data.site_file import SiteFile, load_site
from wardround.data.snapshot import write_snapshot
from wardround.data.who import keep_who, pseudonym
from wardround.hospital import SITE_FILE, running
from wardround.record.entries import band
from wardround.site import approval
from wardround.site.asked import remember_patients
from wardround.site.folder import STATE, SiteFolder, write_text
from wardround.site.gate import Brought
from wardround.site.journal import Journal
from wardround.site.renewal import PENDING, Pending, hold, put_pending
from wardround.study.dataset import ROLES
from wardround.study.errors import DataError, PolicyRefused, StoreError
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

CHANGES, WITHDRAWN = "changes.json", "withdrawn"
_LOOK = "Look which: wardround site changes."


@dataclass(frozen=True)
class Brings:
    """Say what came of preparing.

    Attributes:
        brought: the snapshot that counts from now on.
        newer: whether it takes the place of one in use, from the next round that is not answered yet.
        withdrew: patients who were taken out of the snapshot in use.
        changes: what is different from the snapshot in use; None where nothing was compared.
    """

    brought: Brought
    newer: bool = False
    withdrew: int = 0
    changes: Changes | None = None


@dataclass
class _Running:
    """Hold a study that has begun at this hospital, whose rows are looked at again."""

    folder: SiteFolder
    connection: sqlite3.Connection
    journal: Journal
    protocol: Protocol
    file: SiteFile
    secret: Stream

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write to the journal and the log, while the gate may do so too."""
        self.connection.execute("BEGIN IMMEDIATE")
        yield
        self.connection.commit()

    def holds(self, why: str, on: bool) -> None:
        """Stop answering for a reason, or no longer."""
        with self.written():
            hold(self.journal, why, on)


def prepare(folder: SiteFolder, keep: bool = False) -> Brings:
    """Read the hospital's rows and opt-out list, hold them against the contract and write the snapshot; reaches no coordinator.

    Args:
        folder: of the hospital.
        keep: in a study whose data are frozen, go on with the rows as they were approved although the table differs from them now.

    Raises:
        DataError: the rows do not meet the contract, or the opt-out list cannot be read.
        PolicyRefused: rows have changed, and the plan's data are frozen; nothing is answered until that is put right.
        ProtocolError: the site file is wrong.
    """
    with _running(folder) as study:
        if study is not None:
            return _again(study, keep)
    protocol, file = folder.protocol, load_site(folder.path / SITE_FILE)
    made = load(file, protocol, folder.snapshots, _secret(folder))
    _remember(folder, file, made.patients)
    _stay_out(folder, {pseudonym(form, _secret(folder)).hex() for form in made.out})
    data = made.dataset
    brought = Brought(made.digest, data.patients, len(data.rows("train")), file.source.kind, len(data), made.withdrew)
    (folder.path / PENDING).unlink(missing_ok=True)
    folder.bring(brought)
    return Brings(brought)


def withdraw(folder: SiteFolder) -> Brings:
    """Read the opt-out list anew and take out who is on it; the hospital's table is not opened, and no other row changes.

    Raises:
        StoreError: the site file names no list.
        DataError: the list cannot be read, or too few rows are left; nothing is answered until that is put right.
    """
    with _running(folder) as study:
        if study is None:
            raise StoreError("Nothing has left this hospital yet.", "Run: wardround site prepare; it reads the opt-out list.")
        if study.file.consent is None:
            raise StoreError(f"{SITE_FILE} names no opt-out list.", 'Write [consent] and, below it, opt_out = "FILE" into it.')
        known, out = _withdrawn(study)
        return _less(study, known, out) if out.any() else Brings(folder.brought)


def changed_rows(folder: SiteFolder) -> dict[str, Any]:
    """Return which rows were not as in the snapshot when the hospital last prepared, for the hospital's own eyes.

    Rows are named by their place in the table, patients by a pseudonym that only this hospital can make. Nothing of it leaves.

    Raises:
        StoreError: nothing was compared yet.
    """
    try:
        found: dict[str, Any] = json.loads((folder.path / CHANGES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "Run: wardround site prepare; once answers have left, it compares."
        raise StoreError(f"{folder.path}: no rows were compared yet.", remedy) from error
    return found


@contextmanager
def _running(folder: SiteFolder) -> Iterator[_Running | None]:
    """Open a study that has begun here: something was approved, and has left or may leave any moment; else None."""
    folder.membership  # noqa: B018  a folder that has joined nothing is named as such
    if not (folder.path / STATE).exists():
        yield None
        return
    with closing(folder.database()) as connection:
        journal = Journal(connection)
        connection.commit()
        begun = running(folder.path) or any(entry["t"] == "egress" for entry in folder.log(connection).entries())
        if not begun or not approval.snapshot(journal):
            yield None
            return
        yield _Running(folder, connection, journal, folder.protocol, load_site(folder.path / SITE_FILE), _secret(folder))


def _secret(folder: SiteFolder) -> Stream:
    """Return the key of this hospital's pseudonyms in this study."""
    return folder.keys.private.child("pseudonyms", folder.membership.protocol)


def _remember(folder: SiteFolder, file: SiteFile, patients: Sequence[str]) -> None:
    """Let the hospital's ledger know these patients again in its other studies, where it keeps one."""
    columns = {name: str(file.column_of(name)) for name in folder.protocol.contract.fields}
    remember_patients(folder, patients, _secret(folder), columns)


def _again(study: _Running, keep: bool) -> Brings:
    """Compare the hospital's rows with the snapshot in use, and lay a newer one ready where one is due."""
    before, out = _withdrawn(study)
    less = _less(study, before, out) if out.any() else Brings(study.folder.brought)
    rest, gone = without(before, out), _gone(study.folder)
    found = read(study.file, study.protocol, lambda one: one.hex() in gone, study.secret)
    now = found.known(study.secret)
    if found.out is not None:
        _stay_out(study.folder, gone | {pseudonym(form, study.secret).hex() for form in found.out.forms})
    _remember(study.folder, study.file, found.patients)
    difference = changes(rest, now)
    _write_changes(study.folder, difference)
    if study.protocol.data == "frozen":
        _frozen(study, difference, keep)
        return Brings(less.brought, less.newer, less.withdrew, difference)
    if difference.moved:
        message = "Patients stand in another part (training, validation, test) than before, so no new snapshot was made."
        raise DataError(message, "Correct the column of [split]; who was tested on must never be trained on.")
    brought = _written(study, now, int(out.sum()))
    if brought.snapshot == study.folder.brought.snapshot:
        return Brings(study.folder.brought, changes=difference)
    put_pending(study.folder, Pending(brought, "rolling", difference.patients))
    return Brings(brought, True, int(out.sum()), difference)


def _withdrawn(study: _Running) -> tuple[Known, np.ndarray]:
    """Return the snapshot in use, and bool [P], which of its patients have withdrawn, now or earlier; they are remembered."""
    try:
        listed = read_opt_out(study.file)
        if listed is not None and study.protocol.contract.patient is None:
            raise DataError("The plan reads no patient identifiers, so an opt-out list can take nobody out.", "Leave the study.")
    except DataError:
        study.holds("list", True)
        raise
    study.holds("list", False)
    place = study.folder.snapshot
    known = known_of(place)
    gone = _gone(study.folder)
    named = {pseudonym(form, study.secret).hex() for form in (listed or OptOut(frozenset())).loose}
    out = np.array([(name := one.tobytes().hex()) in named or name in gone for one in known.who], dtype=bool)
    if out.any():
        _stay_out(study.folder, gone | {one.tobytes().hex() for one in known.who[out]})
    return known, out


def _stay_out(folder: SiteFolder, gone: Set[str]) -> None:
    """Remember who withdrew."""
    write_text(folder.path / WITHDRAWN, "".join(f"{one}\n" for one in sorted(gone)))


def _gone(folder: SiteFolder) -> set[str]:
    """Return the pseudonyms of the patients who withdrew from this study here; they stay out for good."""
    path = folder.path / WITHDRAWN
    return set(path.read_text(encoding="ascii").split()) if path.exists() else set()


def _less(study: _Running, known: Known, out: np.ndarray) -> Brings:
    """Lay the snapshot in use ready without some of its patients."""
    rest = without(known, out)
    few = not len(rest.dataset) or (study.protocol.trains and not len(rest.dataset.rows(ROLES[0])))
    study.holds("few", few)
    if few:
        message = "Too few patients are left after withdrawals, so this hospital answers nothing more."
        raise DataError(message, "To take no further part: wardround site leave.")
    brought = _written(study, rest, int(out.sum()))
    put_pending(study.folder, Pending(brought, "withdrawal"))
    return Brings(brought, True, int(out.sum()))


def _written(study: _Running, known: Known, withdrew: int) -> Brought:
    source = study.folder.brought.source if not len(known.rows) else study.file.source.kind
    dataset, place = write_snapshot(known.dataset, study.protocol.contract, source, study.folder.snapshots)
    keep_who(known.who, place)
    return Brought(dataset.digest, dataset.patients, len(dataset.rows("train")), source, len(dataset), withdrew)


def _frozen(study: _Running, difference: Changes, keep: bool) -> None:
    """Stop where rows that must stand have changed, unless the hospital decides to go on with them as they were approved."""
    if difference.rows:
        counts = {"rows": band(len(difference.rows)), "patients": band(difference.patients), "decision": "go_on" if keep else "stop"}
        gate = study.folder.gate(study.connection, frozenset(), None)
        with study.written():
            gate.log.append("changed", site=gate.name, snapshot=gate.data, **counts)
            hold(study.journal, "changed", not keep)
        if not keep:
            remedy = f"{_LOOK} Put the rows back and prepare again, or go on with them as approved: wardround site prepare --keep."
            raise PolicyRefused(
                f"{difference} since they were approved, and the data of this study are frozen; nothing is answered.", remedy
            )
    else:
        study.holds("changed", False)


def _write_changes(folder: SiteFolder, difference: Changes) -> None:
    """Keep which rows changed, for the hospital's own eyes."""
    about = {"snapshot": folder.brought.snapshot, **asdict(difference)}
    write_text(Path(folder.path / CHANGES), json.dumps(about, indent=1) + "\n")
