"""Name what a codec is: a way for the sums of a training to travel in fewer bytes.

A codec stands between a training and its messages. At the site it makes of the sums that the training gives (updates times examples)
smaller ones, and what it rounded off or left out stays there as the *rest*, to be added to the next round's sums (error feedback). At the
coordinator, and at every site that repeats it, the total of the small sums becomes sums of the old names and shapes, which the training's
own `advance` takes. What all must agree on, such as scales and which numbers travel, is public: it follows from the totals of the rounds
before.

Source: Seide et al., 1-bit stochastic gradient descent, Interspeech 2014, section 2; Karimireddy et al., Error feedback fixes SignSGD, ICML
2019, algorithm 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from wardround.study.arrays import Arrays
from wardround.study.layout import Layout
from wardround.study.streams import Stream


@dataclass(frozen=True)
class Coding:
    """Say what is to be coded.

    Attributes:
        terms: the sums that the training would send.
        sites: largest number of sites.
        hides: whether single sites' sums are hidden, so that all sums are integers of the term's bits.
        round: of the phase, from 0.
    """

    terms: Layout
    sites: int
    hides: bool
    round: int


class Codec(ABC):
    """Say how sums travel in fewer bytes: pure, and numpy only. A frozen dataclass whose fields are its options."""

    adds: ClassVar[bool] = True
    """Whether what a site sends is a whole number of a scale common to all, so that it adds up under masks as well."""

    mixes: ClassVar[bool] = True
    """Whether numbers of several tensors travel together, out of which a robust rule could not read a site's update."""

    lead: ClassVar[int] = 0
    """Rounds at the beginning that only agree on scales, or on what travels first."""

    @property
    @abstractmethod
    def said(self) -> str:
        """Return one sentence for the one-page summary: how numbers travel, and what becomes of the rest."""

    def begin(self, coding: Coding) -> Arrays:
        """Return what all know before the first round, by name."""
        return {}

    @abstractmethod
    def layout(self, coding: Coding) -> Layout:
        """Return the terms that travel in this round; from the terms' names, shapes and limits and the round alone."""

    @abstractmethod
    def encode(self, coding: Coding, public: Arrays, sums: Arrays, rest: Arrays, rng: Stream) -> tuple[Arrays, Arrays | None]:
        """Return a site's sums in the layout that travels, and its rest for the next round. Runs at the site.

        The rest is None in a round whose training has no effect: then the site keeps nothing of it.

        Args:
            coding: what is to be coded.
            public: what all know.
            sums: the training's, by term, float64, within their limits.
            rest: of the last round, by term; nothing at first.
            rng: the site's private stream.
        """

    @abstractmethod
    def decode(self, coding: Coding, public: Arrays, total: Arrays) -> tuple[Arrays, Arrays]:
        """Return sums in the training's layout, and what all know from here on.

        Elementwise + - * /, sqrt, comparisons and sorting only: every site repeats it bit for bit.

        Args:
            coding: what was coded.
            public: what all knew.
            total: by term of `layout`, float64, summed over the sites.
        """
