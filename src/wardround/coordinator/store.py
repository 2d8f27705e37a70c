"""Keep the coordinator's state durable: one database, one transaction a round.

Killed at any moment, the database holds the last whole round; the same command goes on from there and comes to the same bits.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wardround.study.arrays import Arrays, Stored, from_bytes, keep, size_of, to_bytes
from wardround.study.errors import StoreError
from wardround.study.files import LARGE, Data, Kept, from_column
from wardround.study.task import Done, RoundClosed, State

_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS states (phase TEXT PRIMARY KEY, round INTEGER NOT NULL, attempt INTEGER NOT NULL, arrays BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS done (phase TEXT PRIMARY KEY, round INTEGER NOT NULL, stopped TEXT NOT NULL, results BLOB, model BLOB)",
    "CREATE TABLE IF NOT EXISTS closings (number INTEGER PRIMARY KEY, closing TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS delivered (site TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS layouts (digest TEXT PRIMARY KEY, layout BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS supplies (digest TEXT PRIMARY KEY, arrays BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY, row TEXT NOT NULL)",
)


class Store:
    """Hold states, results and closings of one study in one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; only the owner may read it, since a simulation keeps its keys there."""
        with sentences():
            path.touch(mode=0o600)
            self.folder = path.resolve().parent
            self.connection = sqlite3.connect(path, timeout=5)
            try:
                self._prepare()
            except sqlite3.Error:
                self.connection.close()  # else the file stays locked for as long as somebody looks at the error
                raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "locking_mode = EXCLUSIVE"):
            self.connection.execute(f"PRAGMA {pragma}")
        for table in _TABLES:
            self.connection.execute(table)
        self.connection.commit()

    def commit(self) -> None:
        """Make everything since the last commit durable at once.

        Raises:
            StoreError: the disk refused; the last whole round is safe.
        """
        with sentences():
            self.connection.commit()

    def close(self) -> None:
        """Forget what was not committed, and close the file."""
        self.connection.rollback()
        self.connection.close()

    def meta(self, key: str) -> bytes | None:
        """Return a value kept under a name."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put_meta(self, key: str, value: bytes) -> None:
        """Keep a value under a name."""
        self.connection.execute("REPLACE INTO meta VALUES (?, ?)", (key, value))

    def state(self, phase: str) -> tuple[State, int] | None:
        """Return the last state of a phase and the attempt to come."""
        row = self.connection.execute("SELECT round, attempt, arrays FROM states WHERE phase = ?", (phase,)).fetchone()
        return None if row is None else (State(phase, row[0], from_bytes(from_column(row[2]))), row[1])

    def put_state(self, state: State, attempt: int = 0) -> State:
        """Keep a state in place of the phase's last one, and return it; a large one now lies in a file and is read when it is asked for."""
        state = self._in_a_file(state) if size_of(state.arrays) >= LARGE else state
        kept = Kept(state.arrays.path) if isinstance(state.arrays, Stored) else to_bytes(state.arrays)
        self.connection.execute("REPLACE INTO states VALUES (?, ?, ?, ?)", (state.phase, state.round, attempt, kept))
        return state

    def put_attempt(self, phase: str, attempt: int) -> None:
        """Note, durably, which attempt comes next even if this one is never heard of again."""
        self.connection.execute("UPDATE states SET attempt = ? WHERE phase = ?", (attempt, phase))
        self.commit()

    def _in_a_file(self, state: State) -> State:
        """Write a state into a file, unless it is there; that of the round before last is no longer needed."""
        path = self._large(state)
        with sentences():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            for old in path.parent.glob(f"{state.phase}-*.safetensors"):
                if old not in (path, self._large(State(state.phase, state.round - 1, {}))):
                    old.unlink()
            if not (isinstance(state.arrays, Stored) and state.arrays.path == path):
                keep(state.arrays, path)
        return State(state.phase, state.round, Stored(path))

    def _large(self, state: State) -> Path:
        return self.folder / "states" / f"{state.phase}-{state.round}.safetensors"

    def supplies(self) -> dict[str, Data]:
        """Return what sites may need to follow the study, by digest: totals, and the initial parameters."""
        return {row[0]: from_column(row[1]) for row in self.connection.execute("SELECT digest, arrays FROM supplies")}

    def put_supply(self, name: str, arrays: Arrays, brief: bytes | None = None) -> None:
        """Keep arrays that sites may need, by their digest; large ones in a file.

        Args:
            name: digest of the arrays.
            arrays: what sites may need.
            brief: how they travel, where that is shorter than the arrays as they are.
        """
        path = self.folder / "supplies" / name.removeprefix("sha256:")
        with sentences():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            kept = brief or (keep(arrays, path) if size_of(arrays) >= LARGE else to_bytes(arrays))
        self.connection.execute("REPLACE INTO supplies VALUES (?, ?)", (name, kept))

    def drop_supplies(self, needed: Container[str]) -> None:
        """Forget what no site needs any more."""
        for name, data in self.supplies().items():
            if name not in needed:
                self.connection.execute("DELETE FROM supplies WHERE digest = ?", (name,))
                if isinstance(data, Kept):
                    data.remove()

    def done(self, phase: str) -> Done | None:
        """Return what a phase came to, if it has ended."""
        row = self.connection.execute("SELECT round, stopped, results, model FROM done WHERE phase = ?", (phase,)).fetchone()
        return None if row is None else Done(phase, row[0], from_bytes(row[2]), row[1], None if row[3] is None else from_bytes(row[3]))

    def put_done(self, done: Done) -> None:
        """Keep what a phase came to; its last state is no longer needed."""
        model = None if done.model is None else to_bytes(done.model)
        self.connection.execute(
            "REPLACE INTO done VALUES (?, ?, ?, ?, ?)", (done.phase, done.round, done.stopped, to_bytes(done.results), model)
        )
        self.connection.execute("DELETE FROM states WHERE phase = ?", (done.phase,))

    def closings(self) -> list[RoundClosed]:
        """Return every closing, oldest first."""
        rows = self.connection.execute("SELECT closing FROM closings ORDER BY number")
        return [RoundClosed.of(json.loads(row[0])) for row in rows]

    def put_closing(self, number: int, closing: RoundClosed) -> None:
        """Keep a closing under its number."""
        self.connection.execute("INSERT INTO closings VALUES (?, ?)", (number, json.dumps(vars(closing))))

    def delivered(self) -> dict[str, int]:
        """Return, by site, how many closings it is known to have seen."""
        return dict(self.connection.execute("SELECT site, number FROM delivered"))

    def put_delivered(self, site: str, number: int) -> None:
        """Note that a site has seen the first `number` closings."""
        self.connection.execute("REPLACE INTO delivered VALUES (?, ?)", (site, number))

    def layouts(self) -> dict[str, bytes]:
        """Return every layout that was asked for, by digest."""
        return dict(self.connection.execute("SELECT digest, layout FROM layouts"))

    def put_layout(self, digest: str, layout: bytes) -> None:
        """Keep a layout beside the protocol."""
        self.connection.execute("INSERT OR IGNORE INTO layouts VALUES (?, ?)", (digest, layout))

    def history(self) -> list[dict[str, Any]]:
        """Return one row a round, oldest first."""
        return [json.loads(row[0]) for row in self.connection.execute("SELECT row FROM history ORDER BY number")]

    def put_history(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self.connection.execute("INSERT INTO history (row) VALUES (?)", (json.dumps(row),))

    def add_down(self, sent: int) -> None:
        """Add bytes that sites were sent after the last round to that round's row."""
        change = "row = json_set(row, '$.bytes_down', json_extract(row, '$.bytes_down') + ?)"
        self.connection.execute(f"UPDATE history SET {change} WHERE number = (SELECT max(number) FROM history)", (sent,))


@contextmanager
def sentences() -> Iterator[None]:
    """Say what a database's or a disk's refusal means.

    Raises:
        StoreError: in place of the library's error.
    """
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise sentence(error) from error


def sentence(error: sqlite3.DatabaseError | OSError) -> StoreError:
    """Return what a database's or a disk's refusal means, and what to do."""
    if isinstance(error, OSError):
        message = f"The study's directory cannot be used ({error.strerror})."
        return StoreError(message, "Give access or make room, then run the same command again.")
    if not isinstance(error, sqlite3.OperationalError):
        remedy = "Start anew in another directory, or put the file back from a copy."
        return StoreError("The study's state file is damaged.", remedy)
    if "locked" in str(error):
        return StoreError("Another process works in this directory.", "Wait for it to end, or stop it; two cannot share one directory.")
    return StoreError(f"The study's state could not be saved ({error}).", "Make room on the disk, then run the same command again.")
