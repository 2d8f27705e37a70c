"""Hold images in memory up to a bound, and beyond it in a file without a name: a hospital may have more of them than memory.

The file is gone as soon as nothing uses it any more, also after a crash. Rows are written one after the other, so a full disk is an error
like any other and not the end of the process.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from wardround.study.errors import StoreError

MEMORY = 512 * 2**20
"""Bytes of images of one field that are held in memory; more are mapped from a file."""

_AT_ONCE = 64 * 2**20


class RowStore:
    """Take in rows one after the other, and give them back as one array."""

    def __init__(self, count: int, shape: tuple[int, ...], kind: np.dtype[Any], memory: int = MEMORY, scratch: Path | None = None) -> None:
        """Make room.

        Args:
            count: how many rows there will be.
            shape: of each.
            kind: type of their values.
            memory: bytes that are held in memory; more go to a file.
            scratch: folder on whose disk that file is; None for the system's.
        """
        self._shape, self._kind, self._next = (count, *shape), kind, 0
        large = kind.itemsize * math.prod(self._shape) > memory
        self._array: np.ndarray | None = None if large else np.zeros(self._shape, dtype=kind)
        self._file: IO[bytes] | None = None
        self._empty = np.zeros(shape, dtype=kind)
        if large:
            with _room():
                self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  written to until `array`

    def put(self, row: np.ndarray | None) -> None:
        """Take in the next row; None for one that is not there, which becomes zeros.

        Raises:
            StoreError: the disk is full.
        """
        value = self._empty if row is None else row
        if self._array is not None:
            self._array[self._next] = value
        elif self._file is not None:
            with _room():
                self._file.write(np.ascontiguousarray(value, dtype=self._kind).data)
        self._next += 1

    def array(self) -> np.ndarray:
        """Return all rows, [N, *shape]; in memory, or mapped from a file and not to be written to."""
        if self._array is not None:
            return self._array
        assert self._file is not None
        with _room(), self._file as file:
            file.flush()
            return np.memmap(file, dtype=self._kind, mode="r", shape=self._shape)


class _room:
    """Say in words that the disk has no room."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            why = error.strerror or "the system refused"
            remedy = "Make room on this disk; the images take as much as they do unpacked."
            raise StoreError(f"The images could not be laid down while they are read: {why}.", remedy) from error


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array's rows in blocks that fit in memory."""
    step = max(1, _AT_ONCE // max(1, array.dtype.itemsize * math.prod(array.shape[1:])))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def chosen(array: np.ndarray, stays: np.ndarray, memory: int = MEMORY) -> np.ndarray:
    """Return some rows of an array, in memory or beyond the bound in a file.

    Args:
        array: [N, ...].
        stays: bool [N].
        memory: bytes that are held in memory.
    """
    return gathered((array[row] for row in np.flatnonzero(stays)), int(stays.sum()), array.shape[1:], array.dtype, memory)


def gathered(rows: Iterable[np.ndarray], count: int, shape: tuple[int, ...], kind: np.dtype[Any], memory: int = MEMORY) -> np.ndarray:
    """Return rows that come one after the other as one array."""
    store = RowStore(count, shape, kind, memory)
    for row in rows:
        store.put(row)
    return store.array()
