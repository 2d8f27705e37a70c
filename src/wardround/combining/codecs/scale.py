"""Agree on one scale for all sites, out of sums alone, and round to it.

Whole numbers of a common step add up to a whole number of that step; numbers that each site scaled by its own could not be added. So all
have to know the step before they send. Each site says of each tensor in which of `BINS` ranges, a half octave wide each, the root mean
square of what it has to send lies: a one in that place and zeros elsewhere, which add up. The highest range that any site is in tells the
next round's step. The first round asks for this alone.

Steps are common and the sums are weighed by examples, so a small site's numbers are small and cost fewer bytes once they are deflated;
the error in the total is that of the large ones. Rounding is stochastic, by the site's private stream, and so right on average; what is
rounded off and what lies beyond the largest whole number is the site's rest.

Source: Alistarh et al., QSGD, NeurIPS 2017, section 3.1 (stochastic rounding to levels).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wardround.combining.codecs.flat import Flat
from wardround.study.layout import INT4, Bits, Term

BINS = 64
"""Ranges of a half octave each below a tensor's limit; what is smaller still counts with the last."""

_HALF, _MIDDLE = 0.7071067811865476, 0.8408964152537145
"""A half octave and a quarter of one, downwards."""


@dataclass(frozen=True)
class Levels:
    """Say to how many whole numbers is rounded.

    Attributes:
        most: largest whole number that one site sends.
        load: how many root mean squares it stands for.
    """

    most: int
    load: float


LEVELS = {4: Levels(INT4, 3.0), 8: Levels(127, 6.0)}
"""By bits of a number. Wider at 8 bits: there a finer step gains little, and what is clipped comes a round late."""


def bits_for(most: int, sites: int) -> Bits:
    """Return the bits that a total of so many sites takes, each with whole numbers up to `most`."""
    return 8 if sites * most < 2**7 else 16 if sites * most < 2**15 else 32


def whole(name: str, shape: tuple[int, ...], most: int, sites: int, hides: bool) -> Term:
    """Return the term for whole numbers from -most to most.

    In plain sums a site sends half bytes where they hold the numbers and else bytes, and the total is as wide as it must be; under masks
    all numbers have the bits that the total takes.
    """
    if hides:
        return Term(name, shape, bits_for(most, sites), float(most), 1.0)
    return Term(name, shape, 8, float(most), 1.0, wire="int4" if most <= INT4 else "")


def rounded(values: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return whole numbers that are the values on average, float64 of their shape; those beyond `most` are clipped."""
    return np.clip(np.floor(values + rng.random(values.shape)), -most, most)


def sizes_term(flat: Flat, sites: int, hides: bool) -> Term:
    """Return the term in which sites say how large their numbers are: by tensor and range."""
    return whole("coded/sizes", (len(flat.terms), BINS), 1, sites, hides)


def sizes(flat: Flat, values: np.ndarray) -> np.ndarray:
    """Return a one in the range of each tensor's root mean square, float64 [tensors, BINS].

    Args:
        flat: the tensors.
        values: their root mean squares, float64 [tensors].
    """
    with np.errstate(divide="ignore"):
        halves = np.floor(-2.0 * np.log2(values / flat.limits))
    place = np.clip(halves, 0, BINS - 1).astype(np.int64)
    return np.asarray(place[:, None] == np.arange(BINS), dtype=np.float64)


def steps(flat: Flat, total: np.ndarray, levels: Levels, before: np.ndarray) -> np.ndarray:
    """Return the step of each tensor, float64 [tensors], from the total of `sizes`; where nobody said anything, the one before.

    No step is so large that a site could send more than its limit.

    Args:
        flat: the tensors.
        total: [tensors, BINS].
        levels: how far a site can count.
        before: the steps so far.
    """
    middles = _MIDDLE * np.ldexp(np.tile([1.0, _HALF], BINS // 2), -(np.arange(BINS) // 2))
    said = total > 0.5
    largest = flat.limits * middles[np.argmax(said, axis=1)]
    fresh = np.minimum(levels.load * largest, flat.limits) / levels.most
    return np.where(said.any(axis=1), fresh, before)
