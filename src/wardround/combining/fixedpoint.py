"""Turn real sums into integers that add exactly, and totals back into numbers.

Integers add to the same total in any order, in any process and under any mask; floating point does not. A value that is not finite or
beyond its term's limit is refused, never clipped: clipping would change an honest site's update in silence.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np

from wardround.combining.deflated import deflated, inflated, small
from wardround.combining.written import OutOfBounds, read, slack, spec_of, written
from wardround.study.arrays import Arrays, Lazy, Specs, Stored, from_bytes, keep, length_of, size_of, specs_of, to_bytes
from wardround.study.files import LARGE, Data
from wardround.study.layout import INTEGERS, Layout, Term

_BLOCK = 2**16
"""Numbers of a large tensor that are encoded at a time."""


def encode(term: Term, value: np.ndarray, share: float = 1.0, brief: bool = False) -> np.ndarray:
    """Return the integers for one tensor, int8 to int64 of the term's shape; or the tensor as it is written where nobody hides it.

    Args:
        term: what may be sent.
        value: real numbers of the term's shape.
        share: of the limit that this site has, 0 to 1; less than 1 for the sum of a mean over fewer examples than the most.
        brief: write it as `Term.wire` says.

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
    if brief and term.wire:
        return written(term, exact)
    return np.asarray(np.rint(exact * (1.0 / np.asarray(term.step))).astype(INTEGERS[term.bits]))  # a power of two: the same as dividing


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


def packed(layout: Layout, sums: Arrays, room: Path | None = None, brief: bool = True) -> Data:
    """Return the bytes that travel for a site's sums; large ones in a file in `room`, where there is one.

    Args:
        layout: what may be sent.
        sums: by term.
        room: folder for what is large.
        brief: write each term as its `wire` says, and deflate what is small; False for what will be masked.

    Raises:
        OutOfBounds: a sum is not finite or beyond its limit.
    """
    if room is not None and (large := _packed_large(layout, sums, room, brief)) is not None:
        return large
    plain = to_bytes({term.name: encode(term, sums[term.name], share_of(layout, term, sums), brief) for term in layout})
    return deflated(plain) if brief and len(plain) <= LARGE and small(layout) else plain


def _packed_large(layout: Layout, sums: Arrays, room: Path, brief: bool) -> Data | None:
    """Encode and write sums one at a time, if they are large."""
    terms = {term.name: term for term in layout}
    specs = {name: spec_of(term) if brief else (np.dtype(INTEGERS[term.bits]), term.shape) for name, term in terms.items()}
    integers = Lazy(specs, lambda name: _encode_large(terms[name], sums[name], share_of(layout, terms[name], sums), brief))
    if integers.nbytes < LARGE:
        return None
    room.mkdir(mode=0o700, exist_ok=True)
    return keep(integers, room / f"{secrets.token_hex(8)}.update")


def _encode_large(term: Term, value: np.ndarray, share: float, brief: bool) -> np.ndarray:
    """Return what `encode` returns, made block by block: what it needs beside the tensor stays small."""
    if tuple(value.shape) != term.shape or np.ndim(term.limit) or np.ndim(term.step):
        return encode(term, value, share, brief)
    (kind, shape), flat = spec_of(term) if brief else (np.dtype(INTEGERS[term.bits]), term.shape), value.reshape(-1)
    pack = 2 if brief and term.wire == "int4" else 1  # numbers in one place; blocks have an even number
    found = np.empty(-(-flat.size // pack), kind)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        found[start // pack : (start + _BLOCK) // pack] = encode(replace(term, shape=part.shape), part, share, brief)
    return found.reshape(shape)


def unpack(layout: Layout, body: Data) -> Arrays:
    """Return the integers in a body, held against the layout: names, types, shapes and limits.

    Raises:
        OutOfBounds: something is missing, unknown, of another type or shape, or beyond its limit.
    """
    specs = {term.name: spec_of(term) for term in layout}
    arrays = from_bytes(inflated(body, length_of(specs)) if small(layout) else body)
    if specs_of(arrays) != specs:
        raise OutOfBounds(_difference(specs_of(arrays), specs))
    if isinstance(arrays, Stored):
        return _unpack_large(layout, arrays)
    return {term.name: read(term, arrays[term.name], share_of(layout, term, arrays)) for term in layout}


def _difference(found: Specs, specs: Specs) -> str:
    """Say what of a body is other than in its layout."""
    if set(found) != set(specs):
        return "the names are not those of the layout"
    return f"{min(name for name in specs if found[name] != specs[name])} has another type or shape than the layout"


def _unpack_large(layout: Layout, arrays: Arrays) -> Arrays:
    """Hold each against its limit before any is added; it is read again then."""
    terms = {term.name: term for term in layout}
    types = {name: (np.dtype(INTEGERS[term.bits]), term.shape) for name, term in terms.items()}
    integers = Lazy(types, lambda name: read(terms[name], arrays[name], share_of(layout, terms[name], arrays)))
    for name in terms:
        integers[name]
    return integers


def check_total(layout: Layout, integers: Arrays, sites: int) -> None:
    """Hold a total against what so many sites may send together.

    Raises:
        OutOfBounds: it is more than that.
    """
    terms = {term.name: term for term in layout}
    for term in layout:
        share = float(sites) if term.per is None else float(integers[term.per]) / float(np.max(terms[term.per].limit))
        wider, further = slack(term, sites)
        most = share * wider * np.asarray(term.limit) * (1 + 2.0**-50)  # else 64 bits at the limit would fail by its own rounding
        rounding = 0 if term.kind == "count" and not term.noise else 0.5 * sites
        largest = np.floor((most + 12 * term.noise + further) / term.step + rounding)
        total = integers[term.name]
        ends = total if largest.ndim else np.asarray([total.max(initial=0), total.min(initial=0)])  # with one limit the extremes tell
        if not bool(np.all((ends <= largest) & (ends >= -largest))) or (
            term.kind == "count" and not term.noise and bool(np.any(total < 0))
        ):
            raise OutOfBounds(f"the total of {term.name} is beyond what {sites} sites may send together")
