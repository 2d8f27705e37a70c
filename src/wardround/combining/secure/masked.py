"""Add up masked sums: the combiners behind `rounds.combine = "secure"` and `"bucketed"`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from wardround.combining.fixedpoint import check_total, decoded
from wardround.combining.secure.attempt import Attempt
from wardround.combining.secure.driving import collected, drive, identities_of, told
from wardround.combining.secure.grouped import GroupAttempt, Together
from wardround.combining.secure.groups import LEAST, SIZE, Party, combined, groups_of, parties
from wardround.combining.secure.vouching import opened_groups, vouchers
from wardround.combining.secure.words import read_roster
from wardround.combining.written import OutOfBounds
from wardround.study.arrays import Arrays, Specs, specs_of, under
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Admit, Collected, Combiner, Engine, Hides
from wardround.study.keeping import Keeping
from wardround.study.layout import INTEGERS, Layout
from wardround.study.task import Refusal, Short, Task, Total
from wardround.study.threshold import threshold


@dataclass(frozen=True)
class Secure(Combiner):
    """Sum integers that nobody sees one by one; the total is the plain sum's, bit for bit."""

    hides: ClassVar[Hides] = "exchanges"
    publishes: ClassVar[bool] = True

    def divided(self, protocol: str, roster: Sequence[str]) -> tuple[Party, ...]:
        """Return the groups in which sites mask; none where all are one.

        Args:
            protocol: its digest.
            roster: who was asked in the study's first round.
        """
        return ()

    def party(self, task: Task, roster: Sequence[str], quorum: int) -> Party:
        """Return among whom a site masks: everybody."""
        return Party(frozenset(roster), quorum)

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return the exact total over the sites that gave their masked sums, or `Short`."""
        roster = first_roster(tasks)
        attempt = Attempt(tasks, threshold(len(roster), quorum), roster, identities=identities_of(admit))
        return collected(engine, attempt, admit, tasks)

    def specs(self, layout: Layout, sites: int) -> Specs:
        """Return type and shape of each opened sum."""
        return opened_specs(layout)

    def sums(self, layout: Layout, integers: Arrays, sites: int) -> Arrays:
        """Return the sums that a published total stands for."""
        return opened_sums(layout, integers, sites)


@dataclass(frozen=True)
class Bucketed(Secure):
    """Sum within groups of five sites or more, and let a rule combine the groups, so that no site can bend the whole."""

    def divided(self, protocol: str, roster: Sequence[str]) -> tuple[Party, ...]:
        """Return the groups of the study: of the sites of the first round, whoever is asked now.

        Raises:
            WardroundError: too few sites for groups.
        """
        try:
            return parties(groups_of(protocol, roster))
        except ValueError as error:
            remedy = f'Have {SIZE * LEAST} sites or more, or write combine = "secure".'
            raise WardroundError(f"{len(roster)} sites are too few for groups of {SIZE}.", remedy) from error

    def party(self, task: Task, roster: Sequence[str], quorum: int) -> Party:
        """Return among whom a site masks: its group.

        Raises:
            WardroundError: too few sites for groups.
        """
        groups = self.divided(task.protocol, roster)
        return replace(next(party for party in groups if task.site in party.sites), everybody=frozenset(roster))

    def collect(self, engine: Engine, tasks: Sequence[Task], admit: Admit, quorum: int, due: float) -> Collected:
        """Return a total whose means are what the rule makes of the groups' means, or `Short`."""
        roster = first_roster(tasks)
        groups = self.divided(tasks[0].protocol, roster)
        last = tasks[0].closed[-1:]
        together = Together(roster, vouchers(groups, opened_groups(groups, last[0].survivors)) if last else (), quorum)
        for party in groups:
            GroupAttempt([task for task in tasks if task.site in party.sites], party, together, tasks[0], identities_of(admit))
        refusals = drive(engine, together.attempts, admit)
        keeper = admit if isinstance(admit, Keeping) else None
        if keeper and (waits := together.waits()):
            return waits, tuple(one for attempt in together.attempts for one in attempt.missed())
        for attempt in together.attempts:
            refusals += attempt.give_up()
        gone = {one.site for one in refusals}
        outcomes = {one.party: one.outcome(len(gone & one.party.sites)) for one in together.attempts}
        opened = {party.number: one for party, one in outcomes.items() if isinstance(one, Total)}
        for party, one in outcomes.items():
            if isinstance(one, Short) and one.why != together.why:
                why = f"its group was not opened: {one.why}"
                left = sorted(site for attempt in together.attempts if attempt.party is party for site in attempt.names - gone)
                refusals += [Refusal("", site, "admit", why, _AGAIN, again=True) for site in left]
        found = sum(total.sites for total in opened.values())
        if together.why or len(opened) < LEAST or found < quorum:
            why = together.why or f"{len(opened)} groups with {found} sites were opened, and {LEAST} groups are needed"
            least = max(quorum, LEAST * min(party.quorum for party in groups))
            short = Short(together.asked - len({one.site for one in refusals}), least, why)
            return told(keeper, together.attempts, short, tasks), tuple(refusals)
        return told(keeper, together.attempts, _together(tasks[0].body.layout, opened), tasks), tuple(refusals)


def first_roster(tasks: Sequence[Task]) -> tuple[str, ...]:
    """Return the sites of the study's first round, as the tasks tell sites; those that are asked, where they tell none."""
    return read_roster(tasks[0]) if tasks[0].relay else tuple(sorted(task.site for task in tasks))


def grouped_sums(layout: Layout, integers: Arrays, groups: Mapping[int, Sequence[str]]) -> Arrays:
    """Return the sums that the published totals of groups stand for.

    Args:
        layout: of each of them.
        integers: by group's number and term, such as "0/update/w".
        groups: who is in the total of each.

    Raises:
        OutOfBounds: they are of other groups or terms, or one is beyond what its sites may send.
    """
    if set(integers) != {f"{number}/{term.name}" for number in groups for term in layout}:
        raise OutOfBounds("the published totals are not those of the groups that are said to be opened")
    return combined(layout, [opened_sums(layout, under(integers, str(number)), len(groups[number])) for number in sorted(groups)])


def opened_specs(layout: Layout) -> Specs:
    """Return type and shape of each opened sum: what is added modulo a power of two stays of as many bits."""
    return {term.name: (np.dtype(INTEGERS[term.bits]), term.shape) for term in layout}


def opened_sums(layout: Layout, integers: Arrays, sites: int) -> Arrays:
    """Return the sums of an opened total.

    Raises:
        OutOfBounds: it has other names, types or shapes than its layout, or is beyond what so many sites may send.
    """
    if specs_of(integers) != opened_specs(layout):
        raise OutOfBounds("the published total has other names, types or shapes than its layout")
    check_total(layout, integers, sites)
    return decoded(layout, integers)


_AGAIN = "It is asked again in the next round."


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
