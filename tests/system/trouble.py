"""Ask one question after another in a served study, and wait for what hospitals and coordinator say about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass

from tests.engines.federated import Federation
from wardround.coordinator import events
from wardround.coordinator.book import Book
from wardround.coordinator.rounds import plan
from wardround.engines import parts
from wardround.engines.connection import Connection
from wardround.engines.subjects import Subjects
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Ask, Refusal, State, Task, Update


@dataclass
class Rounds:
    """Hold a served study that is asked its first question again and again, each time as the next attempt."""

    made: Federation
    book: Book
    _: KW_ONLY
    attempt: int = 0

    @property
    def subjects(self) -> Subjects:
        """Return the study's subjects."""
        return Subjects(self.protocol.study)

    @property
    def protocol(self) -> Protocol:
        """Return the plan."""
        return self.made.centre.protocol

    @property
    def hub(self) -> Connection:
        """Return the coordinator's own connection, to look with and to do damage with."""
        return self.made.serving._link

    def ask(self) -> tuple[State, Ask]:
        """Return the first question of the study."""
        algorithm = self.protocol.algorithms[0]
        state = algorithm.begin(self.protocol, {}, Stream.public(0))
        assert isinstance(state, State)
        return state, algorithm.ask(state)

    def asked(self) -> str:
        """Return the subject of the one part of what is asked."""
        body = parts.Body.of([self.ask()[1].wire])
        assert len(body.parts) == 1
        return f"{self.subjects.parts}.{body.group}.{body.parts[0]}"

    def send(self) -> dict[str, Task]:
        """Ask once more, and return the tasks by site."""
        state, ask = self.ask()
        self.attempt += 1
        tasks = plan(self.protocol, self.made.serving.engine, self.book, state, self.attempt, ask)
        self.made.serving.engine.send(tasks)
        return {task.site: task for task in tasks}

    def answers(self, wanted: Sequence[str], seconds: float = 20) -> dict[str, Update | Refusal]:
        """Return how hospitals answer; the round ends as soon as those wanted have, or with all where none is named."""
        found: dict[str, Update | Refusal] = {}
        for reply in self.made.serving.engine.receive(seconds):
            found[reply.site] = reply
            if wanted and set(wanted) <= set(found):
                break
        return found

    def answered(self, wanted: Sequence[str]) -> bool:
        """Ask once more, and say whether all of these hospitals answer with sums."""
        self.send()
        found = self.answers(wanted)
        return all(isinstance(found.get(site), Update) for site in wanted)

    def notes(self) -> list[str]:
        """Return what the coordinator noted so far."""
        return [event.text for event in self.made.seen if isinstance(event, events.Note)]


def wait_until(what: Callable[[], bool], seconds: float = 15, said: Callable[[], object] = str) -> None:
    """Wait until something holds; fail, with what was said, if it does not in time."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, said()
        time.sleep(0.02)
