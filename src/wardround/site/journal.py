"""Remember which tasks came and what became of them, so that nothing is lost and nothing is worked out twice.

A task is written down before it is acknowledged, and what answers it before it is sent. A task that comes again after a crash is
answered from here. An answer that may not leave yet waits here too, and what went wrong here is told here in full.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardround.study.arrays import Arrays, Stored, keep, size_of, to_bytes
from wardround.study.canonical import digest
from wardround.study.files import LARGE, Data, Kept, blocks, from_column
from wardround.study.task import Task

_TASKS = """CREATE TABLE IF NOT EXISTS site_tasks (
    number INTEGER PRIMARY KEY, task TEXT UNIQUE NOT NULL, message BLOB NOT NULL, received REAL NOT NULL, state TEXT NOT NULL)"""
_HELD = """CREATE TABLE IF NOT EXISTS site_held (
    asked TEXT PRIMARY KEY, task TEXT NOT NULL, code TEXT NOT NULL, turn TEXT NOT NULL, sums BLOB NOT NULL, proposal BLOB,
    decision TEXT NOT NULL) WITHOUT ROWID"""
_NOTES = "CREATE TABLE IF NOT EXISTS site_notes (number INTEGER PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL)"
_META = "CREATE TABLE IF NOT EXISTS site_meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"


MOST_NOTES = 100


@dataclass(frozen=True)
class Held:
    """Hold an answer that may not leave yet.

    Attributes:
        asked: what it answers, whichever attempt asks for it, and on which snapshot.
        task: digest of the task that was last asked.
        code: names these very sums; 12 hex digits.
        turn: phase and round, in words.
        sums: safetensors bytes of the sums; large ones lie in a file.
        proposal: safetensors bytes of what the site would keep, or None.
        decision: "waiting" for a person, "release" or "refuse".
    """

    asked: str
    task: str
    code: str
    turn: str
    sums: Data
    proposal: Data | None
    decision: str


def asked(task: Task, snapshot: str = "") -> str:
    """Name what a task asks, the same for each attempt, and the snapshot on which it is answered."""
    return f"{task.phase}/{task.round}/{task.ask}/{snapshot}"


def turn(task: Task) -> str:
    """Return phase and round in words."""
    return f"{task.phase}, round {task.round + 1}"


class Journal:
    """Keep tasks and held answers, in a database whose transaction the caller owns.

    Args:
        connection: the database.
        room: folder for answers that are too large for memory; None keeps them in the database all the same.
    """

    def __init__(self, connection: sqlite3.Connection, room: Path | None = None) -> None:
        """Open the journal."""
        for statement in (_TASKS, _HELD, _NOTES, _META):
            connection.execute(statement)
        self._db, self._room = connection, room

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
        return row[1], bytes(row[2])

    def settle(self, task: str) -> None:
        """Note that a task needs nothing more; the messages of all but the last few are forgotten."""
        self._db.execute("UPDATE site_tasks SET state = 'settled' WHERE task = ?", (task,))
        self._db.execute(
            "UPDATE site_tasks SET message = x'' WHERE state != 'waiting' AND number < (SELECT max(number) FROM site_tasks) - 8"
        )

    def again(self, task: str) -> None:
        """Have a settled task answered again, from what is stored."""
        self._db.execute("UPDATE site_tasks SET state = 'waiting' WHERE task = ? AND message != x''", (task,))

    def before(self, task: str) -> bytes | None:
        """Return the message that came before that of a task, or None if it is not known any more."""
        query = """SELECT message FROM site_tasks WHERE number < (SELECT number FROM site_tasks WHERE task = ?) AND message != x''
            ORDER BY number DESC LIMIT 1"""
        row = self._db.execute(query, (task,)).fetchone()
        return None if row is None else bytes(row[0])

    def hold(self, task: Task, sums: Arrays, proposal: Arrays | None, decision: str = "waiting", snapshot: str = "") -> None:
        """Keep an answer until it may leave, with the digest of the snapshot it was worked out on; a large one in a file."""
        key = asked(task, snapshot)
        name = digest(key.encode()).removeprefix("sha256:")[:32]
        kept = self._kept(sums, f"{name}.held")
        mine = None if proposal is None else self._kept(proposal, f"{name}.mine")
        row = (key, task.digest, _code(key, kept), turn(task), kept, mine, decision)
        self._db.execute("REPLACE INTO site_held VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _kept(self, arrays: Arrays, name: str) -> Data:
        if self._room is None or size_of(arrays) < LARGE:
            return to_bytes(arrays)
        if isinstance(arrays, Stored):  # the worker put it beside what was asked
            return Kept(arrays.path)
        self._room.mkdir(mode=0o700, parents=True, exist_ok=True)
        return keep(arrays, self._room / name)

    def renew(self, task: Task, snapshot: str = "") -> Held | None:
        """Return the answer that is held for what a task asks; answers to anything else, or on another snapshot, are forgotten.

        What a person refused is shown again when it is asked for again.
        """
        key = asked(task, snapshot)
        self._db.execute("DELETE FROM site_held WHERE asked != ?", (key,))
        again = "CASE decision WHEN 'refuse' THEN 'waiting' ELSE decision END"
        row = (task.digest, key, task.digest)
        self._db.execute(f"UPDATE site_held SET task = ?, decision = {again} WHERE asked = ? AND task != ?", row)
        return next(iter(self.held()), None)

    def held(self) -> list[Held]:
        """Return every answer that waits, or was just decided on; one whose file is gone is worked out again."""
        rows = self._db.execute("SELECT asked, task, code, turn, sums, proposal, decision FROM site_held ORDER BY turn")
        return [one for one in map(_held, rows) if all(path.exists() for path in _files(one))]

    def forget(self) -> None:
        """Forget what is held; whoever owns the folder removes its files."""
        self._db.execute("DELETE FROM site_held")

    def files(self) -> set[Path]:
        """Return the files in which held answers lie."""
        return {path for one in self.held() for path in _files(one)}

    def decide(self, decision: str, code: str) -> str | None:
        """Note what a person decided on the answer with this code: "release" or "refuse"; return its turn, or None if none waits so."""
        found = next((one.turn for one in self.held() if (one.decision, one.code) == ("waiting", code)), None)
        self._db.execute("UPDATE site_held SET decision = ? WHERE decision = 'waiting' AND code = ?", (decision, code))
        return found

    def note(self, text: str) -> None:
        """Keep what went wrong here, in full; it does not leave. Old notes are forgotten."""
        self._db.execute("INSERT INTO site_notes (time, text) VALUES (?, ?)", (time.time(), text))
        self._db.execute("DELETE FROM site_notes WHERE number <= (SELECT max(number) FROM site_notes) - ?", (MOST_NOTES,))

    def notes(self) -> list[tuple[float, str]]:
        """Return what went wrong here, newest first: seconds since 1970, and a sentence."""
        return [(row[0], row[1]) for row in self._db.execute("SELECT time, text FROM site_notes ORDER BY number DESC")]

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


def _code(name: str, sums: Data) -> str:
    total = hashlib.sha256(name.encode())
    for block in blocks(sums):
        total.update(block)
    return total.hexdigest()[:12]


def _held(row: tuple[Any, ...]) -> Held:
    name, task, code, turn, sums, proposal, decision = row
    return Held(name, task, code, turn, from_column(sums), None if proposal is None else from_column(proposal), decision)


def _files(held: Held) -> Iterable[Path]:
    return (one.path for one in (held.sums, held.proposal) if isinstance(one, Kept))
