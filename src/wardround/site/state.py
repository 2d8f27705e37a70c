"""Keep what a site remembers: its part of each phase, what it proposed, and what it answered.

An answer may propose something to keep (a local model, a control variate). It becomes the site's own when the site sees a signed closing
that names the answer's receipt; else what was there before stands. One ask is answered per phase and round: a repeated question gets the
stored bytes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wardround.site.sessions import Sessions
from wardround.study.arrays import Arrays, from_bytes
from wardround.study.files import from_column
from wardround.study.task import Receipt, RoundClosed, Task, Update

_KEPT = """CREATE TABLE IF NOT EXISTS site_kept (
    protocol TEXT, site TEXT, snapshot TEXT, phase TEXT, arrays BLOB NOT NULL,
    PRIMARY KEY (protocol, site, snapshot, phase)) WITHOUT ROWID"""
_ANSWERED = """CREATE TABLE IF NOT EXISTS site_answered (
    protocol TEXT, site TEXT, snapshot TEXT, phase TEXT, round INTEGER NOT NULL, ask TEXT NOT NULL,
    receipt TEXT NOT NULL, signature TEXT NOT NULL, task TEXT NOT NULL, body BLOB NOT NULL, proposal BLOB,
    PRIMARY KEY (protocol, site, snapshot, phase)) WITHOUT ROWID"""
_MINE = "protocol = ? AND site = ? AND snapshot = ?"


@dataclass(frozen=True)
class Answered:
    """Hold the last answer of a phase, and what it proposed to keep."""

    round: int
    ask: str
    update: Update
    proposal: bytes | None


class SiteState:
    """Remember one site's part of one study, in a database whose transaction the caller owns."""

    def __init__(self, connection: sqlite3.Connection, protocol: str, site: str, snapshot: str) -> None:
        """Open the memory of a site for one protocol and one snapshot, both by digest; another of either begins afresh."""
        connection.execute(_KEPT)
        connection.execute(_ANSWERED)
        self._db, self.snapshot = connection, snapshot
        self._key = (protocol, site, snapshot)
        self.sessions = Sessions(connection, self._key)

    def mine(self) -> Mapping[str, Arrays]:
        """Return what is kept, by phase; read when it is asked for."""
        return _Kept(self._db, self._key)

    def answered(self, phase: str) -> Answered | None:
        """Return the last answer in a phase."""
        query = f"SELECT round, ask, receipt, signature, task, body, proposal FROM site_answered WHERE {_MINE} AND phase = ?"
        row = self._db.execute(query, (*self._key, phase)).fetchone()
        if row is None:
            return None
        update = Update(row[4], self._key[1], from_column(row[5]), {}, Receipt(**json.loads(row[2])), row[3])
        return Answered(row[0], row[1], update, row[6])

    def move(self, snapshot: str) -> SiteState:
        """Take what is remembered over to a newer snapshot, and return the memory of that.

        What was adopted stays: a model or a normalisation of the site's own is not worked out anew. What was answered on the older snapshot
        is never sent again, and its sums are destroyed; that the round was answered is still known.
        """
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute(f"UPDATE site_answered SET ask = '', body = x'' WHERE {_MINE}", self._key)
        for table in ("site_kept", "site_answered", *self.sessions.tables):
            self._db.execute(f"UPDATE OR REPLACE {table} SET snapshot = ? WHERE {_MINE}", (snapshot, *self._key))
        return SiteState(self._db, self._key[0], self._key[1], snapshot)

    def gather(self) -> None:
        """Take over what is remembered of any other snapshot of this site in this study."""
        mine, snapshot = self._key[:2], self._key[2]
        for table in ("site_kept", "site_answered", *self.sessions.tables):
            query = f"SELECT DISTINCT snapshot FROM {table} WHERE protocol = ? AND site = ? AND snapshot != ?"
            for row in self._db.execute(query, self._key).fetchall():
                SiteState(self._db, *mine, row[0]).move(snapshot)

    def files(self) -> set[Path]:
        """Return the files in which answers lie that may have to be sent again."""
        rows = self._db.execute(f"SELECT body FROM site_answered WHERE {_MINE} AND typeof(body) = 'text'", self._key)
        return {Path(row[0]) for row in rows}

    def answer(self, task: Task, update: Update, proposal: bytes | None) -> None:
        """Note an answer, and what it proposes to keep, in place of the phase's last one."""
        about = (task.phase, task.round, task.ask, json.dumps(vars(update.receipt)), update.signature, update.task)
        self._db.execute("REPLACE INTO site_answered VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*self._key, *about, update.body, proposal))

    def adopt(self, closing: RoundClosed) -> str | None:
        """Keep what the closing's round proposed, if the closing names this site's answer; return the receipt if so."""
        last = self.answered(closing.phase)
        if last is None or last.proposal is None or last.round != closing.round or last.update.receipt.entry not in closing.receipts:
            return None
        self._db.execute("REPLACE INTO site_kept VALUES (?, ?, ?, ?, ?)", (*self._key, closing.phase, last.proposal))
        self._db.execute(f"UPDATE site_answered SET proposal = NULL WHERE {_MINE} AND phase = ?", (*self._key, closing.phase))
        return last.update.receipt.entry


@dataclass(frozen=True)
class _Kept(Mapping[str, Arrays]):
    """Read kept arrays when they are asked for."""

    db: sqlite3.Connection
    key: tuple[str, str, str]

    def __getitem__(self, phase: str) -> Arrays:
        query = f"SELECT arrays FROM site_kept WHERE {_MINE} AND phase = ?"
        row = self.db.execute(query, (*self.key, phase)).fetchone()
        if row is None:
            raise KeyError(phase)
        return from_bytes(row[0])

    def __iter__(self) -> Iterator[str]:
        rows = self.db.execute(f"SELECT phase FROM site_kept WHERE {_MINE} ORDER BY phase", self.key).fetchall()
        return iter([row[0] for row in rows])

    def __len__(self) -> int:
        return sum(1 for _ in self)
