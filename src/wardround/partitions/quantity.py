"""Make hospitals large and small, as a university hospital and a practice are; their patients stay alike.

Source: Li et al., Federated learning on non-IID data silos, ICDE 2022, section III-D ("quantity skew", Dirichlet sizes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field as Bound

from wardround.partitions.labels import dirichlet
from wardround.partitions.partitioner import Partitioner
from wardround.study.streams import Stream


@dataclass(frozen=True)
class Quantity(Partitioner):
    """Draw the hospitals' sizes; each has the fewest patients allowed (`least`), and the rest are divided by these shares.

    Attributes:
        law: "dirichlet" (of `beta`) or "lognormal" (of `sigma`).
        beta: concentration of the Dirichlet distribution; the larger, the more alike the sizes.
        sigma: standard deviation of the sizes' logarithm.
    """

    law: Literal["dirichlet", "lognormal"] = "dirichlet"
    beta: Annotated[float, Bound(gt=0, le=1e9)] = 0.5
    sigma: Annotated[float, Bound(ge=0, le=5)] = 1.0

    def sizes(self, sites: int, rng: Stream) -> np.ndarray:
        """Return each hospital's share of the patients beyond the fewest allowed, [S]."""
        if self.law == "dirichlet":
            return dirichlet(self.beta, sites, rng.generator("sizes"))
        drawn = np.exp(self.sigma * rng.generator("sizes").normal(size=sites))
        return np.asarray(drawn / drawn.sum())
