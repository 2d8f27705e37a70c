"""Keep what a site must not forget in a secure sum: its session, what it said last, whom it has met, and which totals it helped to open.

Everything is written before anything is said, so that a site that is killed says the same bytes again and never reveals both of two
secrets of one site.
"""

from __future__ import annotations

import json
import sqlite3
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

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
_ROSTER = """CREATE TABLE IF NOT EXISTS site_roster (
    protocol TEXT, site TEXT, names TEXT NOT NULL, PRIMARY KEY (protocol, site)) WITHOUT ROWID"""
_FAILED = """CREATE TABLE IF NOT EXISTS site_failed (
    protocol TEXT, site TEXT, phase TEXT, round INTEGER, PRIMARY KEY (protocol, site, phase, round)) WITHOUT ROWID"""
_MINE = "protocol = ? AND site = ? AND snapshot = ?"


class Kept(typing.Protocol):
    """Be a session that can be written down."""

    def to_json(self) -> bytes:
        """Return it as bytes; it holds secrets."""
        ...


S = TypeVar("S", covariant=True)


@dataclass(frozen=True)
class Said(Generic[S]):
    """Hold the last step of an attempt.

    Attributes:
        turn: round and attempt.
        session: after that step.
        task: digest of the task that it took.
        update: what was said, or None where the step was the masked answer, which is kept with the answers.
    """

    turn: tuple[int, int]
    session: S
    task: str
    update: Update | None


class Sessions:
    """Remember one site's secure sums of one study, in a database whose transaction the caller owns."""

    tables = ("site_sessions", "site_opened")
    """What is remembered for one snapshot."""

    def __init__(self, connection: sqlite3.Connection, key: tuple[str, str, str]) -> None:
        """Open the memory of a site for one protocol and one snapshot."""
        for table in (_SESSION, _OPENED, _MET, _ROSTER, _FAILED):
            connection.execute(table)
        self._db, self._key = connection, key

    def last(self, phase: str, read: Callable[[bytes], S]) -> Said[S] | None:
        """Return the last step of the last attempt in a phase; `read` makes a session of bytes."""
        query = f"SELECT round, attempt, session, task, said, receipt, signature FROM site_sessions WHERE {_MINE} AND phase = ?"
        row = self._db.execute(query, (*self._key, phase)).fetchone()
        if row is None:
            return None
        update = None if row[4] is None else Update(row[3], self._key[1], row[4], {}, Receipt(**json.loads(row[5])), row[6])
        return Said((row[0], row[1]), read(row[2]), row[3], update)

    def keep(self, task: Task, session: Kept, update: Update | None) -> None:
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

    def roster(self) -> frozenset[str]:
        """Return who was asked in the first round that this site knows of; nobody before that."""
        row = self._db.execute("SELECT names FROM site_roster WHERE protocol = ? AND site = ?", self._key[:2]).fetchone()
        return frozenset() if row is None else frozenset(json.loads(row[0]))

    def put_roster(self, names: Iterable[str]) -> None:
        """Note who was asked first; it stands for the whole study."""
        self._db.execute("INSERT OR IGNORE INTO site_roster VALUES (?, ?, ?)", (*self._key[:2], json.dumps(sorted(names))))

    def failed(self, phase: str, round_: int) -> bool:
        """Say whether this site could not answer a round."""
        query = "SELECT 1 FROM site_failed WHERE protocol = ? AND site = ? AND phase = ? AND round = ?"
        return self._db.execute(query, (*self._key[:2], phase, round_)).fetchone() is not None

    def fail(self, phase: str, round_: int) -> None:
        """Note that this site could not answer a round."""
        self._db.execute("INSERT OR IGNORE INTO site_failed VALUES (?, ?, ?, ?)", (*self._key[:2], phase, round_))

    def opened(self, phase: str, round_: int) -> frozenset[str] | None:
        """Return who is in the total of a round that this site helped to open, in whichever attempt."""
        query = f"SELECT survivors FROM site_opened WHERE {_MINE} AND phase = ? AND round = ?"
        row = self._db.execute(query, (*self._key, phase, round_)).fetchone()
        return None if row is None else frozenset(json.loads(row[0]))

    def open(self, phase: str, round_: int, survivors: frozenset[str]) -> None:
        """Note that this site helps to open a total."""
        row = (*self._key, phase, round_, json.dumps(sorted(survivors)))
        self._db.execute("REPLACE INTO site_opened VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget(self, but: str = "") -> None:
        """Destroy the secrets of all phases, or of all but one: their attempts are over."""
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute(f"DELETE FROM site_sessions WHERE {_MINE} AND phase != ?", (*self._key, but))
