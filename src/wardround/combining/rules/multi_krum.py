"""Average the updates that lie closest to their neighbours, and leave out as many as may be hostile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wardround.combining.rules.robust import Robust
from wardround.combining.rules.stacked import Stacks, apart, averaged, sites_in
from wardround.study.arrays import Arrays


@dataclass(frozen=True)
class MultiKrum(Robust):
    """Keep the n - f updates with the smallest sum of squared distances to their n - f - 2 nearest others.

    Source: Blanchard et al., Machine learning with adversaries: Byzantine tolerant gradient descent, NeurIPS 2017,
    sections 4 and 5 (Multi-Krum).
    """

    @classmethod
    def fewest(cls, hostile: int) -> int:
        """Return 2 f + 3: with fewer, hostile sites could be each other's nearest neighbours."""
        return 2 * hostile + 3

    def centre(self, stacks: Stacks) -> Arrays:
        """Return the plain average of the updates that are kept."""
        count = sites_in(stacks)
        near = np.sort(apart(stacks), axis=1)[:, 1 : count - self.hostile - 1]  # the nearest of all is the update itself
        return averaged(stacks, np.argsort(np.sum(near, axis=1), kind="stable")[: count - self.hostile])
