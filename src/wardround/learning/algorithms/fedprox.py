"""Train as federated averaging does, each site pulled towards the model it received: FedProx.

The pull keeps sites whose data differ, or that take many steps, from running apart; with mu = 0 it is federated averaging.

Source: Li et al., Federated optimization in heterogeneous networks, MLSys 2020, algorithm 2 and equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from wardround.learning.algorithms.fedavg import FedAvg, Visit
from wardround.learning.options import FedAvgOptions
from wardround.learning.pull import pull
from wardround.learning.train import corrected

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass(frozen=True)
class FedProxOptions(FedAvgOptions):
    """Add the strength of the pull.

    Attributes:
        mu: of the penalty mu / 2 x |parameters - received|^2 at each site.
    """

    mu: Annotated[float, Field(ge=0, le=1000)] = 0.01


@dataclass(frozen=True)
class FedProx(FedAvg):
    """Average updates of sites that are each pulled towards what they received."""

    Options: ClassVar[type] = FedProxOptions
    options: FedProxOptions = field(default_factory=FedProxOptions)

    def optimiser(self, visit: Visit) -> Optimizer:
        """Add the pull of what is trained together; private parts are free."""
        plain = super().optimiser(visit)
        return corrected(plain, visit.network, pull(visit.network, self.options.mu, self.protocol.moves)) if self.options.mu else plain
