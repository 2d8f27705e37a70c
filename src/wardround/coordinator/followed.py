"""Keep the book of a study in which nobody sees a single site's sums and every site repeats what the coordinator computes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wardround.combining.secure.masked import Bucketed, Secure
from wardround.coordinator.book import Book
from wardround.study.arrays import Arrays
from wardround.study.canonical import canonical, digest_json
from wardround.study.files import Data
from wardround.study.protocol import Protocol
from wardround.study.task import Done, Refusal, State, Task, Total

_FIRST = "first_round"


def book_of(protocol: Protocol, initial: Arrays, *args: Any) -> Book:
    """Return the book that a protocol wants.

    Args:
        protocol: the signed plan.
        initial: the parameters that stand in it by digest.
        args: the others of `Book`.
    """
    return FollowedBook(protocol, *args, initial=initial) if protocol.hides else Book(protocol, *args)


class FollowedBook(Book):
    """Publish each total, and never take up an attempt again that a restart cut: what was said in it stays said once.

    Args:
        args: as for `Book`.
        initial: the parameters that stand in the protocol by digest.
        more: as for `Book`.
    """

    def __init__(self, *args: Any, initial: Arrays, **more: Any) -> None:
        """Open the book; the initial parameters are the first thing that sites may need."""
        super().__init__(*args, **more)
        self._initial = self.protocol.initial["model"]
        if self._initial not in self.store.supplies():
            self.store.put_supply(self._initial, initial)

    def opened(self, state: State, tasks: Sequence[Task]) -> Sequence[Task]:
        """Note, durably, that this attempt is used up; forget the totals that every site has seen."""
        tasks = super().opened(state, self._of_the_first(tasks))
        seen = min(self.delivered.get(task.site, 0) for task in tasks)
        self.store.drop_supplies({self._initial, *(closing.total for closing in self.closings[seen:])})
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
        return [replace(task, closed=task.closed or last, **about) for task in tasks if task.site in names] or tasks

    def supplies(self, site: str) -> Mapping[str, Data] | None:
        """Return the totals of the rounds that a site has not seen, and at first the initial parameters."""
        seen, kept = self.delivered.get(site, 0), self.store.supplies()
        needed = {closing.total for closing in self.closings[seen:]} | ({self._initial} if not seen else set())
        return {name: kept[name] for name in sorted(needed)}

    def closed(
        self, state: State, attempt: int, new: State | Done, total: Total, refusals: Sequence[Refusal], bytes_down: int
    ) -> State | Done:
        """Close a round, and keep its total to be published."""
        self.store.put_supply(total.digest, total.integers)
        return super().closed(state, attempt, new, total, refusals, bytes_down)
