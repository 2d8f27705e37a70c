"""Add up masked sums: the combiners behind `rounds.combine = "secure"` and `"bucketed"`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wardround.combining.fixedpoint import OutOfBounds, check_total, decoded
from wardround.combining.secure.attempt import Attempt
from wardround.combining.secure.driving import drive
from wardround.combining.secure.groups import LEAST, SIZE, Party, combined, groups_of, parties
from wardround.study.arrays import Arrays, specs_of, under
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Admit, Collected, Combiner, Engine, Hides
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Short, Task, Total
from wardround.study.threshold import threshold


@dataclass(frozen=True)
class Secure(Combiner):
    """Sum integers that nobody sees one by one; the total is the plain sum's, bit for bit."""

    hides: ClassVar[Hides] = "exchanges"

    def party(self, task: Task, roster: Sequence[str], quorum: int) -> Party:
        """Return among whom a site masks: everybody."""
        return Party(frozenset(roster), quorum)

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return the exact total over the sites that gave their masked sums, or `Short`."""
        attempt = Attempt(tasks, threshold(len(tasks), quorum))
        refusals = drive(engine, [attempt], admit)
        return attempt.outcome(len({one.site for one in refusals})), tuple(refusals)

    def sums(self, layout: Layout, integers: Arrays, sites: int) -> Arrays:
        """Return the sums that a published total stands for."""
        return opened_sums(layout, integers, sites)


@dataclass(frozen=True)
class Bucketed(Secure):
    """Sum within random groups of five sites or more, and let a rule combine the groups, so that no site can bend the whole."""

    def party(self, task: Task, roster: Sequence[str], quorum: int) -> Party:
        """Return among whom a site masks: its group.

        Raises:
            WardroundError: too few sites for groups.
        """
        return next(party for party in _parties(task, roster) if task.site in party.sites)

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return a total whose means are what the rule makes of the groups' means, or `Short`."""
        roster = sorted(task.site for task in tasks)
        groups = _parties(tasks[0], roster)
        attempts = [Attempt([task for task in tasks if task.site in party.sites], party.quorum, roster) for party in groups]
        refusals = drive(engine, attempts, admit)
        gone = {one.site for one in refusals}
        outcomes = {party: attempt.outcome(len(gone & party.sites)) for party, attempt in zip(groups, attempts, strict=True)}
        opened = {party.number: one for party, one in outcomes.items() if isinstance(one, Total)}
        for party, one in outcomes.items():
            if isinstance(one, Short):
                why = f"its group was not opened: {one.why}"
                left = [task for task in tasks if task.site in party.sites - gone]
                refusals += [Refusal(task.digest, task.site, "admit", why, _AGAIN, again=True) for task in left]
        found = sum(total.sites for total in opened.values())
        if len(opened) < LEAST or found < quorum:
            why = f"{len(opened)} groups with {found} sites were opened, and {LEAST} groups are needed"
            return Short(found, max(quorum, LEAST * min(party.quorum for party in groups)), why), tuple(refusals)
        return _together(tasks[0].body.layout, opened), tuple(refusals)

    def sums(self, layout: Layout, integers: Arrays, sites: int) -> Arrays:
        """Return the sums that the published totals of the groups stand for."""
        numbers = sorted({name.partition("/")[0] for name in integers}, key=int)
        return combined(layout, [opened_sums(layout, under(integers, number), sites) for number in numbers])


def opened_sums(layout: Layout, integers: Arrays, sites: int) -> Arrays:
    """Return the sums of an opened total.

    Raises:
        OutOfBounds: it has other names, types or shapes than its layout, or is beyond what so many sites may send.
    """
    if specs_of(integers) != {term.name: (np.dtype(f"int{term.bits}"), term.shape) for term in layout}:
        raise OutOfBounds("the published total has other names, types or shapes than its layout")
    check_total(layout, integers, sites)
    return decoded(layout, integers)


_AGAIN = "It is asked again in the next round, in another group."


def _parties(task: Task, roster: Sequence[str]) -> tuple[Party, ...]:
    try:
        return parties(groups_of(task.protocol, task.phase, task.round, roster))
    except ValueError as error:
        remedy = f'Have {SIZE * LEAST} sites or more, or write combine = "secure".'
        raise WardroundError(f"{len(roster)} sites are too few for groups of {SIZE}.", remedy) from error


def _together(layout: Layout, opened: Mapping[int, Total]) -> Total:
    """Return the groups' totals as one: published group by group, and the sums that the rule makes of them."""
    integers = {f"{number}/{name}": value for number, total in opened.items() for name, value in total.integers.items()}
    receipts = sorted(entry for total in opened.values() for entry in total.receipts)
    survivors = sorted(site for total in opened.values() for site in total.proof[0])
    agreed = {site: one for total in opened.values() for site, one in total.proof[1].items()}
    seal = tuple(f"{number}/{one}" for number, total in opened.items() for one in total.proof[2])
    sums = combined(layout, [total.sums for total in opened.values()])
    proof = (tuple(survivors), agreed, seal)
    return Total(layout, integers, sums, len(survivors), tuple(receipts), proof)
