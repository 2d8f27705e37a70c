"""Keep what a site must not forget in a secure sum: its session, what it said last, whom it has met, and which totals it helped to open.

Everything is written before anything is said, so that a site that is killed says the same bytes again and never reveals both of two
secrets of one site.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from wardround.combining.secure.session import Session
from wardround.study.task import Receipt, Task, Update

_SESSION = """CREATE TABLE IF NOT EXISTS site_sessions (
    protocol TEXT, site TEXT, snapshot TEXT, phase TEXT, round INTEGER NOT NULL, attempt INTEGER NOT NULL, session BLOB NOT NULL,
    task TEXT NOT NULL, said BLOB, receipt TEXT, signature TEXT,
    PRIMARY KEY (protocol, site, snapshot, phase)) WITHOUT ROWID"""
_OPENED = """CREATE TABLE IF NOT EXISTS site_opened (
    protocol TEXT, site TEXT, snapshot TEXT, phase TEXT, round INTEGER NOT NULL, survivors TEXT NOT NULL,
    PRIMARY KEY (protocol, site, snapshot, phase)) WITHOUT ROWID"""
_MET = """CREATE TABLE IF NOT EXISTS site_met (
    protocol TEXT, site TEXT, name TEXT, identity TEXT NOT NULL, PRIMARY KEY (protocol, site, name)) WITHOUT ROWID"""
_MINE = "protocol = ? AND site = ? AND snapshot = ?"


@dataclass(frozen=True)
class Said:
    """Hold the last step of an attempt.

    Attributes:
        turn: round and attempt.
        session: after that step.
        task: digest of the task that it took.
        update: what was said, or None where the step was the masked answer, which is kept with the answers.
    """

    turn: tuple[int, int]
    session: Session
    task: str
    update: Update | None


class Sessions:
    """Remember one site's secure sums of one study, in a database whose transaction the caller owns."""

    def __init__(self, connection: sqlite3.Connection, key: tuple[str, str, str]) -> None:
        """Open the memory of a site for one protocol and one snapshot."""
        for table in (_SESSION, _OPENED, _MET):
            connection.execute(table)
        self._db, self._key = connection, key

    def last(self, phase: str) -> Said | None:
        """Return the last step of the last attempt in a phase."""
        query = f"SELECT round, attempt, session, task, said, receipt, signature FROM site_sessions WHERE {_MINE} AND phase = ?"
        row = self._db.execute(query, (*self._key, phase)).fetchone()
        if row is None:
            return None
        update = None if row[4] is None else Update(row[3], self._key[1], row[4], {}, Receipt(**json.loads(row[5])), row[6])
        return Said((row[0], row[1]), Session.from_json(row[2]), row[3], update)

    def keep(self, task: Task, session: Session, update: Update | None) -> None:
        """Note a step, in place of the phase's last one."""
        said = (None, None, None) if update is None else (update.body, json.dumps(vars(update.receipt)), update.signature)
        row = (*self._key, task.phase, task.round, task.attempt, session.to_json(), task.digest, *said)
        self._db.execute("REPLACE INTO site_sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def met(self) -> Mapping[str, str]:
        """Return the identities of the sites that this one has met, by name, whichever snapshot it brought then."""
        return dict(self._db.execute("SELECT name, identity FROM site_met WHERE protocol = ? AND site = ? ORDER BY name", self._key[:2]))

    def meet(self, identities: Mapping[str, str]) -> None:
        """Note identities; those that are known stay."""
        rows = [(*self._key[:2], name, identity) for name, identity in identities.items()]
        self._db.executemany("INSERT OR IGNORE INTO site_met VALUES (?, ?, ?, ?)", rows)

    def opened(self, phase: str, round_: int) -> frozenset[str] | None:
        """Return who is in the total of a round that this site helped to open, in whichever attempt."""
        query = f"SELECT survivors FROM site_opened WHERE {_MINE} AND phase = ? AND round = ?"
        row = self._db.execute(query, (*self._key, phase, round_)).fetchone()
        return None if row is None else frozenset(json.loads(row[0]))

    def open(self, phase: str, round_: int, survivors: frozenset[str]) -> None:
        """Note that this site helps to open a total."""
        row = (*self._key, phase, round_, json.dumps(sorted(survivors)))
        self._db.execute("REPLACE INTO site_opened VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget(self, phase: str) -> None:
        """Destroy the secrets of a phase whose attempts are over."""
        self._db.execute(f"DELETE FROM site_sessions WHERE {_MINE} AND phase = ?", (*self._key, phase))
