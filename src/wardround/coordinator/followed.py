"""Keep the book of a study in which nobody sees a single site's sums and every site repeats what the coordinator computes.

An attempt that a restart cut is over, since what was said in it stays said once; but for one whose total was asked to be opened. That one
is finished: sites that helped to open it help to open no other of its round.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wardround.combining.secure.masked import Bucketed, Secure
from wardround.combining.secure.wording import accused
from wardround.coordinator import events
from wardround.coordinator.book import LOOK, Book
from wardround.coordinator.openings import Door, Openings
from wardround.coordinator.published import PublishedBook
from wardround.study.arrays import Arrays
from wardround.study.canonical import canonical, digest_json
from wardround.study.errors import QuorumNotMet
from wardround.study.protocol import Protocol
from wardround.study.task import Done, Refusal, Short, State, Task, Total
from wardround.study.threshold import allies_in_groups, threshold

_FIRST = "first_round"
_ASKED = "asked_of"
"""Digest of the list that the last attempt is bound to."""
_BARRED = "left_out"
"""Phase, and the sites that are left out of the rest of it."""


def book_of(protocol: Protocol, initial: Arrays, *args: Any) -> Book:
    """Return the book that a protocol wants.

    Args:
        protocol: the signed plan.
        initial: the parameters that stand in it by digest.
        args: the others of `Book`.
    """
    if protocol.hides:
        return FollowedBook(protocol, *args, initial=initial)
    return PublishedBook(protocol, *args, initial=initial) if protocol.follows else Book(protocol, *args)


class FollowedBook(PublishedBook):
    """Publish each total, and finish an attempt whose total was asked to be opened.

    Args:
        args: as for `Book`.
        initial: the parameters that stand in the protocol by digest.
        more: as for `Book`.
    """

    def __init__(self, *args: Any, initial: Arrays, **more: Any) -> None:
        """Open the book, and take up what is being opened."""
        super().__init__(*args, initial=initial, **more)
        self._openings = Openings(self.store)

    def opened(self, state: State, tasks: Sequence[Task], anew: bool = True) -> Sequence[Task]:
        """Note, durably, that this attempt is used up, unless its total is being opened; forget the totals that every site has seen.

        Raises:
            QuorumNotMet: no site of the study's first round is there.
        """
        barred = self._barred(state.phase)
        tasks = [task for task in self._of_the_first(tasks) if task.site not in barred]
        if not tasks:
            message = "None of the sites of the study's first round takes part any more, and no others can take their place."
            raise QuorumNotMet(message, "Ask these sites to come back, and run the same command; or begin a new study.")
        turn = (state.phase, state.round, tasks[0].attempt)
        identities = {site: key.public_bytes_raw().hex() for site, key in self._sites.items()}
        self.door = Door(self.admit, identities, self._openings, turn, lambda refusal: self._tell(state, refusal))
        if self._openings.turn() == turn:  # who has left since changes nothing of what it is bound to
            roster = (self.store.meta(_ASKED) or b"").decode()
            return super().opened(state, [replace(task, roster=roster) for task in tasks], anew=False)
        self.store.put_meta(_ASKED, tasks[0].roster.encode())
        tasks = super().opened(state, tasks)
        self.store.put_attempt(state.phase, tasks[0].attempt + 1)
        return tasks

    def _of_the_first(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return the tasks of the sites of the study's first round, with the list of all of these.

        How many sites must be in a total, and how they are divided into groups, follows from that list, at the sites as here; so it is
        noted before anybody hears of it and stays as it is, whoever leaves later.

        Raises:
            WardroundError: too few sites for groups; nothing is noted.
        """
        combiner, kept = self.protocol.combiner, self.store.meta(_FIRST)
        if not isinstance(combiner, Secure):
            return tasks
        names = [task.site for task in tasks] if kept is None else json.loads(kept)
        combiner.divided(self.protocol.digest, names)
        if kept is None:
            self.store.put_meta(_FIRST, canonical(names))
        about: dict[str, Any] = {"roster": digest_json(names), "relay": canonical({"roster": names})}
        last = tuple(self.closings[-1:]) if isinstance(combiner, Bucketed) else ()  # tells also the combiner who has to vouch
        return [replace(task, closed=task.closed or last, **about) for task in tasks if task.site in names]

    def closed(self, state: State, attempt: int, new: State | Done, total: Total, refusals: Sequence[Refusal]) -> State | Done:
        """Close a round; nothing of it is being opened any more."""
        self._openings.close()
        out = [one for one in self._to_be_left_out(state, refusals) if one.site not in total.proof[0]]
        new = super().closed(state, attempt, new, total, [*refusals, *out])
        self._openings.tidy()
        return new

    def short(self, state: State, attempt: int, short: Short, refusals: Sequence[Refusal]) -> int:
        """Close an attempt that missed its quorum; one whose total waits to be opened stays open, and is asked again."""
        if short.stands:
            for one in refusals:
                self._tell(state, one)
            self.store.commit()
            return attempt
        self._openings.drop(unopened=True)
        out = self._to_be_left_out(state, refusals)
        again = super().short(state, attempt, replace(short, sites=short.sites - len(out)), [*refusals, *out])
        self._openings.tidy()
        return again

    def _to_be_left_out(self, state: State, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Leave a site out of the rest of a phase whose shares more others found false than can all be lying; name it.

        Others are all sites, or those of its group.
        """
        first = json.loads(self.store.meta(_FIRST) or b"[]")
        before = self._barred(state.phase)
        counted = Counter(accused(one) for one in refusals)
        out = {name for name in first if counted[name] > self._most_lying(first)} - before
        if not out or len(first) - len(before | out) < threshold(len(first), self.protocol.rounds.quorum):
            return []
        self.store.put_meta(_BARRED, canonical({"phase": state.phase, "sites": sorted(before | out)}))
        more = sorted(out - {one.site for one in refusals})
        return [Refusal("", name, "admit", f"{counted[name]} sites found its shares false", LOOK) for name in more]

    def _most_lying(self, first: Sequence[str]) -> int:
        """Return how many of the sites that see a site's shares may be lying about them."""
        return allies_in_groups(len(first)) if isinstance(self.protocol.combiner, Bucketed) else (len(first) - 1) // 3

    def _barred(self, phase: str) -> frozenset[str]:
        """Return who is left out of the rest of a phase."""
        kept = json.loads(self.store.meta(_BARRED) or b"{}")
        return frozenset(kept["sites"] if kept.get("phase") == phase else ())

    def finished(self, done: Done) -> Done:
        """Note what a phase came to; nothing of it is being opened any more."""
        super().finished(done)
        self._openings.tidy()
        return done

    def _tell(self, state: State, one: Refusal) -> None:
        """Tell whoever watches of a site that is in the total; the record names only those that are not."""
        self.watch(events.Refused(state.phase, state.round, one.site, one.where, one.reason, one.remedy))
