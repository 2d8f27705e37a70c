"""Keep at the hospital what its studies were told: one folder for all studies of the same patients, outliving each of them.

LEDGER/key               makes keyed hashes of patients; never leaves
LEDGER/ledger.sqlite     which studies, when, how many counts; of tables in plain sums also in which cell each patient was

Patients stand in it as keyed hashes, never by identifier. All else stands there in plain: names of studies, fields and columns, and of each
hash the cells it was in. That is data about patients, also without the key. The folder is for this user only and is never copied to
anybody. What is noted stays noted, also where the answer was then lost on the way. Each of the two files knows the other by a digest of the
key, so that one that is gone, or is not of this ledger, is never replaced in silence.
"""

from __future__ import annotations

import fcntl
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
from wardround.study.errors import StoreError

KEY, FILE = "key", "ledger.sqlite"
WAIT = 60.0
"""Seconds for which a study waits while another one writes."""
_TABLES = (
    "CREATE TABLE about (name TEXT NOT NULL)",
    """CREATE TABLE cohorts (
        number INTEGER PRIMARY KEY, protocol TEXT NOT NULL, snapshot TEXT NOT NULL, study TEXT NOT NULL, mode TEXT NOT NULL,
        identifier TEXT NOT NULL, tags TEXT NOT NULL, patients BLOB NOT NULL, UNIQUE (protocol, snapshot))""",
    """CREATE TABLE answers (
        cohort INTEGER, phase TEXT, round INTEGER, time REAL NOT NULL, counts INTEGER NOT NULL,
        PRIMARY KEY (cohort, phase, round)) WITHOUT ROWID""",
    """CREATE TABLE told (
        cohort INTEGER, phase TEXT, name TEXT, tags TEXT NOT NULL, labels BLOB NOT NULL,
        PRIMARY KEY (cohort, phase, name)) WITHOUT ROWID""",
    "CREATE TABLE refused (protocol TEXT PRIMARY KEY, study TEXT NOT NULL, time REAL NOT NULL) WITHOUT ROWID",
)
_NEVER = "Never put an older copy back: what was told since would be forgotten."


class LedgerBusy(StoreError):
    """Say that another study held the ledger for too long; asking again helps."""


@dataclass(frozen=True)
class Cohort:
    """Hold of whom one study was told, from one snapshot.

    Attributes:
        number: by which tables name it.
        mode: "plain", "secure", or "single" where counts of single patients left in plain sums.
        identifier: local column by which patients were told apart.
        tags: names by which all fields of the study are known.
        patients: uint64, keyed hashes, ascending.
    """

    number: int
    mode: str
    identifier: str
    tags: frozenset[str]
    patients: np.ndarray


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
class StudyTold:
    """Say what one study was told since a day: how many counts (0 where it was refused), and when last (seconds since 1970)."""

    study: str
    protocol: str
    counts: int
    last: float


@dataclass(frozen=True)
class Ledger:
    """Be the ledger in a folder; nothing is made before `make`, and a folder without one reads as empty."""

    folder: Path

    def make(self) -> Ledger:
        """Make folder, key and tables, where there is no ledger yet.

        Raises:
            StoreError: the folder cannot be written, or the ledger in it is not whole.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(self.folder):
                self._make()
        except OSError as error:
            remedy = "Name a folder in policy.toml, [statistics], that this user may write."
            raise StoreError(f"The ledger {self.folder} cannot be written ({error.strerror}).", remedy) from error
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
            raise StoreError(
                f"The key of the ledger {self.folder} is not there.", "Put it back from a copy; a key never changes."
            ) from error

    @property
    def name(self) -> str:
        """Return what tells this ledger from others: a digest of its key."""
        return _name(self.key)

    @property
    def exists(self) -> bool:
        """Say whether the ledger was made."""
        return (self.folder / KEY).exists() and (self.folder / FILE).exists()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the ledger alone; what is written is durable at the end, or nothing is.

        Raises:
            LedgerBusy: another study wrote for too long.
            StoreError: it cannot be used.
        """
        with self._open() as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Look into the ledger; a file that a crash left half-written is put right by that, as SQLite does.

        Raises:
            LedgerBusy: another study wrote for too long.
            StoreError: it cannot be used.
        """
        with self._open() as connection:
            connection.execute("PRAGMA query_only = ON")
            yield connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the database, which must be there and be this ledger's."""
        with self._usable(), closing(_connected(self.folder / FILE)) as connection:
            if connection.execute("SELECT name FROM about").fetchone() != (self.name,):
                raise StoreError(f"{FILE} in the ledger {self.folder} belongs to another key.", f"Put back its own. {_NEVER}")
            yield connection

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise LedgerBusy(f"Another study is writing into the ledger {self.folder}.", "Try again in some minutes.") from error
            what = getattr(error, "sqlite_errorname", type(error).__name__)
            remedy = f"See that the disk has room and that the file is there and whole. {_NEVER}"
            raise StoreError(f"The ledger {self.folder} cannot be used ({what}).", remedy) from error

    def _make(self) -> None:
        """Make tables and then the key; where only one of the two files is there, something was lost."""
        key, file = self.folder / KEY, self.folder / FILE
        with self._usable():
            if not key.exists() and (not file.exists() or _unused(file)):
                _begin(key, file)
        for path, other in ((key, FILE), (file, KEY)):
            if not path.exists():
                message = f"The ledger {self.folder} has {other} and no {path.name}, so what was told of these patients is not known."
                raise StoreError(message, "Put the very file that was lost back, or allow no further study of these patients.")
            path.chmod(0o600)
        with self.reading():
            pass


