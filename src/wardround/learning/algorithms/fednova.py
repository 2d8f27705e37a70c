"""Average updates by step, not by round, where sites take different numbers of steps: FedNova.

A large site takes more steps in an epoch than a small one, and plain averaging then minimises something else than the sum of all losses.
Here each site's update is divided by its effective number of steps, and the mean is taken that many steps on.

Source: Wang et al., Tackling the objective inconsistency problem in heterogeneous federated optimization, NeurIPS 2020, equations 6 to 9
(local SGD with momentum: section 4.1 of its appendix).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from wardround.learning.algorithms.fedavg import FedAvg, Visit
from wardround.learning.options import FedAvgOptions
from wardround.learning.pace import effective
from wardround.study.arrays import Arrays, under
from wardround.study.layout import Term
from wardround.study.task import Total


@dataclass(frozen=True)
class FedNovaOptions(FedAvgOptions):
    """Take the options of federated averaging; the local optimiser is SGD, whose steps can be counted."""

    optimiser: Literal["sgd"] = "sgd"


@dataclass(frozen=True)
class FedNova(FedAvg):
    """Average the sites' updates per effective step."""

    Options: ClassVar[type] = FedNovaOptions
    ruled: ClassVar[bool] = False

    def leaves(self) -> tuple[int, str]:
        """Say that the number of steps leaves with the update."""
        answers, what = super().leaves()
        return answers, f"{what}; with each change of the model how many steps it took"

    def terms(self, shapes: Mapping[str, tuple[int, ...]]) -> list[Term]:
        """Add how much a site counts times its effective steps."""
        bounds, options = self.protocol.bounds, self.options
        most = float(bounds.examples) if options.weighting == "examples" else 1.0
        steps = options.local_steps or options.local_epochs * -(-bounds.examples // options.batch_size)
        return [*super().terms(shapes), Term.sized("pace", (), most * steps / (1 - options.momentum), bounds.sites, bits=64)]

    def local(self, visit: Visit) -> tuple[dict[str, np.ndarray], Arrays | None]:
        """Train, and divide the update by the effective steps."""
        pace = effective(self.train(visit), self.options.momentum)
        sums = self.weighed(visit, {name: value / max(pace, 1.0) for name, value in self.moved(visit).items()})
        return {**sums, "pace": np.asarray(float(sums["examples"]) * pace)}, self.kept(visit) or None

    def stepped(self, arrays: Arrays, total: Total) -> dict[str, np.ndarray]:
        """Return what follows from the mean update per step, taken as many steps on as sites took in the mean."""
        pace = total.sums["pace"] / np.maximum(total.sums["examples"], 1)
        sums = {**total.sums, **{f"update/{name}": pace * value for name, value in under(total.sums, "update").items()}}
        return super().stepped(arrays, Total(total.layout, total.integers, sums, total.sites))
