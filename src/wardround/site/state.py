"""Keep what a site remembers: its part of each phase, what it proposed, and what it answered.

An answer may propose something to keep (a local model, a control variate). It becomes the site's own when the site sees a signed closing
that names the answer's receipt; else what was there before stands. One ask is answered per phase and round: a repeated question gets the
stored bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

import numpy as np

from wardround.study.arrays import Arrays, from_bytes, to_bytes
from wardround.study.task import RoundClosed

_TABLES = """
CREATE TABLE IF NOT EXISTS site_kept (
    site TEXT, snapshot TEXT, phase TEXT, arrays BLOB NOT NULL, PRIMARY KEY (site, snapshot, phase)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS site_answered (
    site TEXT, snapshot TEXT, phase TEXT, round INTEGER NOT NULL, ask TEXT NOT NULL, receipt TEXT NOT NULL, body BLOB NOT NULL, proposal
    BLOB, PRIMARY KEY (site, snapshot, phase)) WITHOUT ROWID;
"""


class SiteState:
    """Remember one site's part of one study, in a database whose transaction the caller owns."""

    def __init__(self, connection: sqlite3.Connection, site: str, snapshot: str) -> None:
        """Open the memory of a site for one snapshot; another snapshot begins afresh."""
        for statement in _TABLES.split(";")[:2]:
            connection.execute(statement)
        self._db = connection
        self._key = (site, snapshot)

    def mine(self) -> Mapping[str, Arrays]:
        """Return what is kept, by phase; read when it is asked for."""
        return _Kept(self._db, self._key)

    def answered(self, phase: str) -> tuple[int, str, bytes, bytes | None] | None:
        """Return round, ask, body and proposal of the last answer in a phase."""
        query = "SELECT round, ask, body, proposal FROM site_answered WHERE site = ? AND snapshot = ? AND phase = ?"
        row: tuple[int, str, bytes, bytes | None] | None = self._db.execute(query, (*self._key, phase)).fetchone()
        return row

    def answer(self, phase: str, round_: int, ask: str, receipt: str, body: bytes, proposal: bytes | None) -> None:
        """Note an answer, and what it proposes to keep, in place of the phase's last one."""
        row = (*self._key, phase, round_, ask, receipt, body, proposal)
        self._db.execute("REPLACE INTO site_answered VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def adopt(self, closing: RoundClosed) -> str | None:
        """Keep what the closing's round proposed, if the closing names this site's answer; return the receipt if so."""
        query = "SELECT round, receipt, proposal FROM site_answered WHERE site = ? AND snapshot = ? AND phase = ?"
        row = self._db.execute(query, (*self._key, closing.phase)).fetchone()
        if row is None or row[2] is None or row[0] != closing.round or row[1] not in closing.receipts:
            return None
        self._db.execute("REPLACE INTO site_kept VALUES (?, ?, ?, ?)", (*self._key, closing.phase, row[2]))
        update = "UPDATE site_answered SET proposal = NULL WHERE site = ? AND snapshot = ? AND phase = ?"
        self._db.execute(update, (*self._key, closing.phase))
        return str(row[1])


class _Kept(Mapping[str, Arrays]):
    """Read kept arrays when they are asked for."""

    def __init__(self, connection: sqlite3.Connection, key: tuple[str, str]) -> None:
        self._db = connection
        self._key = key

    def __getitem__(self, phase: str) -> dict[str, np.ndarray]:
        query = "SELECT arrays FROM site_kept WHERE site = ? AND snapshot = ? AND phase = ?"
        row = self._db.execute(query, (*self._key, phase)).fetchone()
        if row is None:
            raise KeyError(phase)
        return from_bytes(row[0])

    def __iter__(self) -> Iterator[str]:
        rows = self._db.execute("SELECT phase FROM site_kept WHERE site = ? AND snapshot = ? ORDER BY phase", self._key).fetchall()
        return iter([row[0] for row in rows])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def stored(proposal: Arrays | None) -> bytes | None:
    """Return a proposal as the bytes that are kept."""
    return None if proposal is None else to_bytes(proposal)
