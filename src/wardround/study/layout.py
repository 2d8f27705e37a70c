"""Say what may be summed: the terms of a layout, and the integers in which they travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wardround.study.canonical import canonical

Shape = tuple[int, ...]
Limit = float | np.ndarray
Bits = Literal[8, 16, 32, 64]
Wire = Literal["", "int4", "float16", "bfloat16"]

INT4 = 7
"""Largest magnitude of an integer that is written in half a byte."""

ROUNDED = {"": 1.0, "int4": 1.0, "float16": 1 + 2.0**-10, "bfloat16": 1 + 2.0**-7}
"""By how one site's sums are written: how much larger than the limit rounding can make them."""

INTEGERS: Mapping[int, type[np.signedinteger[Any]]] = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
"""By bits: the type of a term's integers."""


def finest_step(limit: float | np.ndarray, sites: int, bits: int, noise: float = 0.0) -> float | np.ndarray:
    """Return the smallest power of two with `sites x limit + 12 noise < 2^(bits - 1) x step`.

    Args:
        limit: largest magnitude one site may send.
        sites: largest number of sites.
        bits: 8, 16, 32 or 64.
        noise: standard deviation of the noise in the total.

    Example:
        >>> finest_step(1.0, 3, 32) == 2.0**-29
        True
    """
    total = np.asarray(sites * np.asarray(limit, dtype=np.float64) + 12 * noise)
    rounding = sites * np.ldexp(1.0, np.frexp(total)[1] - bits)  # each site may round up by half a step
    step = np.ldexp(1.0, np.frexp(total * (1 + 2.0**-50) + rounding)[1] - (bits - 1))
    return float(step) if step.ndim == 0 else step


@dataclass(frozen=True)
class Term:
    """Describe one summed tensor: what every site may send under this name.

    Attributes:
        name: unique in its layout.
        shape: of the tensor.
        bits: 8, 16, 32 or 64, of the integers that add up, and in which they travel where `wire` says nothing else.
        limit: largest magnitude one site may send, a number or an array that broadcasts to `shape`. Beyond it the site is refused.
        step: power of two (or array of them) that one integer unit stands for.
        kind: "sum" of real numbers, or "count" of examples or patients (leaves a hospital in plain mode only where the protocol says so).
        per: name of the count term by which this sum is divided, when it is the sum of a mean.
        noise: standard deviation of the privacy noise in the total; 0 for none.
        wire: how one site's sums are written where nobody hides them: "" as they are, at `bits`; "int4" as integers from -7 to 7, two to
            a byte; "float16" and "bfloat16" as rounded floats, which become integers again before they are added.
    """

    name: str
    shape: Shape
    bits: Bits
    limit: Limit
    step: float | np.ndarray
    kind: Literal["sum", "count"] = "sum"
    per: str | None = None
    noise: float = 0.0
    wire: Wire = ""

    def __post_init__(self) -> None:
        """Refuse integers too small for what one site may send, and counts that would be rounded."""
        if self.bits < 32 or self.wire:
            self._fits()

    def _fits(self) -> None:
        largest = INT4 if self.wire == "int4" else 2 ** (self.bits - 1) - 1
        if self.kind == "count" and self.wire:
            raise ValueError(f"{self.name} is a count, which is written as it is and not as {self.wire}")
        if self.most(1) > largest:
            raise ValueError(f"{self.name} may be more than {largest} steps, the most that it can hold; take a coarser step or more bits")

    @classmethod
    def sized(cls, name: str, shape: Shape, limit: Limit, sites: int, *, bits: Bits = 32, per: str | None = None) -> Term:
        """Return a "sum" term whose total over `sites` sites fits `bits`: the finest step that cannot overflow."""
        return cls(name, shape, bits, limit, finest_step(limit, sites, bits), "sum", per)

    @classmethod
    def count(cls, name: str, shape: tuple[int, ...], limit: float, sites: int) -> Term:
        """Return a "count" term: step 1, 64 bits where 32 could overflow."""
        return cls(name, shape, 32 if sites * limit < 2**31 else 64, limit, 1.0, "count")

    def most(self, sites: int) -> float:
        """Return the largest magnitude that a total of so many sites' integers may have."""
        one = (np.asarray(self.limit) * ROUNDED[self.wire] + 12 * self.noise) / self.step
        return sites * float(np.max(np.floor(one + 0.5) if self.bits < 32 else one + 1, initial=0))

    def total_type(self, sites: int) -> type[np.signedinteger[Any]]:
        """Return the type in which integers of so many sites add without overflow, of the term's bits or more."""
        return next((kind for bits, kind in INTEGERS.items() if bits >= self.bits and self.most(sites) < 2.0 ** (bits - 1)), np.int64)

    def describe(self) -> dict[str, Any]:
        """Return this term as JSON values, for digests and for the record."""
        numbers = {name: np.asarray(getattr(self, name), dtype=np.float64).tolist() for name in ("limit", "step")}
        named = ("name", "bits", "kind", "per", "noise", *(("wire",) if self.wire else ()))  # older layouts, without, keep their digest
        return {**{name: getattr(self, name) for name in named}, **numbers, "shape": list(self.shape)}

    @classmethod
    def described(cls, values: Mapping[str, Any]) -> Term:
        """Return the term that `describe` described."""
        plain = {name: values[name] for name in ("name", "bits", "kind", "per", "noise")}
        limit, step = (np.asarray(values[name]) if isinstance(values[name], list) else values[name] for name in ("limit", "step"))
        wire = values.get("wire", "")
        if plain["bits"] not in INTEGERS or wire not in ROUNDED:
            raise ValueError(f"a term of {plain['bits']} bits, written as {wire!r}, is none that is known")
        return cls(shape=tuple(values["shape"]), limit=limit, step=step, wire=wire, **plain)


Layout = tuple[Term, ...]


def layout_json(layout: Layout) -> bytes:
    """Return a layout as canonical JSON; the record keeps these bytes beside the protocol and refers to them by digest."""
    return canonical([term.describe() for term in layout])
