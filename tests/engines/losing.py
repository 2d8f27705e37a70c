"""Engines that lose what travels, or end the coordinator, at one exchange of one round, around a true one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.combining.secure.words import STAGES
from wardround.record.commitment import commit
from wardround.record.envelope import UPDATE, sign
from wardround.study.files import blocks
from wardround.study.interfaces import Engine
from wardround.study.task import Done, Refusal, Task, Update

Turn = tuple[str, int]
"""Phase, and round from 0."""

GIVEN = ("keys", "shares", "answer")
"""Exchanges up to that in which a site's sums are given: who is lost there is not in the total, who is lost later is."""


@dataclass(frozen=True)
class Loss:
    """Say which sites are lost, and when.

    Attributes:
        sites: that are lost.
        stage: from which on; until the end of the round.
        turn: of that round; None for every round.
        heard: whether a site still gets the first task and only its reply is lost.
        attempts: in which it happens: how often the round was asked before, whether in another attempt or in the same one again.
    """

    sites: Collection[str]
    stage: str
    turn: Turn | None = None
    heard: bool = False
    attempts: Collection[int] = (0,)

    def takes(self, task: Task, tries: int) -> Literal["", "task", "reply"]:
        """Say what becomes of a task: nothing, or it is lost, or its reply is."""
        here = task.site in self.sites and self.turn in (None, (task.phase, task.round)) and tries in self.attempts
        if not here or task.stage == "close" or STAGES.index(task.stage) < STAGES.index(self.stage):
            return ""
        return "reply" if self.heard and task.stage == self.stage else "task"

    @property
    def plain(self) -> Loss:
        """Return the loss that leaves the same sites out of a plain sum."""
        return Loss(self.sites if self.stage in GIVEN else (), "answer", self.turn, self.heard, self.attempts)


class Losing(Engine):
    """Lose tasks on their way to sites, and replies on their way back."""

    def __init__(self, engine: Engine, *losses: Loss) -> None:
        self._engine, self._losses = engine, losses
        self._unheard: set[str] = set()
        self._sent: Counter[str] = Counter()
        self._again: dict[tuple[str, int, int], int] = {}

    def sites(self) -> tuple[str, ...]:
        return self._engine.sites()

    def send(self, tasks: Sequence[Task]) -> None:
        tries = self._tries(tasks)
        fates = {task.digest: {loss.takes(task, tries) for loss in self._losses} for task in tasks}
        self._unheard = {name for name, found in fates.items() if "reply" in found}
        self._engine.send([task for task in tasks if "task" not in fates[task.digest]])

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        yield from (reply for reply in self._engine.receive(due) if reply.task not in self._unheard)

    def _tries(self, tasks: Sequence[Task]) -> int:
        """Return how often this round was asked before: by new attempts, and by one whose last exchanges are asked again."""
        turn = (tasks[0].phase, tasks[0].round, tasks[0].attempt)
        again = max(self._sent[task.digest] for task in tasks)
        self._sent.update(task.digest for task in tasks)
        self._again[turn] = max(again, self._again.get(turn, 0))
        return tasks[0].attempt + self._again[turn]

    def close(self) -> None:
        self._engine.close()


Change = Callable[[bytes], bytes]


class Lying(Engine):
    """Let one site, with its own key, say something else than its gate let out: at one exchange of one round, once.

    Args:
        engine: that carries.
        site: that lies.
        key: signs in its name.
        turn: of the round.
        stage: of the exchange.
        change: what it says in place of what its gate let out.
        attempt: of the round.
    """

    def __init__(self, engine: Engine, site: str, key: Ed25519PrivateKey, turn: Turn, stage: str, change: Change, attempt: int = 0) -> None:
        self._engine, self._site, self._key, self._change = engine, site, key, change
        self._at = (site, *turn, attempt, stage)
        self._lie = ""

    def sites(self) -> tuple[str, ...]:
        return self._engine.sites()

    def send(self, tasks: Sequence[Task]) -> None:
        self._lie = next((one.digest for one in tasks if (one.site, one.phase, one.round, one.attempt, one.stage) == self._at), "")
        self._engine.send(tasks)

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        for reply in self._engine.receive(due):
            yield self._lied(reply) if isinstance(reply, Update) and reply.task == self._lie else reply

    def close(self) -> None:
        self._engine.close()

    def _lied(self, update: Update) -> Update:
        body = self._change(b"".join(blocks(update.body)))
        receipt = replace(update.receipt, commit=commit(bytes.fromhex(update.receipt.salt), body))
        forged = replace(update, body=body, receipt=receipt)
        return replace(forged, signature=sign(self._key, UPDATE, forged.signed_part()))


class Killed(BaseException):
    """Stands for the end of the coordinator: nothing after it runs."""


@dataclass
class Mortal(Engine):
    """End the coordinator at one exchange of one round, before anything is sent or after some replies have come; once.

    Attributes:
        engine: that carries.
        turn: of the round.
        stage: of the exchange.
        replies: that come before the end; -1 if nothing is even sent.
    """

    engine: Engine
    turn: Turn
    stage: str
    replies: int
    asked: list[tuple[str, int, int, str]] = field(default_factory=list)
    _here: bool = False

    def sites(self) -> tuple[str, ...]:
        return self.engine.sites()

    def send(self, tasks: Sequence[Task]) -> None:
        first = tasks[0]
        self.asked.append((first.phase, first.round, first.attempt, first.stage))
        self._here = (first.phase, first.round, first.stage) == (*self.turn, self.stage)
        if self._here and self.replies < 0:
            raise Killed
        self.engine.send(tasks)

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        for number, reply in enumerate(self.engine.receive(due)):
            if self._here and number == self.replies:
                raise Killed
            yield reply

    def close(self) -> None:
        self.engine.close()


def lose(*losses: Loss) -> Callable[[Engine], Engine]:
    """Return what puts losses around an engine."""
    return lambda engine: Losing(engine, *losses)


def digests(done: Mapping[str, Done]) -> dict[str, str]:
    """Return what each phase of a study came to."""
    return {name: one.digest for name, one in done.items()}
