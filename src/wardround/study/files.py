"""Keep bytes that are too large for memory in a file, and pass them around as if they were bytes.

A model of half a gigabyte at three hospitals would fill a coordinator's memory many times over. What is large is read block by block, or
array by array, and never as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LARGE = 8 * 2**20
"""Bytes from which something is kept in a file."""

BLOCK = 2**20


@dataclass(frozen=True)
class Kept:
    """Hold bytes in a file; whoever made it removes it.

    Attributes:
        path: of the file.
    """

    path: Path

    def __len__(self) -> int:
        return self.path.stat().st_size

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes, a mebibyte at a time."""
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block

    def __conform__(self, protocol: object) -> str:
        """Return what a column of a database holds: the path (see `sqlite3.PrepareProtocol`)."""
        return str(self.path)

    def remove(self) -> None:
        """Remove the file; nothing happens where it is gone."""
        self.path.unlink(missing_ok=True)


Data = bytes | Kept


def blocks(data: Data) -> Iterator[bytes]:
    """Yield bytes, all at once or, from a file, a mebibyte at a time."""
    yield from data.blocks() if isinstance(data, Kept) else (data,)


def from_column(value: bytes | str) -> Data:
    """Return bytes from a column of a database, or the file whose path stands there."""
    return Kept(Path(value)) if isinstance(value, str) else value
