"""Take, number by number, the middle value over sites: the rule that is easiest to explain."""

from __future__ import annotations

from dataclasses import dataclass

from wardround.combining.rules.robust import Robust, middle_of
from wardround.combining.rules.stacked import Stacks
from wardround.study.arrays import Arrays


@dataclass(frozen=True)
class Median(Robust):
    """Take the middle; of an even number of sites the mean of the two in the middle.

    Source: Yin et al., Byzantine-robust distributed learning: towards optimal statistical rates, ICML 2018, definition 1.
    """

    def centre(self, stacks: Stacks) -> Arrays:
        """Return the median of each number."""
        return {name: middle_of(values, (len(values) - 1) // 2) for name, values in stacks.items()}
