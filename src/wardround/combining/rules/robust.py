"""Combine updates so that a few hostile sites cannot bend the model: what all robust rules share.

A rule sees every site's mean update by itself, so it needs plain sums. Each site counts once, whatever number of examples it claims: a
hostile site can claim any. Before the rule, nearest-neighbour mixing makes honest sites more alike, without which rules mistake a hospital
with other patients for a hostile one. What is no mean (counts, moments, histograms of scores) no rule can judge: it is added up, and each
site's own stands beside the total, so that an algorithm can ask each site and leave the extremes out, in place of a sum that one site
can make what it likes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from wardround.combining.ruled import collect_by
from wardround.combining.rules.stacked import Stacks, mixed, stacked
from wardround.study.arrays import Arrays
from wardround.study.interfaces import Admit, Collected, Combiner, Engine, Rule
from wardround.study.task import Task


@dataclass(frozen=True)
class Robust(Combiner, Rule):
    """Withstand so many hostile sites.

    Attributes:
        hostile: f, how many sites may be hostile; fewer than half of those in a round.
        mixing: average each update with its nearest neighbours first.
    """

    hostile: Annotated[int, Field(ge=1, le=10_000)] = 1
    mixing: bool = True

    @classmethod
    def fewest(cls, hostile: int) -> int:
        """Return how many sites a round needs for the rule to hold against so many hostile ones: more than twice as many."""
        return 2 * hostile + 1

    @abstractmethod
    def centre(self, stacks: Stacks) -> Arrays:
        """Return the centre of the sites' updates by this rule, by tensor.

        Args:
            stacks: by tensor, float64 [sites, *shape], at least `fewest` sites.
        """

    def combine(self, updates: Mapping[str, Arrays], counts: Mapping[str, float]) -> Arrays:
        """Return the rule's centre of the updates, each mixed with its neighbours first where that is wanted; counts play no part.

        Args:
            updates: by site: trained minus received, by parameter name.
            counts: by site, as it claims.
        """
        stacks = stacked(updates)
        return self.centre(mixed(stacks, self.hostile) if self.mixing else stacks)

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return a total whose means are the rule's and beside which each site's other sums stand, or `Short`."""
        return collect_by(self, engine, tasks, admit, quorum, due, fewest=self.fewest(self.hostile), apart=True)


def middle_of(values: np.ndarray, left_out: int) -> np.ndarray:
    """Return the mean over sites, number by number, without the so many largest and smallest.

    Args:
        values: float64 [sites, *shape], more sites than twice those left out.
        left_out: at each end.
    """
    kept = np.sort(values, axis=0)[left_out : len(values) - left_out]
    return np.asarray(np.sum(kept, axis=0) / len(kept))
