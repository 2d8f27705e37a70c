"""Find the point from which all sites' updates together are nearest: a hostile one pulls no harder for being farther away.

It has no formula. Each step takes the average of the updates, weighted by one over their distance from the point so far; the number of
steps is fixed, so that the same updates give the same bits and a round takes the same time. Distances below a small part of the typical
one count as that, or an update on which the point lands would weigh without end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wardround.combining.rules.robust import Robust, middle_of
from wardround.combining.rules.stacked import Stacks, from_point
from wardround.study.arrays import Arrays

STEPS = 32
SMALLEST = 1e-6
"""Of the median distance: nearer ones count as that."""


@dataclass(frozen=True)
class GeometricMedian(Robust):
    """Go towards the geometric median by smoothed Weiszfeld steps, from the median of each number.

    Source: Pillutla et al., Robust aggregation for federated learning, IEEE TSP 2022, algorithm 2 (there from another start).
    """

    def centre(self, stacks: Stacks) -> Arrays:
        """Return the point after so many steps; all updates in one point give that point."""
        point = {name: middle_of(values, (len(values) - 1) // 2) for name, values in stacks.items()}
        for _ in range(STEPS):
            distance = from_point(stacks, point)
            least = SMALLEST * float(np.sort(distance)[len(distance) // 2])
            if least == 0:  # more than half of the sites lie in this very point: it is the median
                break
            weight = 1 / np.maximum(distance, least)
            weight = weight / np.sum(weight)
            point = {name: np.sum(values * weight.reshape(-1, *[1] * (values.ndim - 1)), axis=0) for name, values in stacks.items()}
        return point
