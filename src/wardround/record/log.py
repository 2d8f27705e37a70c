"""Append entries to a log whose head commits to all of them.

A log is a numbered list of entries that only grows. Its rows stand in SQLite, many logs in one database, and its Merkle tree in
memory. The caller owns the transaction: an entry is durable when the caller commits, and gone when it rolls back; the log notices
that and reads its rows again. A hospital commits before it sends. A checkpoint must not be shown to anybody before the commit, or a
crash could make the log sign two heads of one size.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from wardround.record.entries import check, encode, version_of
from wardround.record.merkle import Tree, leaf_hash
from wardround.record.note import Checkpoint, Signer
from wardround.study.errors import WardroundError

Head = tuple[int, str]
"""Size of a log and its root as 64 hex digits."""

_TABLE = """CREATE TABLE IF NOT EXISTS log_entries (
    origin TEXT NOT NULL, seq INTEGER NOT NULL, leaf BLOB NOT NULL, root BLOB NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (origin, seq)
) WITHOUT ROWID"""
_LAST = "SELECT seq, root FROM log_entries WHERE origin = ? ORDER BY seq DESC LIMIT 1"


@dataclass(frozen=True)
class Logged:
    """Say where an entry went.

    Attributes:
        index: of the entry in its log, from 0.
        entry: its leaf hash, 64 hex digits.
        size: of the log just after it.
        root: of the log at that size, 64 hex digits.
    """

    index: int
    entry: str
    size: int
    root: str

    @property
    def head(self) -> Head:
        """Return (size, root), as other logs quote it."""
        return self.size, self.root


class Log:
    """Hold one log: append to it, state its head, prove things about it.

    Args:
        connection: a database; never committed here.
        origin: unique name of the log, without spaces and plus signs, such as `study.example/site`; also the name in the signer's key.
        signer: of its checkpoints.
        study: name that stands in every entry.
        clock: seconds since 1970, UTC.
    """

    def __init__(
        self, connection: sqlite3.Connection, origin: str, signer: Signer, study: str, clock: Callable[[], float] = time.time
    ) -> None:
        """Open the log, or begin an empty one."""
        self.origin = origin
        self.signer = signer
        self.study = study
        self._connection = connection
        self._clock = clock
        self._reload()

    def append(self, type: str, /, **fields: Any) -> Logged:
        """Add one entry.

        Args:
            type: a type of `entries.SCHEMAS`.
            fields: what its schema lists, without `v`, `t`, `study`, `seq` and `ts`.

        Raises:
            WardroundError: the entry does not fit its schema or is too long; nothing was added.
        """
        self._follow()
        index = len(self._tree)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        entry = {"v": version_of(type, fields), "t": type, "study": self.study, "seq": index, "ts": stamp}
        if entry.keys() & fields.keys():
            raise WardroundError(
                f"An entry's {', '.join(sorted(entry.keys() & fields.keys()))} cannot be chosen.", "Leave these fields to the log."
            )
        entry |= fields
        check(entry)
        data = encode(entry)
        leaf = leaf_hash(data)
        self._tree.append(leaf)
        self._root = self._tree.root()
        self._connection.execute("INSERT INTO log_entries VALUES (?, ?, ?, ?, ?)", (self.origin, index, leaf, self._root, data))
        return Logged(index, leaf.hex(), index + 1, self._root.hex())

    @property
    def head(self) -> Head:
        """Return (size, root)."""
        self._follow()
        return len(self._tree), self._root.hex()

    def checkpoint(self) -> str:
        """Return the head as a signed note."""
        size, root = self.head
        return self.signer.sign(Checkpoint(self.origin, size, root).text())

    def entries(self) -> Iterator[dict[str, Any]]:
        """Return the entries, oldest first."""
        return (json.loads(line) for line in self.lines())

    def lines(self) -> Iterator[bytes]:
        """Return the canonical JSON of each entry, oldest first: the bytes that were hashed."""
        self._follow()
        for (data,) in self._connection.execute("SELECT entry FROM log_entries WHERE origin = ? ORDER BY seq", (self.origin,)):
            yield data

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that entry `index` stands in the log of `size` entries (now, when None)."""
        self._follow()
        return self._tree.inclusion_proof(index, size)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the log of `new` entries (now, when None) continues the one of `old`."""
        self._follow()
        return self._tree.consistency_proof(old, new)

    def _follow(self) -> None:
        """Read the rows again if a rollback, or another object, changed them: the last row's root tells."""
        try:
            last = self._connection.execute(_LAST, (self.origin,)).fetchone()
        except sqlite3.OperationalError:
            last = None  # the rollback took the table as well
        if last != (len(self._tree) - 1, self._root):
            self._reload()

    def _reload(self) -> None:
        self._connection.execute(_TABLE)
        self._tree = Tree(
            leaf for (leaf,) in self._connection.execute("SELECT leaf FROM log_entries WHERE origin = ? ORDER BY seq", (self.origin,))
        )
        self._root = self._tree.root()
