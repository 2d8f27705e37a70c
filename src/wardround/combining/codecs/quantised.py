"""Send every number at 4 or 8 bits: a whole number of a step that is common to all sites.

The first round asks only how large the sites' numbers are, and trains to no effect; so plan one round more. From then on each site sends,
for each number of its update and of its rest, how many steps it is. In plain sums that takes 4 bits a number or less, once deflated;
under masks 4 and those that the total needs: together 8, with up to 18 sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from wardround.combining.codecs.flat import Flat
from wardround.combining.codecs.scale import LEVELS, rounded, sizes, sizes_term, steps, whole
from wardround.study.arrays import Arrays
from wardround.study.coding import Codec, Coding
from wardround.study.layout import Layout
from wardround.study.streams import Stream

_SIZES, _VALUES = "coded/sizes", "coded/values"


@dataclass(frozen=True)
class Quantised(Codec):
    """Send whole numbers of a common step.

    Attributes:
        bits: 4 or 8 for each number.
    """

    lead: ClassVar[int] = 1
    bits: Literal[4, 8] = 4

    @property
    def said(self) -> str:
        """Return how numbers travel."""
        return (
            f"Changes of parameters travel rounded at random to {self.bits} bits, by a scale common to all hospitals; what is rounded off "
            "stays at the hospital and is added to its next message."
        )

    def begin(self, coding: Coding) -> Arrays:
        """Return steps that stand for nothing: the first round tells them."""
        return {"step": np.zeros(len(coding.terms))}

    def layout(self, coding: Coding) -> Layout:
        """Return sizes, and after the first round values."""
        flat = Flat(coding.terms)
        said = (sizes_term(flat, coding.sites, coding.hides),)
        values = whole(_VALUES, (flat.count,), LEVELS[self.bits].most, coding.sites, coding.hides)
        return (*said, values) if coding.round else said

    def encode(self, coding: Coding, public: Arrays, sums: Arrays, rest: Arrays, rng: Stream) -> tuple[Arrays, Arrays | None]:
        """Return how large a site's numbers are and how many steps each is; what is rounded off is the rest."""
        flat, step = Flat(coding.terms), public["step"]
        rows = flat.joined(sums) + flat.joined(rest)
        said = {_SIZES: sizes(flat, flat.root_mean_squares(rows, np.ones(flat.count, dtype=bool)))}
        if not coding.round:
            return said, None
        each = step[flat.owner][:, None]
        counted = rounded(rows / each, LEVELS[self.bits].most, rng.generator("rounding"))
        left = {name: value.astype(np.float32) for name, value in flat.parted(rows - counted * each).items()}
        return {**said, _VALUES: counted.reshape(-1)}, left

    def decode(self, coding: Coding, public: Arrays, total: Arrays) -> tuple[Arrays, Arrays]:
        """Return steps times how many there are; no change in the first round."""
        flat, step = Flat(coding.terms), public["step"]
        known = {"step": steps(flat, total[_SIZES], LEVELS[self.bits], step)}
        if not coding.round:
            return flat.parted(np.zeros((flat.count, 1))), known
        return flat.parted(total[_VALUES][:, None] * step[flat.owner][:, None]), known
