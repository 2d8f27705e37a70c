"""Remember which tasks came and what became of them, so that nothing is lost and nothing is worked out twice.

A task is written down before it is acknowledged, and what answers it before it is sent. A task that comes again after a crash is
answered from here. An answer that a person must look at first waits here too.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

_TASKS = """CREATE TABLE IF NOT EXISTS site_tasks (
    number INTEGER PRIMARY KEY, task TEXT UNIQUE NOT NULL, message BLOB NOT NULL, received REAL NOT NULL, state TEXT NOT NULL)"""
_HELD = """CREATE TABLE IF NOT EXISTS site_held (
    task TEXT PRIMARY KEY, turn TEXT NOT NULL, sums BLOB NOT NULL, proposal BLOB, decision TEXT NOT NULL) WITHOUT ROWID"""
_META = "CREATE TABLE IF NOT EXISTS site_meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"


@dataclass(frozen=True)
class Held:
    """Hold an answer that waits for a person.

    Attributes:
        task: digest of the task it answers.
        turn: phase, round and attempt, in words.
        sums: safetensors bytes of the sums.
        proposal: safetensors bytes of what the site would keep, or None.
        decision: "waiting", "release" or "refuse".
    """

    task: str
    turn: str
    sums: bytes
    proposal: bytes | None
    decision: str


class Journal:
    """Keep tasks and held answers, in a database whose transaction the caller owns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Open the journal."""
        for statement in (_TASKS, _HELD, _META):
            connection.execute(statement)
        self._db = connection

    def put(self, task: str, message: bytes) -> bool:
        """Write a task down; return False where it is known."""
        row = (task, message, time.time())
        return (
            self._db.execute("INSERT OR IGNORE INTO site_tasks (task, message, received, state) VALUES (?, ?, ?, 'waiting')", row).rowcount
            == 1
        )

    def waiting(self) -> tuple[str, bytes] | None:
        """Return the newest task that is not settled, with its message; older ones are of rounds that are over, and are passed by."""
        row = self._db.execute(
            "SELECT number, task, message FROM site_tasks WHERE state = 'waiting' ORDER BY number DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        self._db.execute("UPDATE site_tasks SET state = 'passed' WHERE state = 'waiting' AND number < ?", (row[0],))
        self._db.execute("DELETE FROM site_held WHERE task IN (SELECT task FROM site_tasks WHERE state = 'passed')")
        return row[1], bytes(row[2])

    def settle(self, task: str) -> None:
        """Note that a task needs nothing more; the messages of all but the last few are forgotten."""
        self._db.execute("UPDATE site_tasks SET state = 'settled' WHERE task = ?", (task,))
        self._db.execute("DELETE FROM site_held WHERE task = ?", (task,))
        self._db.execute(
            "UPDATE site_tasks SET message = x'' WHERE state != 'waiting' AND number < (SELECT max(number) FROM site_tasks) - 8"
        )

    def again(self, task: str) -> None:
        """Have a settled task answered again, from what is stored."""
        self._db.execute("UPDATE site_tasks SET state = 'waiting' WHERE task = ? AND message != x''", (task,))

    def hold(self, task: str, turn: str, sums: bytes, proposal: bytes | None) -> None:
        """Keep an answer until a person has looked at it."""
        self._db.execute("INSERT OR IGNORE INTO site_held VALUES (?, ?, ?, ?, 'waiting')", (task, turn, sums, proposal))

    def held(self) -> list[Held]:
        """Return every answer that waits for a person, or was just decided on."""
        return [Held(*row) for row in self._db.execute("SELECT task, turn, sums, proposal, decision FROM site_held ORDER BY turn")]

    def decide(self, decision: str) -> int:
        """Note what a person decided on all that waits: "release" or "refuse"; return how many."""
        return self._db.execute("UPDATE site_held SET decision = ? WHERE decision = 'waiting'", (decision,)).rowcount

    def count(self) -> dict[str, int]:
        """Return how many tasks are in which state."""
        return dict(self._db.execute("SELECT state, count(*) FROM site_tasks GROUP BY state"))

    def meta(self, key: str) -> bytes | None:
        """Return a value kept under a name."""
        row = self._db.execute("SELECT value FROM site_meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put_meta(self, key: str, value: bytes) -> None:
        """Keep a value under a name."""
        self._db.execute("REPLACE INTO site_meta VALUES (?, ?)", (key, value))
