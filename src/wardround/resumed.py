"""Go on with a simulation whose hospitals' rows are not as they were: what the plan allows is taken in, with an entry; the rest is refused.

A simulation reads its hospitals' files once, when it starts or goes on. Here the rule of a real hospital is applied at that moment: who
opted out is taken out, newer rows are taken in where the data are rolling, and nothing else may differ.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from wardround.data.changes import Known, changes, known_of, without
from wardround.data.consent import read_opt_out
from wardround.data.load import Prepared
from wardround.data.report import shown
from wardround.data.site_file import SiteFile
from wardround.data.who import pseudonym, who_of
from wardround.site.gate import Brought, Site
from wardround.site.renewal import Pending
from wardround.study.errors import StoreError
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

OTHERS = "Sites or their data are others than this folder was started with."


def secret(protocol: Protocol, name: str) -> Stream:
    """Return the key of a simulated hospital's pseudonyms."""
    return Stream.public(protocol.evaluation.seed).child("simulated pseudonyms", name)


def newer(protocol: Protocol, file: SiteFile, now: Prepared, before: Path, remedy: str) -> Pending:
    """Return a simulated hospital's snapshot that takes the place of another.

    Args:
        protocol: the plan.
        file: of the site; its opt-out list is read again.
        now: what was prepared just now.
        before: folder of the snapshot that the simulation was started with.
        remedy: what to do where it is refused.

    Raises:
        StoreError: the plan does not allow what is different; says what it is, in counts.
    """
    old = known_of(before)
    listed, key = read_opt_out(file), secret(protocol, file.name)
    named = set() if listed is None else {pseudonym(form, key) for form in listed.loose}
    out = np.array([one.tobytes() in named for one in old.who], dtype=bool)
    found = changes(without(old, out), Known(now.dataset, who_of(now.folder)))
    different = bool(found.rows or found.added or found.new_rows)
    brought = Brought(now.digest, now.dataset.patients, len(now.dataset.rows("train")), file.source.kind, len(now.dataset), int(out.sum()))
    tables = not protocol.trains and protocol.privacy.smallest_count > 1
    if tables or found.moved or (different and protocol.data == "frozen"):
        why = "counts of two snapshots could be subtracted" if tables else f"the plan's data are {protocol.data}"
        message = f"{OTHERS} {file.name}: {found}, {shown(found.added)} patients are new, and {why}."
        raise StoreError(message, remedy)
    return Pending(brought, "rolling" if different else "withdrawal", found.patients)


def moved(site: Site, newer: Pending) -> Site:
    """Return a gate that brings a newer snapshot, which is in its log then; the caller commits."""
    new = replace(site, state=site.state.move(newer.brought.snapshot), examples=newer.brought.examples)
    new.bring(newer.brought, newer.why, newer.changed)
    return new
