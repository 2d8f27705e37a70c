"""Keep the book of a study in which nobody sees a single site's sums and every site repeats what the coordinator computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wardround.coordinator.book import Book
from wardround.study.arrays import Arrays
from wardround.study.files import Data
from wardround.study.protocol import Protocol
from wardround.study.task import Done, Refusal, State, Task, Total


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

    def opened(self, state: State, tasks: Sequence[Task]) -> None:
        """Note, durably, that this attempt is used up; forget the totals that every site has seen."""
        super().opened(state, tasks)
        seen = min(self.delivered.get(task.site, 0) for task in tasks)
        self.store.drop_supplies({self._initial, *(closing.total for closing in self.closings[seen:])})
        self.store.put_attempt(state.phase, tasks[0].attempt + 1)

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
