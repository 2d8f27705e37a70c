"""Hold a study's tables against those of earlier studies that stand in the hospital's ledger, patient by patient.

The ledger knows of each earlier table in which cell each patient was. Here these tables are put into the order of the rows that are here
now, with whoever has gone since behind them; what tables together would give away is worked out in `wardround.privacy`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

import numpy as np

from wardround.privacy.across import LEFT, fields_of, gives_away, gone, laid_beside, places
from wardround.privacy.disclosure import one_row_each
from wardround.site.known import KnownPatients
from wardround.site.ledger import cohorts, told


def earlier_tables(connection: sqlite3.Connection, known: KnownPatients, fields: Iterable[str]) -> dict[str, np.ndarray]:
    """Return what each table so far with a field in common told the rows apart by, under its number and the fields in common.

    Those of the very study that asks are among them: a site keeps its own memory of a phase only once the coordinator has closed it.

    Args:
        connection: to the ledger.
        known: whose rows are here now.
        fields: of the study that asks.
    """
    others = {one.number: one.patients for one in cohorts(connection)}
    mine = {field: known.tags(field) for field in fields}
    common = [(one, [field for field, tags in mine.items() if tags & one.tags]) for one in told(connection)]
    wanted = np.concatenate([known.patient, gone(known.patient, list(others.values()))])
    where = {number: places(wanted, cohort) for number, cohort in others.items()}
    return {
        f"{LEFT}{number}|{'|'.join(shared)}": laid_beside(where[one.cohort], one.labels)
        for number, (one, shared) in enumerate(common)
        if shared
    }


def all_may_leave(
    left: Mapping[str, np.ndarray], connection: sqlite3.Connection, known: KnownPatients, fields: Iterable[str], least: int
) -> bool:
    """Say whether no class of fewer than `least` patients follows from one of these tables and those before.

    Args:
        left: int [N] each, by name: what the tables tell the rows apart by.
        connection: to the ledger.
        known: whose rows these are.
        fields: of the study.
        least: the hospital's own k.
    """
    telling = {name: one.astype(np.int64) for name, one in left.items() if bool(np.any(one >= 0))}
    before = earlier_tables(connection, known, fields) if telling else {}
    rows = one_row_each(known.patient)
    return not any(gives_away(name, apart, rows, least, before) for name, apart in telling.items())


def note_tables(connection: sqlite3.Connection, cohort: int, phase: str, left: Mapping[str, np.ndarray], known: KnownPatients) -> None:
    """Note what tables tell patients apart by, in the order in which the ledger has its cohort's patients."""
    first = np.unique(known.patient, return_index=True)[1]
    for name, labels in left.items():
        tags = json.dumps(sorted(known.tags(*fields_of(name))))
        row = (cohort, phase, name, tags, labels[first].astype("<i4").tobytes())
        connection.execute("REPLACE INTO told VALUES (?, ?, ?, ?, ?)", row)
