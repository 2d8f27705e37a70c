"""Send a share of the numbers only: the blocks with the most to say, the same ones at all sites, at 4 or 8 bits each.

Were each site to choose its own largest numbers, it would have to send their places too, and under masks nothing would add up. So numbers
are taken in blocks, and each site says of every block how much of it is unsent, in 4 bits; the blocks with the largest totals travel in
the next round. What a site does not send stays in its rest and grows until its block is chosen. The first round asks only how large the
sites' numbers are, and the second takes blocks at equal distances; so plan two rounds more.

Source: Stich et al., Sparsified SGD with memory, NeurIPS 2018, algorithm 1 (memory); the choice of common blocks from the round before is
ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from wardround.combining.codecs.flat import Flat
from wardround.combining.codecs.scale import LEVELS, rounded, sizes, sizes_term, steps, whole
from wardround.study.arrays import Arrays
from wardround.study.coding import Codec, Coding
from wardround.study.layout import INT4, Layout
from wardround.study.streams import Stream

_SIZES, _VALUES, _UNSENT = "coded/sizes", "coded/values", "coded/unsent"


@dataclass(frozen=True)
class TopK(Codec):
    """Send the blocks with the most to say.

    Attributes:
        share: of all blocks that travel in a round.
        block: numbers in a block; smaller ones choose better and cost more.
        bits: 4 or 8 for each number sent.
    """

    lead: ClassVar[int] = 2
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    block: Annotated[int, Field(ge=8, le=65536)] = 32
    bits: Literal[4, 8] = 4

    @property
    def said(self) -> str:
        """Return how numbers travel."""
        return (
            f"Of the changes of parameters {self.share:.0%} travel in a round, the same ones at all hospitals, rounded at random to "
            f"{self.bits} bits; the rest stays at the hospital and is added to its next message."
        )

    def begin(self, coding: Coding) -> Arrays:
        """Return steps that stand for nothing yet, and blocks at equal distances."""
        count = Flat(coding.terms, self.block).count
        chosen = self._chosen(count)
        return {"step": np.zeros(len(coding.terms)), "chosen": np.arange(chosen) * count // max(chosen, 1)}

    def layout(self, coding: Coding) -> Layout:
        """Return sizes, and after the first round values of the chosen blocks and how much of each block is unsent."""
        flat = Flat(coding.terms, self.block)
        said = (sizes_term(flat, coding.sites, coding.hides),)
        if not coding.round:
            return said
        chosen = (self._chosen(flat.count) * self.block,)
        values = whole(_VALUES, chosen, LEVELS[self.bits].most, coding.sites, coding.hides)
        return (*said, values, whole(_UNSENT, (flat.count,), INT4, coding.sites, coding.hides))

    def encode(self, coding: Coding, public: Arrays, sums: Arrays, rest: Arrays, rng: Stream) -> tuple[Arrays, Arrays | None]:
        """Return the chosen blocks in steps, and of all blocks how much is unsent, which is the rest."""
        flat, step = Flat(coding.terms, self.block), public["step"]
        rows = flat.joined(sums) + flat.joined(rest)
        among = np.isin(np.arange(flat.count), public["chosen"]) if coding.round else np.ones(flat.count, dtype=bool)
        said = {_SIZES: sizes(flat, flat.root_mean_squares(rows, among))}
        if not coding.round:
            return said, None
        each = step[flat.owner][:, None]
        counted = rounded(rows[among] / each[among], LEVELS[self.bits].most, rng.generator("rounding"))
        rows[among] -= counted * each[among]
        unsent = np.sqrt(np.square(rows).mean(axis=1)) / (step * self._coarser)[flat.owner]
        told = rounded(unsent, INT4, rng.generator("unsent"))
        left = {name: value.astype(np.float32) for name, value in flat.parted(rows).items()}
        return {**said, _VALUES: counted.reshape(-1), _UNSENT: told}, left

    def decode(self, coding: Coding, public: Arrays, total: Arrays) -> tuple[Arrays, Arrays]:
        """Return the chosen blocks in their places and no change elsewhere; the blocks with the most unsent are the next ones."""
        flat, step, chosen = Flat(coding.terms, self.block), public["step"], public["chosen"]
        fresh = steps(flat, total[_SIZES], LEVELS[self.bits], step)
        rows = np.zeros((flat.count, self.block))
        if not coding.round:
            return flat.parted(rows), {"step": fresh, "chosen": chosen}
        rows[chosen] = total[_VALUES].reshape(-1, self.block) * step[flat.owner[chosen]][:, None]
        unsent = total[_UNSENT] * step[flat.owner]
        largest = np.argsort(-unsent, kind="stable")[: len(chosen)]
        return flat.parted(rows), {"step": fresh, "chosen": np.sort(largest)}

    @property
    def _coarser(self) -> float:
        """Return how many steps of the numbers one step of what is told of a block is: the same whatever the bits."""
        return LEVELS[self.bits].most / LEVELS[self.bits].load / 2

    def _chosen(self, count: int) -> int:
        return max(1, min(count, round(self.share * count)))