def _name(key: bytes) -> str:
    return digest(b"ledger" + key)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from making the same ledger at the same time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _connected(path: Path) -> sqlite3.Connection:
    """Open a database that is there, also to write: a crash may have left a change that has to be taken back first."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=WAIT)


def _unused(path: Path) -> bool:
    """Say whether nothing was ever noted in a database without a key: making it was cut off."""
    with closing(_connected(path)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return not tables or connection.execute("SELECT 1 FROM cohorts UNION SELECT 1 FROM refused").fetchone() is None


def _begin(key: Path, file: Path) -> None:
    """Make an empty ledger; the key comes last and whole, so that a key alone always means that the other file was lost."""
    made = secrets.token_bytes(32)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    with closing(_connected(file)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO about VALUES (?)", (_name(made),))
        connection.commit()
    fresh = key.with_name(f"{KEY}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(made.hex() + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(key)


def cohorts(connection: sqlite3.Connection) -> list[Cohort]:
    """Return of whom each study was told, by snapshot; the oldest first."""
    rows = connection.execute("SELECT number, mode, identifier, tags, patients FROM cohorts ORDER BY number")
    return [
        Cohort(number, mode, identifier, frozenset(json.loads(tags)), np.frombuffer(patients, dtype="<u8").astype(np.uint64))
        for number, mode, identifier, tags, patients in rows
    ]


def add_cohort(connection: sqlite3.Connection, row: tuple[str, str, str, str, str, str, bytes]) -> int:
    """Note of whom a study is told, unless it is noted, and return the number: all columns but the number, in the table's order."""
    columns = "protocol, snapshot, study, mode, identifier, tags, patients"
    connection.execute(f"INSERT OR IGNORE INTO cohorts ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return int(connection.execute("SELECT number FROM cohorts WHERE protocol = ? AND snapshot = ?", row[:2]).fetchone()[0])


def told(connection: sqlite3.Connection) -> list[Told]:
    """Return what all tables told patients apart by; those that were held back whole are left out."""
    rows = connection.execute("SELECT cohort, tags, labels FROM told ORDER BY cohort, phase, name")
    found = [Told(row[0], frozenset(json.loads(row[1])), np.frombuffer(row[2], dtype="<i4")) for row in rows]
    return [one for one in found if bool(np.any(one.labels >= 0))]


def answers(connection: sqlite3.Connection, protocol: str) -> int:
    """Return how many answers to one study are noted."""
    query = "SELECT count(*) FROM answers JOIN cohorts ON cohort = number WHERE protocol = ?"
    return int(connection.execute(query, (protocol,)).fetchone()[0])


def studies_told(connection: sqlite3.Connection, since: float) -> list[StudyTold]:
    """Return what each study was told since a time, in seconds since 1970, and which were refused; the oldest first."""
    query = """SELECT study, protocol, sum(counts), max(time) FROM (
            SELECT study, protocol, counts, time FROM answers JOIN cohorts ON cohort = number
            UNION ALL SELECT study, protocol, 0, time FROM refused
        ) WHERE time >= ? GROUP BY protocol ORDER BY max(time)"""
    return [StudyTold(*row) for row in connection.execute(query, (since,))]
