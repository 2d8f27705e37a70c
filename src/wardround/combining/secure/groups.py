"""Divide sites into groups by chance, and combine what the groups came to by a rule that a few bad groups cannot bend.

Masks hide a hostile site from everybody, so nobody can leave it out. Where that weighs more than hiding each site among all others, the
sites of the study's first round are divided into groups of five or more, for the whole study; each group's total is opened, and the mean
update is the trimmed mean over groups. Then a hostile site spoils its group, and the rule leaves the group's extremes out. What is
given up: a total of five hospitals shows more of each than a total of all.

The source divides anew each round. Here that would show single sites: whatever is the same in each round, such as how many examples a site
has, would follow from a few rounds' totals of other and other groups by solving equations.

Source: the bucketing of Karimireddy et al., Byzantine-robust learning on heterogeneous datasets via bucketing, ICLR 2022; trimmed mean of
Yin et al., Byzantine-robust distributed learning, ICML 2018.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wardround.study.layout import Layout
from wardround.study.streams import Stream
from wardround.study.threshold import IN_A_GROUP

SIZE = IN_A_GROUP

LEAST = 3
"""Fewest groups among which a rule can leave any out."""

Groups = tuple[tuple[str, ...], ...]


def groups_of(protocol: str, sites: Sequence[str]) -> Groups:
    """Return who is with whom, sorted; everybody works this out from the signed protocol, nobody chooses it.

    The same in all rounds and attempts, whoever is asked, so that no total is ever of sites of two groups. It is spread like chance, but
    whoever writes the protocol can try texts until it suits: nothing that is hidden rests on it.

    Args:
        protocol: its digest.
        sites: who was asked in the study's first round, at least 15.

    Raises:
        ValueError: fewer than 15 sites.
    """
    if len(sites) < SIZE * LEAST:
        raise ValueError(f"{len(sites)} sites make fewer than {LEAST} groups of {SIZE}")
    names = sorted(sites)
    rng = Stream(hashlib.sha256(protocol.encode()).digest()).child("groups").generator()
    order = [names[number] for number in rng.permutation(len(names))]
    count = len(names) // SIZE
    return tuple(sorted(tuple(sorted(order[start::count])) for start in range(count)))


@dataclass(frozen=True)
class Party:
    """Say among whom a site masks.

    Attributes:
        sites: their names, its own among them.
        quorum: fewest of them in a total.
        number: of the group; -1 where all sites are one.
        everybody: who may be in the round, where that is more than these.
    """

    sites: frozenset[str]
    quorum: int
    number: int = -1
    everybody: frozenset[str] = frozenset()


def parties(groups: Groups) -> tuple[Party, ...]:
    """Return each group as a party: more than two thirds of it must be in its total."""
    return tuple(Party(frozenset(group), 2 * len(group) // 3 + 1, number) for number, group in enumerate(groups))


def combined(layout: Layout, totals: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the sums that stand for all groups: means by the rule, everything else added up.

    Args:
        layout: the sums.
        totals: of each group, float64 by name.
    """
    found = {term.name: _added([total[term.name] for total in totals]) for term in layout}
    for term in layout:
        if term.per is not None:
            counted = [total for total in totals if float(total[term.per]) > 0]
            if counted:
                found[term.name] = float(found[term.per]) * trimmed([total[term.name] / float(total[term.per]) for total in counted])
    return found


def trimmed(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean, elementwise, without the largest and the smallest quarter of values; at least one of each where there are three.

    Example:
        >>> float(trimmed([np.array(1.0), np.array(2.0), np.array(1e9)]))
        2.0
    """
    least = left_out(len(values))
    ordered = np.sort(np.stack(values), axis=0)
    kept = ordered[least : len(values) - least]
    return np.asarray(_added(kept) / len(kept))


def left_out(groups: int) -> int:
    """Return how many groups the rule leaves out at each end."""
    return max(1, groups // 4) if groups >= LEAST else 0


def _added(values: Iterable[np.ndarray]) -> np.ndarray:
    """Add one after the other, so that every site comes to the same bits."""
    first, *rest = values
    for one in rest:
        first = first + one
    return np.asarray(first)
