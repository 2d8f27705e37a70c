"""Carry named arrays as bytes: safetensors on the wire, in the store and under every digest.

The digest of arrays is the SHA-256 of these bytes, so `sha256sum model.safetensors` prints what the record states.

Source: safetensors format, https://huggingface.co/docs/safetensors (header of names, types and offsets, then raw little-endian data).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from wardround.study.canonical import digest
from wardround.study.errors import VerificationError
from wardround.study.files import LARGE, Data, Kept

Arrays = Mapping[str, np.ndarray]

_TYPES = ("bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32", "float64", "int64", "uint64")
_NAMES = dict(zip(_TYPES, ("BOOL", "U8", "I8", "I16", "U16", "F16", "I32", "U32", "F32", "F64", "I64", "U64"), strict=True))


Specs = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
"""By name: type and shape of an array."""


_KINDS = {code: kind for kind, code in _NAMES.items()}


class Lazy(Mapping[str, np.ndarray]):
    """Be named arrays that are made or read each when it is asked for, so that they need not be in memory together.

    Attributes:
        specs: type and shape of each, known before.
        nbytes: of all together.
    """

    def __init__(self, specs: Specs, make: Callable[[str], np.ndarray]) -> None:
        """Take in what they will be, and what makes one."""
        self.specs, self._make = specs, make

    @property
    def nbytes(self) -> int:
        """Return how many bytes they have, without making any."""
        return sum(kind.itemsize * math.prod(shape) for kind, shape in self.specs.values())

    def __getitem__(self, name: str) -> np.ndarray:
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self.specs

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)


class Stored(Lazy):
    """Hold named arrays in a safetensors file and read each when it is asked for, into memory of its own.

    Args:
        path: of the file.

    Raises:
        VerificationError: it is not a safetensors file.
    """

    def __init__(self, path: Path) -> None:
        """Read the names."""
        self.path = path
        try:
            with safe_open(path, framework="numpy") as file:
                self.metadata: dict[str, str] = file.metadata() or {}
                slices = {name: file.get_slice(name) for name in list(file.keys())}
                specs = {name: (np.dtype(_KINDS[one.get_dtype()]), tuple(one.get_shape())) for name, one in slices.items()}
            with path.open("rb") as raw:
                length = int.from_bytes(raw.read(8), "little")
                head = json.loads(raw.read(length))
            self._places = {name: 8 + length + head[name]["data_offsets"][0] for name in specs}
        except (SafetensorError, OSError, KeyError) as error:
            raise VerificationError("This is not a safetensors file.", "Fetch it again from whoever sent it.") from error
        super().__init__(specs, self._read)

    def _read(self, name: str) -> np.ndarray:
        if name not in self.specs:
            raise KeyError(name)
        kind, shape = self.specs[name]  # read, not mapped: what was read once does not stay in memory
        return np.fromfile(self.path, kind.newbyteorder("<"), math.prod(shape), offset=self._places[name]).reshape(shape)


def specs_of(arrays: Arrays) -> Specs:
    """Return type and shape of each array, without making or reading any."""
    return arrays.specs if isinstance(arrays, Lazy) else {name: (value.dtype, tuple(value.shape)) for name, value in arrays.items()}


def size_of(arrays: Arrays) -> int:
    """Return how many bytes the arrays have, without the header of a file."""
    return arrays.nbytes if isinstance(arrays, Lazy) else sum(value.nbytes for value in arrays.values())


def to_bytes(arrays: Arrays, metadata: str = "") -> bytes:
    """Return the safetensors bytes of named arrays; equal arrays give equal bytes, whatever their order.

    Args:
        arrays: by name.
        metadata: text to be kept in the header.
    """
    return save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}, {"wardround": metadata} if metadata else None)


def pieces(arrays: Arrays, metadata: str = "") -> Iterator[bytes | memoryview]:
    """Yield the bytes of `to_bytes` piece by piece: the header, then array by array; for what is too large for memory twice."""
    specs = specs_of(arrays)
    yield header(specs, metadata)
    for name in _order(specs):
        yield np.asarray(arrays[name], order="C").reshape(-1).view(np.uint8).data


def header(specs: Specs, metadata: str = "") -> bytes:
    """Return the header of the safetensors file of named arrays, with its length before it."""
    about: dict[str, object] = {"__metadata__": {"wardround": metadata}} if metadata else {}
    end = 0
    for name in _order(specs):
        kind, shape = specs[name]
        start, end = end, end + kind.itemsize * math.prod(shape)
        about[name] = {"dtype": _NAMES[kind.name], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode()
    return (len(text) + -len(text) % 8).to_bytes(8, "little") + text + b" " * (-len(text) % 8)


def _order(specs: Specs) -> list[str]:
    return sorted(specs, key=lambda name: (-_TYPES.index(specs[name][0].name), name))


def length_of(specs: Specs, metadata: str = "") -> int:
    """Return how many bytes the safetensors file of these arrays has, without making it."""
    return len(header(specs, metadata)) + sum(kind.itemsize * math.prod(shape) for kind, shape in specs.values())


def keep(arrays: Arrays, path: Path, metadata: str = "", durable: bool = True) -> Kept:
    """Write the safetensors bytes of named arrays into a file, array by array, whole or not at all.

    Args:
        arrays: by name.
        path: of the file.
        metadata: text to be kept in the header.
        durable: the disk has it when this returns; False where it can be made again.

    Raises:
        OSError: the disk refused; nothing half-written is left.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for piece in pieces(arrays, metadata):
                file.write(piece)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return Kept(path)


def from_bytes(data: Data) -> Arrays:
    """Return the named arrays in safetensors bytes; those in a file are read when they are asked for.

    Raises:
        VerificationError: these are not safetensors bytes; fetch them again from whoever sent them.
    """
    try:
        return Stored(data.path) if isinstance(data, Kept) else load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise VerificationError("These bytes are not a safetensors file.", "Fetch the file again from whoever sent it.") from error


def metadata_of(data: Data) -> str:
    """Return the text in the header of safetensors bytes; nothing where there is none.

    Raises:
        VerificationError: these are not safetensors bytes.
    """
    if isinstance(data, Kept):
        return Stored(data.path).metadata.get("wardround", "")
    try:
        head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return str(head.get("__metadata__", {}).get("wardround", ""))
    except (ValueError, AttributeError) as error:
        raise VerificationError("These bytes are not a safetensors file.", "Fetch the file again from whoever sent it.") from error


def arrays_digest(arrays: Arrays, metadata: str = "") -> str:
    """Return the digest of named arrays: that of their safetensors bytes."""
    return _digest_of_large(arrays, metadata) if size_of(arrays) >= LARGE else digest(to_bytes(arrays, metadata))


def _digest_of_large(arrays: Arrays, metadata: str) -> str:
    total = hashlib.sha256()
    for piece in pieces(arrays, metadata):
        total.update(piece)
    return f"sha256:{total.hexdigest()}"


def under(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names start with `prefix/`, without it.

    Example:
        >>> sorted(under({"params/w": np.ones(1), "params/b": np.ones(1), "round": np.ones(1)}, "params"))
        ['b', 'w']
    """
    start = prefix + "/"
    return {name[len(start) :]: arrays[name] for name in arrays if name.startswith(start)}


def put_under(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays with `prefix/` before each name: the inverse of `under`."""
    return {f"{prefix}/{name}": value for name, value in arrays.items()}
