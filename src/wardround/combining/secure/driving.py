"""Carry what attempts of secure sums ask, and bring them what is said: all attempts of a round side by side, exchange after exchange."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from wardround.combining.gather import gather
from wardround.combining.secure.wording import Broken
from wardround.study.files import Data
from wardround.study.interfaces import Admit, Engine
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Stage, Task, Update

LOOK = "Look at this site's software; the study goes on while the quorum holds."


class Exchanging(typing.Protocol):
    """Be the coordinator's side of an attempt: says what is asked, and takes what is said."""

    @property
    def stages(self) -> Sequence[Stage]:
        """Return the exchanges, in order."""
        ...

    def tasks(self, stage: Stage) -> list[Task]:
        """Return the tasks of an exchange."""
        ...

    def read(self, stage: Stage, layout: Layout, body: Data) -> Any:
        """Return what a message holds; raises VerificationError where it is not what it must be."""
        ...

    def take(self, stage: Stage, update: Update, said: Any) -> None:
        """Take in what a site says; raises Broken where it must not say that."""
        ...

    def end(self, stage: Stage, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Close an exchange; return the refusals that leave their sites out."""
        ...


def drive(engine: Engine, attempts: Sequence[Exchanging], admit: Admit) -> list[Refusal]:
    """Go through the exchanges; return a refusal for each site that is left out.

    Args:
        engine: carries tasks and answers.
        attempts: of one round and one kind; no site is in two.
        admit: holds an update against its task.
    """
    refusals: list[Refusal] = []
    for stage in attempts[0].stages:
        asked = [attempt.tasks(stage) for attempt in attempts]
        whose = {task.site: (attempt, task) for attempt, tasks in zip(attempts, asked, strict=True) for task in tasks}
        found = _exchange(engine, stage, whose, admit) if whose else []
        for attempt in attempts:
            refusals += attempt.end(stage, [one for one in found if whose[one.site][0] is attempt])
    return refusals


def _exchange(engine: Engine, stage: Stage, whose: Mapping[str, tuple[Exchanging, Task]], admit: Admit) -> list[Refusal]:
    """Carry one exchange of all attempts."""
    refusals: list[Refusal] = []
    every = [task for _, task in whose.values()]
    read = partial(next(attempt for attempt, _ in whose.values()).read, stage)
    for update, said in gather(engine, every, admit, read, max(task.due for task in every), refusals):
        attempt, task = whose[update.site]
        try:
            attempt.take(stage, update, said)
        except Broken as error:
            refusals.append(Refusal(task.digest, task.site, "admit", error.message.rstrip("."), LOOK))
    return refusals
