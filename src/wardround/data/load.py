"""Prepare a site for a study: read its source, leave out who opted out, hold the rows against the contract, write the snapshot.

This is all of the loader's work in one call, and the only place where a hospital's own files are opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from wardround.data.changes import Known
from wardround.data.consent import LeftOut, consented, identifiers
from wardround.data.contract_check import Checked, check
from wardround.data.images import Place
from wardround.data.report import CheckReport, DataFinding
from wardround.data.site_file import SiteFile
from wardround.data.snapshot import write_snapshot
from wardround.data.who import keep_who, pseudonym, pseudonyms
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Source
from wardround.study.plugins import make
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

_ANYWHERE = Place()


@dataclass(frozen=True)
class Read:
    """Hold a site's rows as they were read.

    Attributes:
        checked: what the check came to.
        out: whom the opt-out list took out; None where the site file names no list.
        patients: the patient of each row that is left, as text.
        rows: the place of each of these rows in the hospital's table, counted from 1 without a header.
        told: what the hospital should know of its opt-out list, in counts.
    """

    checked: Checked
    out: LeftOut | None
    patients: list[str]
    rows: list[int]
    told: tuple[DataFinding, ...] = ()

    def known(self, secret: Stream) -> Known:
        """Return the dataset with its patients' pseudonyms.

        Args:
            secret: the hospital's key for this study.

        Raises:
            DataError: the rows do not meet the contract; lists every finding.
        """
        if self.checked.dataset is None:
            raise self.checked.report.error()
        return Known(self.checked.dataset, pseudonyms(self.patients, self.checked.dataset.patient, secret), self.rows)


@dataclass(frozen=True)
class Prepared:
    """Hold a site that is ready to take part.

    Attributes:
        dataset: what its worker will see.
        folder: of the snapshot on disk.
        digest: of the snapshot.
        report: what the check found; no errors, maybe warnings.
        withdrew: how many patients the opt-out list took out of the source's rows.
        patients: identifier of each row's patient, for the hospital's own ledger; never kept or sent.
        out: identifiers of the patients who were taken out, as they are compared; never kept or sent.
        told: what the hospital should know of its opt-out list, in counts.
    """

    dataset: Dataset
    folder: Path
    digest: str
    report: CheckReport
    withdrew: int = 0
    patients: tuple[str, ...] = field(default=(), repr=False)
    out: frozenset[str] = field(default=frozenset(), repr=False)
    told: tuple[DataFinding, ...] = ()


def inspect(site: SiteFile, protocol: Protocol) -> Checked:
    """Read and check a site's rows and write nothing.

    Raises:
        ProtocolError: the site file names a source or option that does not exist.
        DataError: the source cannot be read at all; what is wrong with single fields stands in the report.
    """
    return read(site, protocol).checked


def read(
    site: SiteFile,
    protocol: Protocol,
    gone: Callable[[bytes], bool] | None = None,
    secret: Stream | None = None,
    place: Place = _ANYWHERE,
) -> Read:
    """Read a site's rows, leave out who opted out, and check what is left; nothing is written.

    Args:
        site: from `load_site`.
        protocol: the study's plan.
        gone: says of a patient's pseudonym whether the patient withdrew when an earlier snapshot was made.
        secret: the hospital's key for this study, for these pseudonyms.
        place: where images are read to; rows are named by their place in the hospital's table.

    Raises:
        ProtocolError: the site file names a source or option that does not exist.
        DataError: source or opt-out list cannot be read at all; what is wrong with single fields stands in the report.
        StoreError: the disk has no room for the images.
        MissingExtra: what reads such images is not installed.
    """
    source: Source = make("source", site.source.kind, site.source.options, "source")
    whole = source.read(protocol.contract)

    def withdrawn(form: str) -> bool:
        return gone is not None and secret is not None and gone(pseudonym(form, secret))

    frame, out = consented(whole, site, protocol.contract, withdrawn if gone is not None else None)
    numbers = range(1, len(whole) + 1) if out is None else (np.flatnonzero(~out.rows) + 1).tolist()
    checked = check(frame, site, protocol, source, replace(place, rows=numbers))
    told = () if out is None or site.consent is None else tuple(out.findings())
    notes = list(told)
    if source.synthetic:
        sentence = f"{site.name}: the rows are synthetic."
        notes.append(DataFinding("note", "", None, sentence, "No result on them says anything about patients."))
    if site.simulated:
        sentence = f"{site.name}: a simulated hospital, {site.simulated}."
        notes.append(DataFinding("note", "", None, sentence, "No result on it says how this place differs from others."))
    report = replace(checked.report, findings=(*checked.report.findings, *notes))
    patients = identifiers(frame, site, protocol.contract) or [f"#{number}" for number in numbers]
    return Read(replace(checked, report=report), out, patients, list(numbers), told)


def prepare(
    site: SiteFile, protocol: Protocol, folder: Path, secret: Stream | None = None, gone: Callable[[bytes], bool] | None = None
) -> Prepared:
    """Read, check and snapshot a site's rows.

    Args:
        site: from `load_site`.
        protocol: the study's plan.
        folder: gets the snapshot as a folder of its own, named by its digest.
        secret: the hospital's key for this study; with it the snapshot can be compared with later ones.
        gone: says of a patient's pseudonym whether the patient withdrew when an earlier snapshot was made.

    Raises:
        ProtocolError: the site file names a source or option that does not exist.
        DataError: source or opt-out list cannot be read, or the rows do not meet the contract; lists every finding.
        StoreError: the snapshot could not be written.
    """
    found = read(site, protocol, gone, secret, Place(scratch=_disk_of(folder)))
    if found.checked.dataset is None:
        raise found.checked.report.error()
    dataset, place = write_snapshot(found.checked.dataset, protocol.contract, site.source.kind, folder)
    if secret is not None:
        keep_who(found.known(secret).who, place)
    withdrew, out = (0, frozenset[str]()) if found.out is None else (found.out.patients, found.out.forms)
    return Prepared(dataset, place, dataset.digest, found.checked.report, withdrew, tuple(found.patients), out, found.told)


def _disk_of(folder: Path) -> Path:
    """Return a folder on the disk that the snapshot will be on: images beyond memory go there while they are read."""
    return next((one for one in (folder, *folder.resolve().parents) if one.is_dir()), Path())
