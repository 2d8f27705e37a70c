"""Keep at the hospital what its studies were told: one folder for all studies of the same patients, outliving each of them.

LEDGER/key               makes keyed hashes of patients; never leaves
LEDGER/ledger.sqlite     which studies, when, how many counts; of tables in plain sums also in which cell each patient was

Patients stand in it as keyed hashes, never by identifier. Which hash was in which cell is data about patients all the same: the folder is
for this user only and is never copied to anybody. What is noted stays noted, also where the answer was then lost on the way.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wardround.study.canonical import digest
from wardround.study.errors import PolicyRefused, StoreError

KEY, FILE = "key", "ledger.sqlite"
_TABLES = (
    """CREATE TABLE IF NOT EXISTS cohorts (
        number INTEGER PRIMARY KEY, protocol TEXT NOT NULL, snapshot TEXT NOT NULL, study TEXT NOT NULL, patients BLOB NOT NULL,
        UNIQUE (protocol, snapshot))""",
    """CREATE TABLE IF NOT EXISTS answers (
        cohort INTEGER, phase TEXT, round INTEGER, time REAL NOT NULL, counts INTEGER NOT NULL,
        PRIMARY KEY (cohort, phase, round)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS told (
        cohort INTEGER, phase TEXT, name TEXT, tags TEXT NOT NULL, labels BLOB NOT NULL,
        PRIMARY KEY (cohort, phase, name)) WITHOUT ROWID""",
)


@dataclass(frozen=True)
class Told:
    """Hold what one table told patients apart by.

    Attributes:
        cohort: number of its study's patients.
        tags: names of what its fields were read from.
        labels: int32, in the cohort's order.
    """

    cohort: int
    tags: frozenset[str]
    labels: np.ndarray


@dataclass(frozen=True)
class Asked:
    """Say what one study was told since a day: how many counts, and when last (seconds since 1970)."""

    study: str
    protocol: str
    counts: int
    last: float


@dataclass(frozen=True)
class Ledger:
    """Be the ledger in a folder; nothing is made before `make`, and a folder without one reads as empty."""

    folder: Path

    def make(self) -> Ledger:
        """Make folder, key and tables, where they are not there.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_key()
            (self.folder / FILE).touch(mode=0o600)
        except OSError as error:
            remedy = "Name a folder in policy.toml, [statistics], that this user may write."
            raise StoreError(f"The ledger {self.folder} cannot be written ({error.strerror}).", remedy) from error
        with self.writing() as connection:
            for statement in _TABLES:
                connection.execute(statement)
        return self

    @property
    def key(self) -> bytes:
        """Return the key that makes keyed hashes.

        Raises:
            StoreError: it is gone.
        """
        try:
            return bytes.fromhex((self.folder / KEY).read_text(encoding="ascii").strip())
        except (OSError, ValueError) as error:
            raise StoreError(f"The key of the ledger {self.folder} is not there.", "Put it back from a copy.") from error

    @property
    def name(self) -> str:
        """Return what tells this ledger from others: a digest of its key."""
        return digest(b"ledger" + self.key)

    @property
    def exists(self) -> bool:
        """Say whether the ledger was made."""
        return (self.folder / KEY).exists() and (self.folder / FILE).exists()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the ledger alone; what is written is durable at the end, or nothing is.

        Raises:
            PolicyRefused: it cannot be used; without it nothing leaves.
        """
        with self._usable(), closing(sqlite3.connect(self.folder / FILE, timeout=60)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Look into the ledger.

        Raises:
            PolicyRefused: it cannot be used.
        """
        with (
            self._usable(),
            closing(sqlite3.connect(f"{(self.folder / FILE).resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as connection,
        ):
            yield connection

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise PolicyRefused("the hospital's ledger cannot be used", "The hospital puts its ledger back from a copy.") from error

    def _make_key(self) -> None:
        """Make the key, whole or not at all, unless it is there."""
        fresh = self.folder / f"{KEY}.{secrets.token_hex(8)}"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_bytes(32).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, self.folder / KEY)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()


def cohorts(connection: sqlite3.Connection) -> dict[int, np.ndarray]:
    """Return the patients of all studies and their snapshots: uint64 each, by number."""
    rows = connection.execute("SELECT number, patients FROM cohorts")
    return {number: np.frombuffer(patients, dtype="<u8").astype(np.uint64) for number, patients in rows}


def told(connection: sqlite3.Connection) -> list[Told]:
    """Return what all tables told patients apart by; those that were held back whole are left out."""
    rows = connection.execute("SELECT cohort, tags, labels FROM told ORDER BY cohort, phase, name")
    found = [Told(row[0], frozenset(json.loads(row[1])), np.frombuffer(row[2], dtype="<i4")) for row in rows]
    return [one for one in found if bool(np.any(one.labels >= 0))]


def asked(connection: sqlite3.Connection, since: float) -> list[Asked]:
    """Return what each study was told since a time, in seconds since 1970; the oldest first."""
    query = """SELECT study, protocol, sum(counts), max(time) FROM answers JOIN cohorts ON cohort = number WHERE time >= ?
        GROUP BY protocol ORDER BY max(time)"""
    return [Asked(*row) for row in connection.execute(query, (since,))]
