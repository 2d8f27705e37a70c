"""Write one site's sums in as few bytes as their term says, and read them back as integers.

Where nobody hides a site's sums, a term may be written more briefly than the integers that add up: as half bytes, or as floats of two
bytes. Whoever adds turns them into the term's integers first, exactly, so the total depends on the order no more than ever. Under masks
there is only one way, the integers as they are, since what is masked looks random and cannot be written more briefly.

Source: IEEE 754-2019, binary16; bfloat16 is the upper half of binary32. Neither safetensors for numpy nor numpy itself knows the latter,
so its bit patterns travel as unsigned integers of 16 bits; float16 travels as what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wardround.study.errors import VerificationError
from wardround.study.layout import INTEGERS, ROUNDED, Term

_FLOATS: Mapping[str, type[np.generic]] = {"float16": np.float16, "bfloat16": np.uint16}

_LARGEST_POWER = 15
"""Floats are scaled so that a term's limit is below 2^15: float16 ends at 65504, and its smallest steps are 2^-24."""


class OutOfBounds(VerificationError):
    """Say that a value is not finite or beyond its term's limit; becomes a refusal that names the site."""

    def __init__(self, message: str, remedy: str = "") -> None:
        """Say what is wrong; the remedy is for whoever refuses."""
        super().__init__(message, remedy)


def integers_of(term: Term, value: np.ndarray) -> np.ndarray:
    """Return real numbers within the term's limit as its integers: int8 to int64, of their shape."""
    return np.asarray(np.rint(value * (1.0 / np.asarray(term.step))).astype(INTEGERS[term.bits]))  # a power of two: the same as dividing


def spec_of(term: Term) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return type and shape of the array in which a term is written."""
    return _brief_spec(term) if term.wire else (np.dtype(INTEGERS[term.bits]), term.shape)


def _brief_spec(term: Term) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if term.wire == "int4":
        return np.dtype(np.uint8), (-(-int(np.prod(term.shape)) // 2),)
    return np.dtype(_FLOATS[term.wire]), term.shape


def written(term: Term, value: np.ndarray) -> np.ndarray:
    """Return real numbers within the term's limit as they are written.

    Args:
        term: says how.
        value: float64 [*shape].
    """
    if term.wire == "int4":
        return half_bytes(integers_of(term, value))
    return _floats(term, value) if term.wire else integers_of(term, value)


def read(term: Term, got: np.ndarray, share: float) -> np.ndarray:
    """Return the integers of what was written, int8 to int64 [*shape]; hold it against the term's limit.

    Args:
        term: says how it was written.
        got: an array of the type and shape that `spec_of` says.
        share: of the limit that this site has, 0 to 1.

    Raises:
        OutOfBounds: it is not finite or beyond its limit, or something stands in the half byte behind the last number.
    """
    largest = share * np.asarray(term.limit) + 12 * term.noise
    if term.wire.endswith("float16"):
        return _of_floats(term, got, largest)
    return _bounded(term, whole_bytes(term, got) if term.wire else got, np.floor(largest / term.step + 0.5))


def _of_floats(term: Term, got: np.ndarray, most: np.ndarray) -> np.ndarray:
    scale = _scale(term)
    with np.errstate(invalid="ignore"):  # a signalling NaN; refused below
        real = _widened(term, got) / scale
    if not bool(np.all(np.isfinite(real))):
        raise OutOfBounds(f"{term.name} is not finite")
    largest = _widened(term, _floats(term, np.asarray(most))) / scale
    return integers_of(term, _bounded(term, real, largest))


def _bounded(term: Term, found: np.ndarray, largest: np.ndarray) -> np.ndarray:
    ends = found if largest.ndim else np.asarray([found.max(initial=0), found.min(initial=0)])  # with one limit the extremes tell
    if not bool(np.all((ends <= largest) & (ends >= -largest))):
        raise OutOfBounds(f"{term.name} is beyond its limit")
    if term.kind == "count" and not term.noise and bool(np.any(found < 0)):
        raise OutOfBounds(f"{term.name} is a count and holds a negative number")
    return found


def slack(term: Term, sites: int) -> tuple[float, np.ndarray]:
    """Return by how much rounded floats may take a total beyond what sites may send: a factor, and what the smallest floats add."""
    smallest = np.asarray(term.limit) * 2.0**-38 if term.wire.endswith("float16") else np.zeros(())
    return ROUNDED[term.wire], sites * smallest


def half_bytes(integers: np.ndarray) -> np.ndarray:
    """Return integers from -7 to 7 as half bytes in two's complement, uint8 [(N + 1) // 2]: of each byte the lower half first.

    Example:
        >>> half_bytes(np.array([1, -1, 7], dtype=np.int8)).tolist()
        [241, 7]
    """
    flat = integers.reshape(-1).astype(np.uint8) & 0xF
    even = np.concatenate([flat, np.zeros(flat.size % 2, np.uint8)])
    return np.asarray(even[0::2] | even[1::2] << 4, dtype=np.uint8)


def whole_bytes(term: Term, halves: np.ndarray) -> np.ndarray:
    """Return half bytes as the term's integers.

    Raises:
        OutOfBounds: something stands in the half byte behind the last number.
    """
    both = np.stack([halves & 0xF, halves >> 4], axis=-1).reshape(-1)
    size = int(np.prod(term.shape))
    if bool(np.any(both[size:])):
        raise OutOfBounds(f"{term.name} has another number behind its last one")
    found = (both[:size] << 4).astype(np.uint8).view(np.int8) >> 4
    return np.asarray(found.astype(INTEGERS[term.bits]).reshape(term.shape))


def _scale(term: Term) -> np.ndarray:
    """Return the power of two that brings the term's limit just below the largest float."""
    limit = np.asarray(term.limit, dtype=np.float64) + 12 * term.noise
    return np.asarray(np.ldexp(1.0, _LARGEST_POWER - np.frexp(limit)[1]))


def _floats(term: Term, value: np.ndarray) -> np.ndarray:
    """Return real numbers as scaled floats: float16, or the bit patterns of bfloat16; rounded to the nearest, ties to even."""
    scaled = value * _scale(term)
    if term.wire == "float16":
        return np.asarray(scaled.astype(np.float16))
    bits = np.asarray(scaled, dtype=np.float32).view(np.uint32)
    return np.asarray((bits + (0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16))


def _widened(term: Term, got: np.ndarray) -> np.ndarray:
    """Return scaled floats as float64, exactly; what is not finite stays so."""
    if term.wire == "float16":
        return np.asarray(got, dtype=np.float64)
    return np.asarray((got.astype(np.uint32) << 16).view(np.float32), dtype=np.float64)
