"""Learn by what pictures are normalised from percentiles of all sites' training pixels, in one round.

It may stand in the place of `moments` in a study of pictures. Mean and deviation follow what is bright: a pacemaker, a marker, a white
border, or one hospital that sends its black background inverted. The 1st and the 99th percentile of all pixels do not, as long as such
things fill less than a hundredth of what all hospitals have. Sites send counts of pixels by intensity, which add up exactly.

Source: of normalising by percentiles, Nyul and Udupa, On standardizing the MR image intensity scale, Magnetic Resonance in Medicine 1999.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from wardround.learning.inputs import predicts_number
from wardround.learning.intensity import histogram, spread_norm
from wardround.learning.norm import mean_and_deviation, moment_sums
from wardround.learning.pictures import pixels
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.interfaces import Algorithm
from wardround.study.layout import Term
from wardround.study.protocol import Phase, Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, Done, State, Total

LABEL = ("present", "sum", "squares")


@dataclass(frozen=True)
class IntensitiesOptions:
    """Say how finely intensities are counted, and between which percentiles pictures lie.

    Attributes:
        bins: of equal width over the contract's intensity range; more where pictures use a small part of it, as 12 bits in 16 do.
        low: percentile that becomes -2.
        high: percentile that becomes 2.
    """

    bins: Annotated[int, Field(ge=16, le=65_536)] = 64
    low: Annotated[float, Field(ge=0, lt=50)] = 1.0
    high: Annotated[float, Field(gt=50, le=100)] = 99.0


@dataclass(frozen=True)
class Intensities(Algorithm):
    """Give `mean` and `deviation` of each channel, last of a label that is a number, in units of half the contract's range."""

    Options: ClassVar[type] = IntensitiesOptions
    gives = "norm"
    ruled: ClassVar[bool] = False
    options: IntensitiesOptions = field(default_factory=IntensitiesOptions)

    @classmethod
    def expand(cls, protocol: Protocol, phase: Phase) -> tuple[Algorithm, ...]:
        """Return the one algorithm.

        Raises:
            ProtocolError: the model sees no image.
        """
        if protocol.contract.image is None:
            remedy = "Use a phase of kind 'moments', or name an image as the contract's one input."
            raise ProtocolError(f"phases.{phase.name}.kind: 'intensities' needs pictures, and the inputs are columns of a table.", remedy)
        return super().expand(protocol, phase)

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        label = "; of the label count, sum and sum of squares" if predicts_number(self.protocol.contract) else ""
        return (
            1,
            f"for each channel of the image: how many pixels have which intensity, in {self.options.bins} bins, over training rows{label}",
        )

    def begin(self, protocol: Protocol, earlier: Mapping[str, Done], rng: Stream) -> State:
        """Return the only state there is."""
        return State(self.phase, 0, {})

    def ask(self, state: State) -> Ask:
        """Ask for counts of pixels, and for the moments of a label that is a number."""
        bounds, image = self.protocol.bounds, self.protocol.contract.fields[str(self.protocol.contract.image)]
        shape = ((image.shape or (1,))[0], self.options.bins)
        terms = [Term.count("histogram", shape, float(bounds.examples * pixels(image)), bounds.sites)]
        if predicts_number(self.protocol.contract):
            terms.append(Term.count("present", (1,), bounds.examples, bounds.sites))
            terms += [Term.sized(name, (1,), float(bounds.examples), bounds.sites, bits=64) for name in LABEL[1:]]
        return Ask({}, tuple(terms))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts over its training rows."""
        name = str(self.protocol.contract.image)
        image = self.protocol.contract.fields[name]
        sums: dict[str, np.ndarray] = {"histogram": histogram(image, data.columns[name], data.rows("train"), self.options.bins)}
        if predicts_number(self.protocol.contract):
            sums.update({name: value[-1:] for name, value in moment_sums(self.protocol, data).items()})
        return Answer(sums), None

    def advance(self, state: State, total: Total) -> Done:
        """Return mean and deviation over all sites' pixels, and those of a label."""
        found = spread_norm(total.sums["histogram"], self.options.low / 100, self.options.high / 100)
        if "present" in total.sums:
            label = mean_and_deviation({name: total.sums[name] for name in LABEL})
            found = {name: np.append(values, label[name]) for name, values in found.items()}
        return Done(self.phase, 1, found)
