"""Bring a hospital's rows into a study, and keep them right while it runs: prepare, prepare again, take out who withdrew.

This is the loader's side of a hospital: it reaches the hospital's own systems and never the coordinator. Once answers have left, a newer
snapshot is laid ready beside the one in use, and the gate takes it at its next round (`wardround.site.renewal`). The opt-out list is read
anew each time. It is applied first, by keyed pseudonyms, to the snapshot in use and to one that waits, so that a patient who withdrew is
out even where the table cannot be read or does not meet the contract any more; until that is done nothing is answered.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Set
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wardround.data.changes import Changes, Known, changes, known_of, marks, without
from wardround.data.consent import OptOut, read_opt_out
from wardround.data.images import Place
from wardround.data.load import prepare as load
from wardround.data.load import read
from wardround.data.report import DataFinding
from wardround.data.site_file import SiteFile, load_site
from wardround.data.snapshot import write_snapshot
from wardround.data.who import keep_who, pseudonym
from wardround.hospital import SITE_FILE, running
from wardround.record.entries import band
from wardround.site import approval
from wardround.site.folder import STATE, WITHDRAWN, SiteFolder, gone, loading, remove_snapshots, write_text
from wardround.site.gate import Brought
from wardround.site.journal import Journal
from wardround.site.known import Columns, keep_columns, read_columns
from wardround.site.renewal import PENDING, Pending, follow, hold, pending, put_pending, told_apart
from wardround.site.reviewing import remember_patients
from wardround.study.dataset import ROLES
from wardround.study.errors import DataError, PolicyRefused, StoreError, VerificationError
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

CHANGES, PARTS = "changes.json", "parts"
_KEPT = "kept rows"
_LOOK = "Look which: wardround site changes."


@dataclass(frozen=True)
class Brings:
    """Say what came of preparing.

    Attributes:
        brought: the snapshot that counts from now on.
        newer: whether it takes the place of one in use, from the next round that is not answered yet.
        withdrew: patients who were taken out of the snapshot in use, or of one that waited.
        changes: what is different from the snapshot in use; None where nothing was compared.
        told: what the hospital should know of its opt-out list, in counts.
        ends: whether a withdrawal has ended the hospital's part in the study.
    """

    brought: Brought
    newer: bool = False
    withdrew: int = 0
    changes: Changes | None = None
    told: tuple[DataFinding, ...] = ()
    ends: bool = False


@dataclass
class _Running:
    """Hold a study that has begun at this hospital, whose rows are looked at again."""

    folder: SiteFolder
    connection: sqlite3.Connection
    journal: Journal
    protocol: Protocol
    secret: Stream

    @cached_property
    def file(self) -> SiteFile:
        """Return the site file, read now."""
        return _site_file(self.folder)

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

    @contextmanager
    def alone(self) -> Iterator[Known]:
        """Have no snapshot taken into use meanwhile; gives the one in use, whose patients' parts are remembered."""
        with loading(self.folder.path):
            follow(self.folder, self.journal)
            self.connection.commit()
            used = known_of(self.folder.snapshot)
            _keep_parts(self.folder, used)
            yield used


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
    protocol, file, secret, out = folder.protocol, _site_file(folder), _secret(folder), gone(folder.path)
    made = load(file, protocol, folder.snapshots, secret, (lambda one: one.hex() in out) if out else None)
    remember_patients(folder, made.patients, secret)
    keep_columns(made.folder, _columns(folder, file))
    _stay_out(folder, {pseudonym(form, secret).hex() for form in made.out})
    data = made.dataset
    brought = Brought(made.digest, data.patients, len(data.rows("train")), file.source.kind, len(data), made.withdrew)
    (folder.path / PENDING).unlink(missing_ok=True)
    _forget_held(folder)
    folder.bring(brought)
    return Brings(brought, told=made.told)


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
            study.holds("list", False)
            raise StoreError(f"{SITE_FILE} names no opt-out list.", 'Write [consent] and, below it, opt_out = "FILE" into it.')
        return _less(study)


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
    """Open a study that has begun here: an answer has left, or may leave any moment; else None.

    Nothing is answered from here on until the opt-out list has been applied, whatever happens meanwhile.
    """
    folder.membership  # noqa: B018  a folder that has joined nothing is named as such
    if not (folder.path / STATE).exists():
        yield None
        return
    with closing(folder.database()) as connection:
        journal = Journal(connection)
        connection.commit()
        left = any(entry["t"] == "egress" for entry in folder.log(connection).entries())
        if not left and not (running(folder.path) and approval.snapshot(journal)):
            yield None
            return
        study = _Running(folder, connection, journal, folder.protocol, _secret(folder))
        study.holds("list", True)
        yield study


