"""Name what can be chosen about training; one place, since local, pooled and federated training must be tuned alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field


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
        server_optimiser: "sgd" (with momentum) or "adam".
        server_learning_rate: 1 with "sgd" and no momentum is plain federated averaging.
        server_momentum: of server SGD.
        server_tau: of server Adam.
        weighting: a site counts by its training "examples", or all sites "equal".
    """

    rounds: Annotated[int, Field(ge=1, le=100_000)] = 30
    local_epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    local_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.05
    optimiser: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0
    server_optimiser: Literal["sgd", "adam"] = "sgd"
    server_learning_rate: Annotated[float, Field(gt=0, le=100)] = 1.0
    server_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    server_tau: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weighting: Literal["examples", "equal"] = "examples"
