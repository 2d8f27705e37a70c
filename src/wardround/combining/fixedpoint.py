"""Turn real sums into integers that add exactly, and totals back into numbers.

Integers add to the same total in any order, in any process and under any mask; floating point does not. A value that is not finite or
beyond its term's limit is refused, never clipped: clipping would change an honest site's update in silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wardround.study.arrays import Arrays, from_bytes, to_bytes
from wardround.study.errors import VerificationError
from wardround.study.task import Layout, Term

_TYPES: dict[int, np.dtype[np.signedinteger[Any]]] = {32: np.dtype(np.int32), 64: np.dtype(np.int64)}


class OutOfBounds(Exception):
    """Say that a value is not finite or beyond its term's limit; becomes a refusal that names the site."""


def encode(term: Term, value: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Return the integers for one tensor, int32 or int64 of the term's shape.

    Args:
        term: what may be sent.
        value: real numbers of the term's shape.
        share: of the limit that this site has, 0 to 1; less than 1 for the sum of a mean over fewer examples than the most.

    Raises:
        OutOfBounds: wrong shape, not finite, or beyond the limit.
    """
    if tuple(value.shape) != term.shape:
        raise OutOfBounds(f"{term.name} has shape {tuple(value.shape)}, not {term.shape}")
    exact = np.asarray(value, dtype=np.float64)
    if not bool(np.all(np.abs(exact) <= share * np.asarray(term.limit))):  # `not <=` and before the cast: NaN and infinity fail here
        raise OutOfBounds(f"{term.name} is not finite" if not np.all(np.isfinite(exact)) else f"{term.name} is beyond its limit")
    if term.kind == "count" and not bool(np.all((exact >= 0) & (exact == np.rint(exact)))):
        raise OutOfBounds(f"{term.name} is a count and holds something else")
    return np.asarray(np.rint(exact / term.step).astype(_TYPES[term.bits]))


def share_of(layout: Layout, term: Term, sums: Arrays) -> float:
    """Return which share of a term's limit a site has: its examples among the most that any site may have; 1 for what is no mean."""
    if term.per is None:
        return 1.0
    most = next(float(other.limit) for other in layout if other.name == term.per)
    return min(max(float(sums[term.per]), 0.0) / most, 1.0)


def decode(term: Term, total: np.ndarray) -> np.ndarray:
    """Return a total as float64 numbers."""
    return np.asarray(total.astype(np.float64) * term.step)


def pack(integers: Arrays) -> bytes:
    """Return the bytes that travel."""
    return to_bytes(integers)


def unpack(layout: Layout, body: bytes) -> dict[str, np.ndarray]:
    """Return the integers in a body, held against the layout: names, types, shapes and limits.

    Raises:
        OutOfBounds: something is missing, unknown, of another type or shape, or beyond its limit.
    """
    try:
        arrays = from_bytes(body)
    except VerificationError as error:
        raise OutOfBounds("the body is not a safetensors file") from error
    if set(arrays) != {term.name for term in layout}:
        raise OutOfBounds("the names are not those of the layout")
    for term in layout:
        got = arrays[term.name]
        if got.dtype != _TYPES[term.bits] or tuple(got.shape) != term.shape:
            raise OutOfBounds(f"{term.name} has another type or shape than the layout")
        limit = share_of(layout, term, arrays) * np.asarray(term.limit)
        largest = np.floor((limit + 12 * term.noise) / term.step + 0.5)
        if not bool(np.all(np.abs(got.astype(np.float64)) <= largest)):
            raise OutOfBounds(f"{term.name} is beyond its limit")
        if term.kind == "count" and not term.noise and bool(np.any(got < 0)):
            raise OutOfBounds(f"{term.name} is a count and holds a negative number")
    return arrays
