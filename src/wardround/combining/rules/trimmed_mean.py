"""Leave out, number by number, the highest and lowest values of so many sites as may be hostile, and average the rest.

With nearest-neighbour mixing this is the rule we recommend: see docs/robust.md for what it withstood.
"""

from __future__ import annotations

from dataclasses import dataclass

from wardround.combining.rules.robust import Robust, middle_of
from wardround.combining.rules.stacked import Stacks
from wardround.study.arrays import Arrays


@dataclass(frozen=True)
class TrimmedMean(Robust):
    """Average what lies between the extremes.

    Source: Yin et al., Byzantine-robust distributed learning: towards optimal statistical rates, ICML 2018, definition 2.
    """

    def centre(self, stacks: Stacks) -> Arrays:
        """Return the trimmed mean of each number."""
        return {name: middle_of(values, self.hostile) for name, values in stacks.items()}
