"""Give each hospital a model of its own that is pulled towards the shared one: Ditto.

Ditto trains, beside the shared model w, a model v at each hospital that minimises `F(v) + lambda / 2 |v - w*|^2`: F is the mean loss on the
hospital's rows and w* the shared model's solution. In the paper both are trained in turns, to save rounds; what v converges to depends on
the final shared model alone. A phase after training solves the same objective, from w* on, needs no further round, and leaves the training
what it is. It is local fine-tuning with a pull above zero, of which several strengths are tried; each hospital's validation rows choose.

Source: Li et al., Ditto: Fair and robust federated learning through personalization, ICML 2021, equation 2 and section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import Field

from wardround.learning.algorithms.finetune import FineTune, FineTuneOptions

Above = Annotated[float, Field(gt=0, le=1e6)]
SeveralAbove = Annotated[tuple[Above, ...], Field(min_length=1, max_length=20)]


@dataclass(frozen=True)
class DittoOptions(FineTuneOptions):
    """Hold the options of Ditto: those of fine-tuning, with another pull.

    Attributes:
        mu: the lambda of the paper, above 0; several are tried.
    """

    mu: Above | SeveralAbove = (0.05, 0.1, 0.2, 1.0)


@dataclass(frozen=True)
class Ditto(FineTune):
    """Make a model of each hospital's own that stays near the shared one."""

    Options: ClassVar[type] = DittoOptions
    options: DittoOptions = field(default_factory=DittoOptions)
