"""Learn the mean and deviation of every input, or of every channel of an image, over all sites' training patients, in one round.

Sites send, for each input, how many values they have, their sum and their sum of squares. Values are centred and scaled by the contract's
range first and travel in 64 bits with a limit per input: 32 bits, or one limit for all, lose small deviations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wardround.learning.inputs import measured, measured_at_most, predicts_number
from wardround.learning.norm import mean_and_deviation, moment_sums
from wardround.learning.votes import voted_moments
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total


@dataclass(frozen=True)
class Moments(Algorithm):
    """Give `mean` and `deviation` of each input, last of a label that is a number, float64 [F], in units of half the contract's range."""

    gives = "norm"

    def leaves(self) -> tuple[int, str]:
        """Return one answer: counts, sums and sums of squares."""
        label = " and for the label" if predicts_number(self.protocol.contract) else ""
        if self.protocol.contract.image is not None:
            each = f"for each channel of the image{label}"
            return 1, f"{each}: how many values there are, their sum and their sum of squares, over training rows"
        return 1, f"for each input{label}: how many values are known, their sum and their sum of squares, over training rows"

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the only state there is."""
        return State(self.phase, 0, {})

    def ask(self, state: State) -> Ask:
        """Ask for count, sum and sum of squares of each input, and of a label that is a number."""
        inputs = measured(self.protocol.contract)
        bounds = self.protocol.bounds
        reach = measured_at_most(self.protocol.contract, bounds.examples)
        return Ask(
            {},
            (
                Term.count("present", (inputs,), float(np.max(reach)), bounds.sites),
                Term.sized("sum", (inputs,), reach, bounds.sites, bits=64),
                Term.sized("squares", (inputs,), reach, bounds.sites, bits=64),
            ),
        )

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's sums over its training rows."""
        return Answer(moment_sums(self.protocol, data)), None

    def advance(self, state: State, total: Total) -> Done:
        """Return mean and deviation over all sites; by a vote of the sites where some may be hostile."""
        hostile = self.protocol.rounds.hostile
        return Done(self.phase, 1, voted_moments(total.sums, hostile) if hostile else mean_and_deviation(total.sums))
