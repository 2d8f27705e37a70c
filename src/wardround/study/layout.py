"""Say what may be summed: the terms of a layout, and the integers in which they travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from wardround.study.canonical import canonical


def finest_step(limit: float | np.ndarray, sites: int, bits: int, noise: float = 0.0) -> float | np.ndarray:
    """Return the smallest power of two with `sites x limit + 12 noise < 2^(bits - 1) x step`.

    Args:
        limit: largest magnitude one site may send.
        sites: largest number of sites.
        bits: 32 or 64.
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
        bits: 32 or 64, of the integers that travel.
        limit: largest magnitude one site may send, a number or an array that broadcasts to `shape`. Beyond it the site is refused.
        step: power of two (or array of them) that one integer unit stands for.
        kind: "sum" of real numbers, or "count" of examples or patients (leaves a hospital in plain mode only where the protocol says so).
        per: name of the count term by which this sum is divided, when it is the sum of a mean.
        noise: standard deviation of the privacy noise in the total; 0 for none.
    """

    name: str
    shape: tuple[int, ...]
    bits: Literal[32, 64]
    limit: float | np.ndarray
    step: float | np.ndarray
    kind: Literal["sum", "count"] = "sum"
    per: str | None = None
    noise: float = 0.0

    @classmethod
    def sized(
        cls, name: str, shape: tuple[int, ...], limit: float | np.ndarray, sites: int, *, bits: Literal[32, 64] = 32, per: str | None = None
    ) -> Term:
        """Return a "sum" term whose total over `sites` sites fits `bits`: the finest step that cannot overflow."""
        return cls(name, shape, bits, limit, finest_step(limit, sites, bits), "sum", per)

    @classmethod
    def count(cls, name: str, shape: tuple[int, ...], limit: float, sites: int) -> Term:
        """Return a "count" term: step 1, 64 bits where 32 could overflow."""
        return cls(name, shape, 32 if sites * limit < 2**31 else 64, limit, 1.0, "count")

    def total_type(self, sites: int) -> type[np.int32 | np.int64]:
        """Return the type in which integers of so many sites add without overflow."""
        return np.int32 if self.bits == 32 and sites * np.max((self.limit + 12 * self.noise) / self.step + 1) < 2**31 else np.int64

    def describe(self) -> dict[str, Any]:
        """Return this term as JSON values, for digests and for the record."""
        numbers = {name: np.asarray(getattr(self, name), dtype=np.float64).tolist() for name in ("limit", "step")}
        return {**{name: getattr(self, name) for name in ("name", "bits", "kind", "per", "noise")}, **numbers, "shape": list(self.shape)}

    @classmethod
    def described(cls, values: Mapping[str, Any]) -> Term:
        """Return the term that `describe` described."""
        plain = {name: values[name] for name in ("name", "bits", "kind", "per", "noise")}
        limit, step = (np.asarray(values[name]) if isinstance(values[name], list) else values[name] for name in ("limit", "step"))
        return cls(shape=tuple(values["shape"]), limit=limit, step=step, **plain)


Layout = tuple[Term, ...]


def layout_json(layout: Layout) -> bytes:
    """Return a layout as canonical JSON; the record keeps these bytes beside the protocol and refers to them by digest."""
    return canonical([term.describe() for term in layout])
