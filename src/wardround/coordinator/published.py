"""Keep the book of a study whose sites are given totals in place of the model: each repeats what the coordinator computes.

A total that was rounded to few bits is far smaller than the model that follows from it, and a site that works out the model itself need
not believe what it is sent. Every total is kept until each site of the study has seen it: one that was away, or left
and joined again, gets all that it missed, and goes on. One that never comes back costs room on the disk, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wardround.combining.deflated import published
from wardround.coordinator.book import Book
from wardround.study.arrays import Arrays
from wardround.study.files import Data
from wardround.study.task import Done, Refusal, State, Task, Total


class PublishedBook(Book):
    """Publish each total.

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

    def opened(self, state: State, tasks: Sequence[Task], anew: bool = True) -> Sequence[Task]:
        """Note that a round is asked; forget the totals that every site has seen, whether it is asked this time or not."""
        tasks = super().opened(state, tasks, anew)
        if anew:
            known = {*self._sites, *self.delivered, *(task.site for task in tasks)}
            seen = min(self.delivered.get(site, 0) for site in known)
            self.store.drop_supplies({self._initial, *(closing.total for closing in self.closings[seen:])})
        return tasks

    def supplies(self, site: str) -> Mapping[str, Data] | None:
        """Return the totals of the rounds that a site has not seen, and until its first answer the initial parameters.

        Of a site that the study did not know some may be forgotten; then its own gate refuses the task, and says why.
        """
        seen, kept = self.delivered.get(site, 0), self.store.supplies()
        needed = {closing.total for closing in self.closings[seen:]} | ({self._initial} if site not in self.delivered else set())
        return {name: kept[name] for name in sorted(needed) if name in kept}

    def brought(self, task: Task) -> int:
        """Return how many bytes the supplies have."""
        return sum(len(one) for one in (task.supplies or {}).values())

    def closed(self, state: State, attempt: int, new: State | Done, total: Total, refusals: Sequence[Refusal]) -> State | Done:
        """Close a round, and keep its total to be published."""
        self.store.put_supply(total.digest, total.integers, published(total.layout, total.integers))
        return super().closed(state, attempt, new, total, refusals)
