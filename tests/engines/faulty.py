"""Engines that misbehave in one way, around a true one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from wardround.engines.inprocess import InProcess
from wardround.record.commitment import commit
from wardround.record.envelope import UPDATE, sign
from wardround.site.gate import Work
from wardround.study.arrays import from_bytes, to_bytes
from wardround.study.interfaces import Engine, Reply
from wardround.study.task import Refusal, Task, Update

Change = Callable[[Update], Update | None]
Order = Callable[[list[Update | Refusal]], Sequence[Update | Refusal]]


class Faulty(Engine):
    """Change, drop, shuffle or repeat what comes back."""

    def __init__(self, engine: Engine, change: Change, order: Order = list) -> None:
        self._engine, self._change, self._order = engine, change, order

    def sites(self) -> tuple[str, ...]:
        return self._engine.sites()

    def send(self, tasks: Sequence[Task]) -> None:
        self._engine.send(tasks)

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        replies = [self._change(reply) if isinstance(reply, Update) else reply for reply in self._engine.receive(due)]
        yield from self._order([reply for reply in replies if reply is not None])

    def close(self) -> None:
        self._engine.close()


def drop(site: str, phase_rounds: Callable[[Update], bool] = lambda update: True) -> Change:
    """Lose a site's answers."""
    return lambda update: None if update.site == site and phase_rounds(update) else update


def forge(site: str, arrays: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], key: object) -> Change:
    """Let a hostile site, with its own key, send other integers than its gate let out."""

    def change(update: Update) -> Update:
        if update.site != site:
            return update
        body = to_bytes(arrays(dict(from_bytes(update.body))))
        receipt = replace(update.receipt, commit=commit(bytes.fromhex(update.receipt.salt), body))
        forged = replace(update, body=body, receipt=receipt)
        return replace(forged, signature=sign(key, UPDATE, forged.signed_part()))  # type: ignore[arg-type]

    return change


class Diverging(InProcess):
    """Let no site answer the phase "train" (or its settings) from round 3 on, as when every model gives nonsense."""

    def _here(self, work: Sequence[Work]) -> Iterator[tuple[int, Reply]]:
        if work[0].task.phase.startswith("train") and work[0].task.round >= 3:
            yield from ((number, Refusal("", one.task.site, "answer", "scores are not finite", "-")) for number, one in enumerate(work))
        else:
            yield from super()._here(work)
