"""Prepare a site for a study: read its source, hold the rows against the contract, write the snapshot.

This is all of the loader's work in one call, and the only place where a hospital's own files are opened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from wardround.data.contract_check import Checked, check
from wardround.data.report import CheckReport, DataFinding
from wardround.data.site_file import SiteFile
from wardround.data.snapshot import write_snapshot
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Source
from wardround.study.plugins import make
from wardround.study.protocol import Protocol


@dataclass(frozen=True)
class Prepared:
    """Hold a site that is ready to take part.

    Attributes:
        dataset: what its worker will see.
        folder: of the snapshot on disk.
        digest: of the snapshot.
        report: what the check found; no errors, maybe warnings.
    """

    dataset: Dataset
    folder: Path
    digest: str
    report: CheckReport


def inspect(site: SiteFile, protocol: Protocol) -> Checked:
    """Read and check a site's rows and write nothing.

    Raises:
        ProtocolError: the site file names a source or option that does not exist.
        DataError: the source cannot be read at all; what is wrong with single fields stands in the report.
    """
    source: Source = make("source", site.source.kind, site.source.options, "source")
    checked = check(source.read(protocol.contract), site, protocol)
    if not source.synthetic:
        return checked
    note = DataFinding("note", "", None, f"{site.name}: the rows are synthetic.", "No result on them says anything about patients.")
    return replace(checked, report=replace(checked.report, findings=(*checked.report.findings, note)))


def prepare(site: SiteFile, protocol: Protocol, folder: Path) -> Prepared:
    """Read, check and snapshot a site's rows.

    Args:
        site: from `load_site`.
        protocol: the study's plan.
        folder: gets the snapshot as a folder of its own, named by its digest.

    Raises:
        ProtocolError: the site file names a source or option that does not exist.
        DataError: the source cannot be read, or the rows do not meet the contract; lists every finding.
        StoreError: the snapshot could not be written.
    """
    checked = inspect(site, protocol)
    if checked.dataset is None:
        raise checked.report.error()
    dataset, place = write_snapshot(checked.dataset, protocol.contract, site.source.kind, folder)
    return Prepared(dataset, place, dataset.digest, checked.report)
