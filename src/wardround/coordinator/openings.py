"""Keep the attempt whose total is being opened, so that a coordinator that was killed finishes it instead of beginning another.

One attempt at a time: what it came to before anybody was asked to open its total, and what was said since. It is written in the
transaction of the round; it goes with the round's closing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wardround.coordinator.store import Store, sentences
from wardround.record.commitment import commit
from wardround.study.arrays import Arrays, from_bytes, keep, size_of, to_bytes
from wardround.study.errors import StoreError, VerificationError
from wardround.study.files import LARGE, Kept, from_column
from wardround.study.interfaces import Admit, Read, T
from wardround.study.keeping import Keeping, Standing
from wardround.study.task import Receipt, Refusal, Stage, Task, Update

Turn = tuple[str, int, int]
"""Phase, round and attempt."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS opening (phase TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, facts TEXT NOT NULL,
        sums BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS opening_said (number INTEGER PRIMARY KEY, stage TEXT NOT NULL, site TEXT NOT NULL, task TEXT NOT NULL,
        body BLOB NOT NULL, receipt TEXT NOT NULL, signature TEXT NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS opening_bound (phase TEXT NOT NULL, round INTEGER NOT NULL, sites TEXT NOT NULL)",
)


class Openings:
    """Hold the attempt whose total is being opened, in the coordinator's database.

    Args:
        store: of the study.
    """

    def __init__(self, store: Store) -> None:
        """Make the tables if they are not there."""
        self._store, self._db = store, store.connection
        self._path = store.folder / "opening.safetensors"
        for table in _TABLES:
            self._db.execute(table)

    def turn(self) -> Turn | None:
        """Return which attempt it is."""
        row = self._db.execute("SELECT phase, round, attempt FROM opening").fetchone()
        return None if row is None else (row[0], row[1], row[2])

    def standing(self) -> Standing:
        """Return the attempt.

        Raises:
            StoreError: its sums are gone from the disk.
        """
        facts, sums = self._db.execute("SELECT facts, sums FROM opening").fetchone()
        rows = self._db.execute("SELECT stage, task, site, body, receipt, signature FROM opening_said ORDER BY number")
        every = [(row[0], Update(row[1], row[2], from_column(row[3]), {}, Receipt(**json.loads(row[4])), row[5])) for row in rows]
        said = [(stage, update) for stage, update in every if _whole(update)]
        try:
            return Standing(json.loads(facts), from_bytes(from_column(sums)), said)
        except VerificationError as error:
            message = f"What sites gave for the round that is being opened is gone from {self._path.name}."
            raise StoreError(message, "Put the file back from a copy; without it this round cannot close.") from error

    def put(self, turn: Turn, facts: Mapping[str, Any], sums: Arrays) -> None:
        """Keep an attempt, durably: from now on it is the one that comes next."""
        with sentences():
            kept = keep(sums, self._path) if size_of(sums) >= LARGE else to_bytes(sums)
        self.drop()
        self._db.execute("INSERT INTO opening VALUES (?, ?, ?, ?, ?)", (*turn, json.dumps(facts), kept))
        self._store.put_attempt(turn[0], turn[2])

    def add(self, stage: Stage, update: Update) -> None:
        """Keep what a site said since."""
        body = update.body
        if isinstance(body, Kept):  # it is removed once it is taken in
            with sentences():
                body = _copied(body, self._path.with_suffix(f".{update.task[-16:]}"))
        row = (stage, update.site, update.task, body, json.dumps(vars(update.receipt)), update.signature)
        self._db.execute("INSERT INTO opening_said (stage, site, task, body, receipt, signature) VALUES (?, ?, ?, ?, ?, ?)", row)

    def drop(self, unopened: bool = False) -> None:
        """Forget the attempt; where its total never came out, remember who is in it."""
        if unopened:
            facts = "SELECT phase, round, json_extract(facts, '$.survivors') FROM opening"
            self._db.execute(f"INSERT INTO opening_bound {facts}")
        self._db.execute("DELETE FROM opening")
        self._db.execute("DELETE FROM opening_said")

    def close(self) -> None:
        """Forget the attempt and all before it: the round has closed."""
        self.drop()
        self._db.execute("DELETE FROM opening_bound")

    def bound(self, phase: str, round_: int) -> list[str]:
        """Return who is in a total of a round that sites may have helped to open and that never came out."""
        rows = self._db.execute("SELECT sites FROM opening_bound WHERE phase = ? AND round = ?", (phase, round_))
        return sorted({site for row in rows for site in json.loads(row[0])})

    def tidy(self) -> None:
        """Remove the files, if no attempt needs them; called when that is durable."""
        if self.turn() is None:
            for path in self._path.parent.glob(f"{self._path.stem}.*"):
                path.unlink()


def _copied(body: Kept, place: Path) -> Kept:
    """Copy a message, durably, since what says that it is there becomes so next."""
    with body.path.open("rb") as source, place.open("wb") as copy:
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())
    return Kept(place)


def _whole(update: Update) -> bool:
    """Say whether a message in a file is still there as it came; one that is not counts as unheard and is asked for again."""
    try:
        return not isinstance(update.body, Kept) or commit(bytes.fromhex(update.receipt.salt), update.body) == update.receipt.commit
    except (OSError, VerificationError):
        return False


class Door(Keeping):
    """Admit messages of one attempt, and keep it while its total is being opened.

    Args:
        admit: of the book.
        identities: public key of each site, in hex.
        openings: keep it.
        turn: of the attempt.
        told: is told of a site that did not help.
    """

    def __init__(
        self, admit: Admit, identities: Mapping[str, str], openings: Openings, turn: Turn, told: Callable[[Refusal], None]
    ) -> None:
        """Stand at the door for one attempt."""
        self._admit, self._identities, self._openings, self._turn, self._told = admit, identities, openings, turn, told

    def __call__(self, task: Task, update: Update, read: Read[T]) -> T | Refusal:
        """Return what an update holds that is signed, logged and within bounds; else a refusal."""
        found = self._admit(task, update, read)
        if isinstance(found, Refusal) and self._openings.turn() == self._turn:
            self.add(task.stage, replace(update, body=b""))  # that it said something false: it is not asked for the same again
        return found

    def standing(self) -> Standing | None:
        """Return this very attempt as it was kept."""
        return self._openings.standing() if self._openings.turn() == self._turn else None

    def keep(self, facts: Mapping[str, Any], sums: Arrays) -> None:
        """Keep the attempt."""
        self._openings.put(self._turn, facts, sums)

    def add(self, stage: Stage, update: Update) -> None:
        """Keep what a site said since."""
        self._openings.add(stage, update)

    def identities(self) -> Mapping[str, str]:
        """Return the public key that each site joined with, in hex."""
        return self._identities

    def bound(self) -> Sequence[str]:
        """Return who is in a total of this round that never came out."""
        return self._openings.bound(*self._turn[:2])

    def tell(self, refusals: Sequence[Refusal]) -> None:
        """Tell whoever watches."""
        for one in refusals:
            self._told(one)