def _site_file(folder: SiteFolder) -> SiteFile:
    try:
        return load_site(folder.path / SITE_FILE)
    except OSError as error:
        why = error.strerror or "the system refused"
        raise DataError(f"{SITE_FILE} cannot be read: {why}.", "See that the disk it lies on is there.") from error


def _secret(folder: SiteFolder) -> Stream:
    """Return the key of this hospital's pseudonyms in this study."""
    return folder.keys.private.child("pseudonyms", folder.membership.protocol)


def _columns(folder: SiteFolder, file: SiteFile) -> Columns:
    """Return from which of the hospital's columns a snapshot is read."""
    contract = folder.protocol.contract
    identifier = "" if contract.patient is None else str(file.column_of(contract.patient))
    return Columns(identifier, {name: str(file.column_of(name)) for name in contract.fields})


def _forget_held(folder: SiteFolder) -> None:
    """Forget answers that wait for a look: they were worked out on an earlier snapshot."""
    if (folder.path / STATE).exists():
        with closing(folder.database()) as connection:
            Journal(connection).forget()
            connection.commit()


def _again(study: _Running, keep: bool) -> Brings:
    """Compare the hospital's rows with the snapshot in use, and lay a newer one ready where one is due."""
    first = _less(study)
    found = read(
        study.file, study.protocol, lambda one: one.hex() in gone(study.folder.path), study.secret, Place(scratch=study.folder.snapshots)
    )
    whole = found.known(study.secret)
    remember_patients(study.folder, found.patients, study.secret)
    with study.alone() as used:
        _stay_out(study.folder, set() if found.out is None else {pseudonym(form, study.secret).hex() for form in found.out.forms})
        rest, now = _left(study, used), _left(study, whole)
        difference = changes(rest, now, _parts(study.folder))
        _write_changes(study.folder, difference)
        rolls = study.protocol.data == "rolling"
        if rolls and difference.moved:
            message = "Patients stand in another part (training, validation, test) than before, so no new snapshot was made."
            raise DataError(message, "Correct the column of [split], or how the table writes them; who was tested on is never trained on.")
        newer = rolls and bool(difference.rows or difference.added or difference.new_rows)
        laid = _lay(study, used, now if newer else rest, "rolling" if newer else "withdrawal", difference.patients)
    if not rolls:
        _frozen(study, difference, now, keep)
    return replace(laid, withdrew=max(first.withdrew, laid.withdrew), changes=difference, told=found.told)


def _less(study: _Running) -> Brings:
    """Hold the opt-out list against the snapshot in use and one that waits, and lay ready what is left; then answers may leave again."""
    listed = read_opt_out(study.file)
    if listed is not None and study.protocol.contract.patient is None:
        raise DataError("The plan reads no patient identifiers, so an opt-out list can take nobody out.", "Leave the study.")
    forms = {entry: pseudonym(form, study.secret).hex() for entry, form in (listed or OptOut(frozenset())).forms.items()}
    with study.alone() as used:
        waits = _waiting(study)
        there = _names(used) | (set() if waits is None else _names(waits[1]))
        _stay_out(study.folder, there & set(forms.values()))
        out = there & gone(study.folder.path)
        laid = Brings(study.folder.brought)
        if out or waits is not None:
            rolling = waits is not None and waits[0].why == "rolling"
            new = _left(study, waits[1] if waits is not None and rolling else used)
            laid = _lay(study, used, new, "rolling" if rolling else "withdrawal", 0 if waits is None else waits[0].changed)
        study.holds("list", False)
    nobody = sum(one not in there | gone(study.folder.path) for one in forms.values())
    told = () if listed is None else tuple(listed.findings(nobody, "this hospital's snapshot"))
    return replace(laid, withdrew=len(out), told=told)


def _waiting(study: _Running) -> tuple[Pending, Known] | None:
    """Return the snapshot that waits, with its rows; one that is not whole is thrown away."""
    try:
        found = pending(study.folder)
        place = None if found is None else study.folder.snapshots / found.brought.snapshot.removeprefix("sha256:")
        return None if found is None or place is None else (found, known_of(place))
    except (StoreError, VerificationError):
        (study.folder.path / PENDING).unlink(missing_ok=True)
        return None


def _names(known: Known) -> set[str]:
    return {one.tobytes().hex() for one in known.who}


def _left(study: _Running, known: Known) -> Known:
    """Return the rows without the patients who withdrew."""
    out = gone(study.folder.path)
    return without(known, np.array([one.tobytes().hex() in out for one in known.who], dtype=bool))


