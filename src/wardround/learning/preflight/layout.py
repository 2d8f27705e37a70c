"""Say what a hospital tells in a preflight, by name, so that the site that fills it and the reader that compares agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wardround.data.notes import LENGTHS
from wardround.study.layout import Layout, Term
from wardround.study.protocol import Protocol

TIME = "@time"
"""Name of the time of a row among the numbers; no field of a contract has it."""
HALVES = "@halves"
"""Name of the earlier and the later half of a hospital's rows among the codes."""
FAR = float(2**20)
"""How far from the middle of the contract's range, in halves of it, a number may lie; beyond it counts as not readable."""
PARTS = ("inside", "outside", "missing", "unreadable", "shared")
"""Cells of a number's table: within the contract's range, beyond it, no value, something that is no number, the one value that is told."""
SPIKE = 4
"""The last of them."""
GRID = 0.02
"""Step of the grid on which mean ranks leave."""


@dataclass(frozen=True)
class Shape:
    """Hold the order in which fields are told.

    Attributes:
        numbers: fields that are numbers, and the time of the row where the contract has one.
        codes: by field its codes.
        units: by number its unit.
        scales: by number middle and half of the range in which it is told.
    """

    numbers: tuple[str, ...]
    codes: dict[str, tuple[str, ...]]
    units: dict[str, str]
    scales: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, protocol: Protocol) -> Shape:
        """Return the shape of a plan."""
        fields = protocol.contract.fields
        ranges = {name: one.range for name, one in fields.items() if one.range is not None}
        scales = {name: ((low + high) / 2, (high - low) / 2) for name, (low, high) in ranges.items()}
        units = {name: fields[name].unit or "1" for name in ranges}
        if protocol.contract.time is not None:
            scales[TIME], units[TIME] = (2000.0, 100.0), "a"
        return cls(tuple(scales), {name: one.codes for name, one in fields.items() if one.codes}, units, scales)

    @property
    def timed(self) -> bool:
        """Return whether rows have a time."""
        return TIME in self.scales

    @property
    def classes(self) -> list[tuple[str, int]]:
        """Return field and place of each code, in the order in which they are told; the two halves of the rows come last."""
        found = [(name, place) for name, codes in self.codes.items() for place in range(len(codes))]
        return found + ([(HALVES, 0), (HALVES, 1)] if self.timed else [])

    def cells(self, name: str) -> slice:
        """Return where the table of a code stands among all of them: its codes, then missing, then unreadable."""
        start = 0
        for other, codes in self.codes.items():
            if other == name:
                return slice(start, start + len(codes) + 2)
            start += len(codes) + 2
        raise KeyError(name)

    def terms(self, examples: int, sites: int) -> Layout:
        """Return the layout."""
        numbers, classes = len(self.numbers), len(self.classes)
        cells, codes = sum(len(one) + 2 for one in self.codes.values()), sum(len(one) for one in self.codes.values())

        def real(name: str, shape: Sequence[int], limit: float) -> Term:
            return Term.sized(name, tuple(shape), limit, sites, bits=64)

        def count(name: str, shape: Sequence[int], limit: int = examples) -> Term:
            return Term.count(name, tuple(shape), limit, sites)

        return (
            count("numbers", (numbers, len(PARTS))),
            count("numbers/few", (numbers, len(PARTS)), 1),
            count("groups", (numbers,), 4),
            real("quarters", (numbers, 4), FAR),
            real("chance", (numbers, 2), 32.0),
            count("spike/kind", (numbers,), 4),
            real("spike/value", (numbers,), FAR),
            count("codes", (cells,)),
            count("codes/few", (cells,), 1),
            count("mapped", (codes,), 10_000),
            count("halves", (3,)),
            count("halves/few", (3,), 1),
            count("repeats", (2,)),
            count("repeats/few", (2,), 1),
            real("ranks", (numbers, classes), 1.0),
            count("ranks/told", (numbers, classes), 1),
            real("together", (numbers, numbers), 3.0),
            count("together/told", (numbers, numbers), 1),
            *(count(f"card/{name}", (length,), 255) for name, length in LENGTHS.items()),
            real("card/agreement", (), 2.0),
            count("card/readers", (), 100),
            count("card/there", (), 1),
        )
