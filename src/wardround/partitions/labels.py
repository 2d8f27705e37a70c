"""Give hospitals different shares of each class, as a specialised clinic and a screening centre have.

Each class is divided over the hospitals by weights from a symmetric Dirichlet distribution: `alpha` 100 is nearly even, 0.5 the usual hard
case, 0.1 leaves most hospitals one class. Sizes differ with it, unless `quantity` decides them.

Source: Yurochkin et al., Bayesian nonparametric federated learning of neural networks, ICML 2019, section 4; Li et al., Federated learning
on non-IID data silos, ICDE 2022, section III-B ("distribution-based label imbalance").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field as Bound

from wardround.partitions.partitioner import Partitioner
from wardround.study.streams import Stream


@dataclass(frozen=True)
class Labels(Partitioner):
    """Draw each class's shares over hospitals from Dirichlet(alpha).

    Attributes:
        alpha: concentration; the larger, the more alike the hospitals.
    """

    alpha: Annotated[float, Bound(gt=0, le=1e9)] = 0.5

    def mix(self, counts: np.ndarray, sites: int, rng: Stream) -> np.ndarray:
        """Return [S, K] weights, each column one draw from the Dirichlet distribution."""
        columns = [dirichlet(self.alpha, sites, rng.generator("labels", place)) for place in range(len(counts))]
        return np.stack(columns, axis=1)


def dirichlet(alpha: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return one draw, float64 [count] with sum 1, every entry above 0: one of 0 could never be made up for by another wish."""
    drawn = rng.dirichlet(np.full(count, alpha))
    drawn = np.where(np.isfinite(drawn), drawn, 0.0) + 1e-9
    return np.asarray(drawn / drawn.sum())
