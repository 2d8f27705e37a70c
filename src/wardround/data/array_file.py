"""Read a `.npz` file array by array and row by row, so that a file larger than memory can be brought.

A `.npz` is a zip file with one `.npy` member an array. Headers are read first; rows are then unpacked one after the other. Arrays of
Python objects are refused: they would have to be unpickled, which can run code.

Source: numpy, NEP 1 (a simple file format for NumPy arrays).
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from wardround.study.errors import DataError

_CUT = "Copy or export it again; it may be cut off."
_WHAT = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, KeyError)
_MOST_ROW = 2**31


@dataclass(frozen=True)
class Header:
    """Describe one array of the file.

    Attributes:
        shape: rows first.
        kind: type of its values.
        fortran: whether its first axis varies fastest, so that it cannot be read row by row.
    """

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    fortran: bool

    @property
    def row(self) -> int:
        """Return how many bytes one row has."""
        return self.kind.itemsize * math.prod(self.shape[1:])


def headers(path: Path) -> dict[str, Header]:
    """Return the arrays of a file by name, without reading them.

    Raises:
        DataError: it is not there, is no `.npz` file, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as file:
            found = {}
            for name in file.namelist():
                if name.endswith(".npy"):
                    with file.open(name) as member:
                        found[name.removesuffix(".npy")] = _header(member)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.", "Check path under [source]; it is relative to the site file's folder.") from None
    except _WHAT:
        raise DataError(f"{path.name}: is no readable .npz file.", _CUT) from None
    if any(one.kind.hasobject for one in found.values()):
        raise DataError(f"{path.name}: holds Python objects, which are not read.", "Save plain arrays of numbers and texts.")
    return found


def whole(path: Path, name: str) -> np.ndarray:
    """Return one array of a file; for labels and the like, which are small.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[name])
    except _WHAT:
        raise DataError(f"{path.name}: array {name!r} cannot be read.", _CUT) from None


def rows(path: Path, name: str, wanted: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield some rows of an array, one at a time.

    Args:
        path: of the file.
        name: of the array.
        wanted: numbers of the rows, ascending.

    Raises:
        DataError: it cannot be read to its end; or its rows do not lie one after the other.
    """
    with _opened(path, name) as (member, header):
        at = 0
        for number in wanted:
            _skip(member, (number - at) * header.row)
            data = member.read(header.row)
            if len(data) < header.row:
                raise EOFError
            at = number + 1
            yield np.frombuffer(data, header.kind).reshape(header.shape[1:])


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[IO[bytes], Header]]:
    """Open one array after its header, and say in words what goes wrong while it is read."""
    try:
        with zipfile.ZipFile(path) as file, file.open(f"{name}.npy") as member:
            header = _header(member)
            if header.fortran and len(header.shape) > 1:
                remedy = "Save it with numpy.ascontiguousarray(...) around it."
                raise DataError(f"{path.name}: the rows of array {name!r} do not lie one after the other.", remedy)
            if header.row > _MOST_ROW:
                raise DataError(f"{path.name}: one row of array {name!r} claims more than 2 GiB.", "Look at this file.")
            yield member, header
    except _WHAT:
        raise DataError(f"{path.name}: array {name!r} cannot be read to its end.", _CUT) from None


def _header(member: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(member)
    return Header(shape, kind, fortran)


def _skip(member: IO[bytes], count: int) -> None:
    """Read on by so many bytes; an unpacked stream cannot jump."""
    while count > 0:
        got = len(member.read(min(count, 2**20)))
        if not got:
            raise EOFError
        count -= got
