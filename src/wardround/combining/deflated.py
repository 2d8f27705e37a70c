"""Deflate named arrays whose numbers are small, and inflate them again within bounds that are known before.

Integers of 4 or 8 bits that come from rounding are mostly near zero, so a Huffman code makes them shorter by another tenth to a half, and
the names in the header too. What travels is a safetensors file all the same: its header says "deflate", and its only tensor holds the
deflated bytes of the file within. The one who inflates knows from the layout how long that file may be and reads no byte beyond, so a few
bytes that would become gigabytes are refused before they fill the memory. What is larger than `LARGE` travels as it is: it is read array
by array and never as a whole.

Source: RFC 1950 and 1951 (zlib and deflate).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import numpy as np

from wardround.combining.written import OutOfBounds
from wardround.study.arrays import Arrays, Specs, from_bytes, length_of, metadata_of, size_of, to_bytes
from wardround.study.files import LARGE, Data, Kept
from wardround.study.layout import Layout

MARK = "deflate"
"""What stands in the header, and the name of the only tensor."""

_WAYS = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
"""Repeats are worth looking for where most numbers are zero, and cost a little where they are not: the shorter one is taken."""


def small(layout: Layout) -> bool:
    """Say whether a layout has a term that is written in less than 32 bits; only then is anything deflated."""
    return any(term.bits < 32 or term.wire for term in layout)


def deflated(data: bytes) -> bytes:
    """Return a safetensors file deflated, or as it is where that is no longer."""
    shortest = min((_deflate(data, way) for way in _WAYS), key=len)
    made = to_bytes({MARK: np.frombuffer(shortest, np.uint8)}, MARK)
    return min(made, data, key=len)


def inflated(data: Data, most: int) -> Data:
    """Return the safetensors file within deflated bytes; others as they are.

    Args:
        data: as they came.
        most: bytes that the file within may have.

    Raises:
        OutOfBounds: it has more, or the deflated bytes are not whole.
        VerificationError: these are not safetensors bytes.
    """
    if metadata_of(data) != MARK:
        return data
    arrays = from_bytes(data)
    if set(arrays) != {MARK} or arrays[MARK].dtype != np.uint8 or most > LARGE or len(data) > LARGE:
        raise OutOfBounds("what is said to be deflated is not as it must be")
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(arrays[MARK].tobytes(), most + 1)
        rest = unpacking.decompress(unpacking.unconsumed_tail, 1) if not unpacking.eof and len(found) <= most else b""
    except zlib.error as error:
        raise OutOfBounds("what is deflated is damaged") from error
    if len(found) > most or rest or not unpacking.eof or unpacking.unused_data:
        raise OutOfBounds("what is deflated is longer than what was asked for, or not whole")
    return found


def published(layout: Layout, integers: Arrays) -> bytes | None:
    """Return a total as it travels to the sites: each array in the smallest integers that hold it, deflated.

    None where that is not worth the while: no term is small, or the total is large.
    """
    if not small(layout) or size_of(integers) >= LARGE:
        return None
    return deflated(to_bytes({name: _narrowed(integers[name]) for name in integers}))


def total_of(data: Data, specs: Specs) -> Arrays:
    """Return a published total in the types that it was added up in.

    Args:
        data: as it was published, narrowed and deflated or neither.
        specs: type and shape of each array of the total.

    Raises:
        OutOfBounds: an array is missing, unknown, of another shape, or of more bits than it may have.
        VerificationError: these are not safetensors bytes.
    """
    plain = inflated(data, length_of(specs))
    arrays = from_bytes(plain)
    if set(arrays) != set(specs):
        raise OutOfBounds("the published total has other names than its layout")
    if plain is data and isinstance(data, Kept):
        return arrays
    found = {}
    for name, (kind, shape) in specs.items():
        got = arrays[name]
        if got.dtype.kind != "i" or got.dtype.itemsize > kind.itemsize or tuple(got.shape) != shape:
            raise OutOfBounds("the published total has other types or shapes than its layout")
        found[name] = got.astype(kind, copy=False)
    return found


def _deflate(data: bytes, way: int) -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, 15, 9, way)
    return packing.compress(data) + packing.flush()


def _narrowed(value: np.ndarray) -> np.ndarray:
    """Return integers in the smallest type that holds all of them; what a rule made of them, which are no integers, as it is."""
    if value.dtype.kind != "i":
        return value
    ends = [value.min(initial=0), value.max(initial=0)]
    kinds: Iterable[type[np.signedinteger]] = (np.int8, np.int16, np.int32)
    return value.astype(next((one for one in kinds if all(np.iinfo(one).min <= end <= np.iinfo(one).max for end in ends)), value.dtype))
