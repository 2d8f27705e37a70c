"""Turn real sums into integers that add exactly, and totals back into numbers.

Integers add to the same total in any order, in any process and under any mask; floating point does not. A value that is not finite or
beyond its term's limit is refused, never clipped: clipping would change an honest site's update in silence.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wardround.study.arrays import Arrays, Lazy, from_bytes, keep, size_of, to_bytes
from wardround.study.errors import VerificationError
from wardround.study.files import LARGE, Data
from wardround.study.layout import Layout, Term

_TYPES: dict[int, np.dtype[np.signedinteger[Any]]] = {32: np.dtype(np.int32), 64: np.dtype(np.int64)}

_BLOCK = 2**16
"""Numbers of a large tensor that are encoded at a time."""


class OutOfBounds(VerificationError):
    """Say that a value is not finite or beyond its term's limit; becomes a refusal that names the site."""

    def __init__(self, message: str, remedy: str = "") -> None:
        """Say what is wrong; the remedy is for whoever refuses."""
        super().__init__(message, remedy)


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
    exact, limit = np.asarray(value, dtype=np.float64), share * np.asarray(term.limit)
    ends = exact if limit.ndim else np.asarray([exact.max(initial=0), exact.min(initial=0)])  # with one limit the extremes tell
    if not bool(np.all(np.abs(ends) <= limit)):  # `not <=` and before the cast: NaN and infinity fail here
        raise OutOfBounds(f"{term.name} is not finite" if not np.all(np.isfinite(exact)) else f"{term.name} is beyond its limit")
    if term.kind == "count" and not bool(np.all((exact >= 0) & (exact == np.rint(exact)))):
        raise OutOfBounds(f"{term.name} is a count and holds something else")
    return np.asarray(np.rint(exact * (1.0 / np.asarray(term.step))).astype(_TYPES[term.bits]))  # a power of two: the same as dividing


def share_of(layout: Layout, term: Term, sums: Arrays) -> float:
    """Return which share of a term's limit a site has: its examples among the most that any site may have; 1 for what is no mean."""
    if term.per is None:
        return 1.0
    most = next(float(other.limit) for other in layout if other.name == term.per)
    return min(max(float(sums[term.per]), 0.0) / most, 1.0)


def decode(term: Term, total: np.ndarray) -> np.ndarray:
    """Return a total as float64 numbers."""
    return np.asarray(np.multiply(total, term.step, dtype=np.float64))


def decoded(layout: Layout, integers: Arrays) -> Arrays:
    """Return totals as float64 numbers; large ones are made one at a time, when they are asked for."""
    return _decoded_large(layout, integers) if size_of(integers) >= LARGE else {one.name: decode(one, integers[one.name]) for one in layout}


def _decoded_large(layout: Layout, integers: Arrays) -> Arrays:
    terms = {term.name: term for term in layout}
    return Lazy(
        {name: (np.dtype(np.float64), term.shape) for name, term in terms.items()}, lambda name: decode(terms[name], integers[name])
    )


def packed(layout: Layout, sums: Arrays, room: Path | None = None) -> Data:
    """Return the bytes that travel for a site's sums; large ones in a file in `room`, where there is one.

    Raises:
        OutOfBounds: a sum is not finite or beyond its limit.
    """
    if room is not None and (large := _packed_large(layout, sums, room)) is not None:
        return large
    return to_bytes({term.name: encode(term, sums[term.name], share_of(layout, term, sums)) for term in layout})


def _packed_large(layout: Layout, sums: Arrays, room: Path) -> Data | None:
    """Encode and write sums one at a time, if they are large."""
    terms = {term.name: term for term in layout}
    specs = {name: (_TYPES[term.bits], term.shape) for name, term in terms.items()}
    integers = Lazy(specs, lambda name: _encode_large(terms[name], sums[name], share_of(layout, terms[name], sums)))
    if integers.nbytes < LARGE:
        return None
    room.mkdir(mode=0o700, exist_ok=True)
    return keep(integers, room / f"{secrets.token_hex(8)}.update")


def _encode_large(term: Term, value: np.ndarray, share: float) -> np.ndarray:
    """Return what `encode` returns, made block by block: what it needs beside the tensor stays small."""
    if tuple(value.shape) != term.shape or np.ndim(term.limit) or np.ndim(term.step):
        return encode(term, value, share)
    found, flat = np.empty(value.size, _TYPES[term.bits]), value.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        found[start : start + _BLOCK] = encode(replace(term, shape=part.shape), part, share)
    return found.reshape(term.shape)


def unpack(layout: Layout, body: Data) -> Arrays:
    """Return the integers in a body, held against the layout: names, types, shapes and limits.

    Raises:
        OutOfBounds: something is missing, unknown, of another type or shape, or beyond its limit.
    """
    arrays = from_bytes(body)
    if set(arrays) != {term.name for term in layout}:
        raise OutOfBounds("the names are not those of the layout")
    for term in layout:
        got = arrays[term.name]
        if got.dtype != _TYPES[term.bits] or tuple(got.shape) != term.shape:
            raise OutOfBounds(f"{term.name} has another type or shape than the layout")
        largest = np.floor((share_of(layout, term, arrays) * np.asarray(term.limit) + 12 * term.noise) / term.step + 0.5)
        ends = got if largest.ndim else np.asarray([got.max(initial=0), got.min(initial=0)])  # with one limit the extremes tell
        if not bool(np.all((ends <= largest) & (ends >= -largest))):
            raise OutOfBounds(f"{term.name} is beyond its limit")
        if term.kind == "count" and not term.noise and bool(np.any(got < 0)):
            raise OutOfBounds(f"{term.name} is a count and holds a negative number")
    return arrays


def check_total(layout: Layout, integers: Arrays, sites: int) -> None:
    """Hold a total against what so many sites may send together.

    Raises:
        OutOfBounds: it is more than that.
    """
    terms = {term.name: term for term in layout}
    for term in layout:
        share = float(sites) if term.per is None else float(integers[term.per]) / float(np.max(terms[term.per].limit))
        most = share * np.asarray(term.limit) * (1 + 2.0**-50)  # else 64 bits at the limit would fail by this product's own rounding
        rounding = 0 if term.kind == "count" and not term.noise else 0.5 * sites
        largest = np.floor((most + 12 * term.noise) / term.step + rounding)
        total = integers[term.name]
        ends = total if largest.ndim else np.asarray([total.max(initial=0), total.min(initial=0)])  # with one limit the extremes tell
        if not bool(np.all((ends <= largest) & (ends >= -largest))) or (
            term.kind == "count" and not term.noise and bool(np.any(total < 0))
        ):
            raise OutOfBounds(f"the total of {term.name} is beyond what {sites} sites may send together")
