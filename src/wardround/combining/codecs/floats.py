"""Do what codecs of rounded floats have in common: the training's own terms, of which only the writing changes.

How a number is written is the term's `wire`; it is rounded when a site's gate writes it, and turned into the term's integers when it is
read, so the order in which sites answer changes nothing. The error is a small share of each number, so nothing is fed back.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from wardround.study.arrays import Arrays
from wardround.study.coding import Codec, Coding
from wardround.study.layout import ROUNDED, Layout, Term, Wire
from wardround.study.streams import Stream

LARGEST = 15
"""A limit becomes at most 2 to this power, half of what the narrower of the two floats can hold."""


@dataclass(frozen=True)
class Floats(Codec):
    """Send the training's own terms, written as rounded floats."""

    adds: ClassVar[bool] = False
    mixes: ClassVar[bool] = False

    @property
    @abstractmethod
    def wire(self) -> Wire:
        """Return how the floats are written."""

    @property
    def said(self) -> str:
        """Return how numbers travel."""
        return f"Changes of parameters travel as numbers of 16 bits ({self.wire})."

    def layout(self, coding: Coding) -> Layout:
        """Return the same terms, scaled, with another way of writing."""
        return tuple(_scaled(term, self.wire) for term in coding.terms)

    def encode(self, coding: Coding, public: Arrays, sums: Arrays, rest: Arrays, rng: Stream) -> tuple[Arrays, Arrays | None]:
        """Return the sums, scaled; they are rounded when they are written."""
        return {term.name: sums[term.name] * _factor(term) for term in coding.terms}, {}

    def decode(self, coding: Coding, public: Arrays, total: Arrays) -> tuple[Arrays, Arrays]:
        """Return the sums as they were."""
        return {term.name: total[term.name] / _factor(term) for term in coding.terms}, public


def _factor(term: Term) -> float:
    """Return the power of two that makes a limit small enough; 1 where it is."""
    return float(np.ldexp(1.0, min(LARGEST - int(np.frexp(np.max(term.limit))[1]), 0)))


def _scaled(term: Term, wire: Wire) -> Term:
    """Return a term scaled, in the step that it had; in one twice as coarse where rounded floats would not fit the integers."""
    factor = _factor(term)
    limit, step = term.limit * factor, term.step * factor
    room = 2.0 ** (term.bits - 1) - 2  # one step for rounding to the step, and one to spare
    coarser = np.where(np.asarray(limit) * ROUNDED[wire] > room * np.asarray(step), 2.0, 1.0)
    return replace(term, limit=limit, step=float(step * coarser) if coarser.ndim == 0 else step * coarser, wire=wire)
