"""Say what was asked of a hospital's patients so far, what is left, and which of its rules forbid a study: for people who decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wardround.site.folder import SiteFolder
from wardround.site.known import remember
from wardround.site.ledger import Ledger, studies_told
from wardround.site.limits import tells_tables
from wardround.site.noted import check_noted
from wardround.site.telling import DAY, Telling
from wardround.study.errors import ProtocolError, StoreError
from wardround.study.streams import Stream

NO_PATIENTS = 2**53
"""Stands for the number of patients before any snapshot was prepared: no rule about too few of them speaks then."""


def complaints(folder: SiteFolder, now: float) -> Iterator[tuple[str, str]]:
    """Yield each of the hospital's rules that the study breaks, and how; what depends on rows only once a snapshot is there.

    Args:
        folder: of the hospital.
        now: seconds since 1970.

    Raises:
        ProtocolError: the rules cannot be read.
    """
    rules = folder.rules
    try:
        brought, place = folder.brought, folder.snapshot
    except StoreError:
        found = rules.complaints(folder.protocol, "", NO_PATIENTS)
        yield from ((rule, why) for rule, why in found if rule != "sources")
        yield from Telling(folder.protocol, rules.statistics, folder.path, None).complaints(now)
        return
    yield from rules.complaints(folder.protocol, brought.source, brought.patients)
    yield from Telling(folder.protocol, rules.statistics, folder.path, place).complaints(now)


def remember_patients(folder: SiteFolder, identifiers: Sequence[str], secret: Stream) -> None:
    """Let the hospital's ledger know these patients again in its other studies; nothing where its rules name no ledger.

    Args:
        folder: of the hospital.
        identifiers: of the patients, as the table has them.
        secret: makes this study's own pseudonyms.

    Raises:
        StoreError: the ledger cannot be used, or it has forgotten what this study was told.
    """
    try:
        limits = folder.rules.statistics
    except ProtocolError:
        return  # approving says what is wrong with the rules
    if limits is None or folder.protocol.contract.patient is None or not tells_tables(folder.protocol):
        return
    ledger = Ledger(folder.path / limits.ledger)
    check_noted(folder.path, ledger, folder.protocol.digest)
    remember(folder.path, ledger.make(), identifiers, secret)


def asked_so_far(folder: SiteFolder, now: float) -> dict[str, Any] | None:
    """Return what studies of statistics were told of these patients in the hospital's period, and what is left; None without such rules.

    Args:
        folder: of the hospital.
        now: seconds since 1970.
    """
    try:
        limits = folder.rules.statistics
    except ProtocolError:
        return None
    if limits is None:
        return None
    ledger, found = Ledger(folder.path / limits.ledger), []
    if ledger.exists:
        with ledger.reading() as connection:
            found = studies_told(connection, now - limits.days * DAY)
    counts = sum(one.counts for one in found)
    return {
        "days": limits.days,
        "smallest_count": limits.smallest_count,
        "studies": {"asked": len(found), "most": limits.studies, "left": max(limits.studies - len(found), 0)},
        "counts": {"asked": counts, "most": limits.counts, "left": max(limits.counts - counts, 0)},
        "told": [{"study": one.study, "protocol": one.protocol, "counts": one.counts, "last": int(one.last)} for one in found],
    }


def asked_lines(found: dict[str, Any]) -> list[str]:
    """Return what `asked_so_far` found as lines for people."""
    studies, counts = found["studies"], found["counts"]
    lines = [
        f"In the last {found['days']} days: {studies['asked']} of {studies['most']} studies of statistics, "
        f"{counts['asked']:,} of {counts['most']:,} counts; no count under {found['smallest_count']}."
    ]
    return lines + [f"{one['study']}: {one['counts']:,} counts, protocol {one['protocol']}" for one in found["told"]]