def _stay_out(folder: SiteFolder, more: Set[str]) -> None:
    """Remember who withdrew; nobody comes back."""
    before = gone(folder.path)
    if not more <= before or not (folder.path / WITHDRAWN).exists():
        write_text(folder.path / WITHDRAWN, "".join(f"{one}\n" for one in sorted(before | more)))


def _parts(folder: SiteFolder) -> dict[bytes, frozenset[int]]:
    """Return in which parts the patients of all snapshots so far stood."""
    path = folder.path / PARTS
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return {bytes.fromhex(who): frozenset(map(int, parts)) for who, _, parts in (line.partition(" ") for line in lines)}


def _keep_parts(folder: SiteFolder, used: Known) -> None:
    """Remember in which parts the patients of a snapshot in use stand: who was tested on is not trained on after an absence."""
    before = _parts(folder)
    both = {**used.parts(), **before}
    if both != before:
        lines = (f"{who.hex()} {''.join(map(str, sorted(parts)))}\n" for who, parts in sorted(both.items()))
        write_text(folder.path / PARTS, "".join(lines))


def _lay(study: _Running, used: Known, new: Known, why: str, changed: int) -> Brings:
    """Lay a snapshot ready in place of the one in use; where it is the same, nothing waits any more.

    Raises:
        DataError: too few patients are left.
    """
    folder = study.folder
    few = not len(new.dataset) or (study.protocol.trains and not len(new.dataset.rows(ROLES[0])))
    study.holds("few", few)
    if few:
        (folder.path / PENDING).unlink(missing_ok=True)
        message = "Too few patients are left after withdrawals, so this hospital answers nothing more."
        raise DataError(message, "To take no further part: wardround site leave.")
    withdrew = len(_names(used) & gone(folder.path))
    brought = _written(study, new, withdrew)
    _keep_columns(study, new, brought, why)
    if brought.snapshot == folder.brought.snapshot:
        (folder.path / PENDING).unlink(missing_ok=True)
        remove_snapshots(folder.snapshots, {brought.snapshot})
        return Brings(folder.brought)
    put_pending(folder, Pending(brought, why, changed if why == "rolling" else 0))
    remove_snapshots(folder.snapshots, {brought.snapshot, folder.brought.snapshot})
    ends = told_apart(study.protocol, folder.log(study.connection))
    if ends:
        study.holds("tables", True)
    return Brings(brought, True, withdrew, ends=ends)


def _written(study: _Running, known: Known, withdrew: int) -> Brought:
    source = study.folder.brought.source if not len(known.rows) else study.file.source.kind
    dataset, place = write_snapshot(known.dataset, study.protocol.contract, source, study.folder.snapshots)
    keep_who(known.who, place)
    return Brought(dataset.digest, dataset.patients, len(dataset.rows("train")), source, len(dataset), withdrew)


def _keep_columns(study: _Running, new: Known, brought: Brought, why: str) -> None:
    """Keep beside a newer snapshot which columns it was read from: those of now, or those of the snapshot that it was made from."""
    folder, place = study.folder, study.folder.snapshots / brought.snapshot.removeprefix("sha256:")
    waits = pending(folder) if why == "rolling" else None
    origin = (folder.brought if waits is None else waits.brought).snapshot.removeprefix("sha256:")
    found = _columns(folder, study.file) if len(new.rows) else read_columns(folder.snapshots / origin)
    if found is not None and read_columns(place) is None:
        keep_columns(place, found)


def _frozen(study: _Running, difference: Changes, now: Known, keep: bool) -> None:
    """Stop where rows that must stand have changed, unless the hospital decides, or has decided for these rows, to go on as approved."""
    found = marks(now, {row.patient for row in difference.rows}, study.secret)
    if found <= set((study.journal.meta(_KEPT) or b"").decode().split()):  # also where nothing has changed
        study.holds("changed", False)
        return
    counts = {"rows": band(len(difference.rows)), "patients": band(difference.patients), "decision": "go_on" if keep else "stop"}
    gate = study.folder.gate(study.connection, frozenset(), None)
    with study.written():
        gate.log.append("changed", site=gate.name, snapshot=gate.data, **counts)
        hold(study.journal, "changed", not keep)
        if keep:
            study.journal.put_meta(_KEPT, " ".join(sorted(found)).encode())
    if not keep:
        remedy = f"{_LOOK} Put the rows back and prepare again, or go on with them as approved: wardround site prepare --keep."
        raise PolicyRefused(f"{difference} since they were approved, and the data of this study are frozen; nothing is answered.", remedy)


def _write_changes(folder: SiteFolder, difference: Changes) -> None:
    """Keep which rows changed, for the hospital's own eyes."""
    about = {"snapshot": folder.brought.snapshot, **asdict(difference)}
    write_text(Path(folder.path / CHANGES), json.dumps(about, indent=1) + "\n")
