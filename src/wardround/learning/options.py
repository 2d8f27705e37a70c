"""Name what can be chosen about training; one place, since local, pooled and federated training must be tuned alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from wardround.learning.augment import NAMES


def known(name: str) -> str:
    """Return the name of a way to vary pictures, if there is such a one."""
    if name not in NAMES:
        raise ValueError(f"there is no way to vary pictures named {name!r}; use some of: {', '.join(sorted(NAMES))}")
    return name


ONLY_FEDERATED = frozenset({"server_optimiser", "server_learning_rate", "server_momentum", "server_tau", "weighting"})
"""Options that change nothing where a model is trained in one place."""


@dataclass(frozen=True)
class FedAvgOptions:
    """Hold the options of federated averaging; a model trained in one place takes the same.

    Attributes:
        rounds: at most.
        local_epochs: how often each example is seen in one round.
        local_steps: steps in one round; overrides `local_epochs`, and makes large and small sites work alike.
        batch_size: examples in one step.
        learning_rate: of the local optimiser.
        optimiser: "sgd" or "adam", fresh each round.
        momentum: of local SGD.
        weight_decay: strength of the local L2 penalty.
        server_optimiser: "sgd" (with momentum), "adam", "yogi" or "adagrad".
        server_learning_rate: 1 with "sgd" and no momentum is plain federated averaging.
        server_momentum: of server SGD.
        server_tau: of the adaptive server optimisers: what is added to the root of the squares.
        weighting: a site counts by its training "examples", or all sites "equal".
        schedule: of the local learning rate over the rounds: "constant", or "cosine" (half a cosine, from all of it to none).
        augment: how training pictures are varied: names of `wardround.learning.augment`; of a table nothing.
    """

    rounds: Annotated[int, Field(ge=1, le=100_000)] = 30
    local_epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    local_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.05
    optimiser: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0
    server_optimiser: Literal["sgd", "adam", "yogi", "adagrad"] = "sgd"
    server_learning_rate: Annotated[float, Field(gt=0, le=100)] = 1.0
    server_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    server_tau: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weighting: Literal["examples", "equal"] = "examples"
    schedule: Literal["constant", "cosine"] = "constant"
    augment: tuple[Annotated[str, AfterValidator(known)], ...] = ()

    def at(self, round_: int) -> Self:
        """Return the options of a round (of a model trained in one place: of a pass), from 0: with the learning rate that it has then."""
        if self.schedule == "constant":
            return self
        return replace(self, learning_rate=self.learning_rate * (0.5 * (1.0 + math.cos(math.pi * round_ / self.rounds))))
