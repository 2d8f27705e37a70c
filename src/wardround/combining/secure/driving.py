"""Carry what attempts of secure sums ask, and bring them what is said: all attempts of a round side by side, exchange after exchange."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from wardround.combining.gather import gather
from wardround.combining.secure import standing
from wardround.combining.secure.standing import Lasting
from wardround.combining.secure.wording import Broken
from wardround.study.interfaces import Admit, Collected, Engine
from wardround.study.keeping import Keeping
from wardround.study.task import Refusal, Short, Stage, Task, Total


class Exchanging(Lasting, typing.Protocol):
    """Be the coordinator's side of an attempt: says what is asked, and takes what is said."""

    @property
    def stages(self) -> Sequence[Stage]:
        """Return the exchanges, in order."""
        ...

    def tasks(self, stage: Stage) -> list[Task]:
        """Return the tasks of an exchange."""
        ...

    def end(self, stage: Stage, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Close an exchange; return the refusals that leave their sites out."""
        ...

    @property
    def opening(self) -> bool:
        """Say whether its total was asked to be opened."""
        ...

    @property
    def survivors(self) -> frozenset[str]:
        """Return who is in its total."""
        ...

    def faults(self) -> Sequence[Refusal]:
        """Return who found fault when its total was opened, and is in it all the same."""
        ...


class Single(Exchanging, typing.Protocol):
    """Be the only attempt of a round."""

    @property
    def awaited(self) -> Sequence[str]:
        """Return who can still help to open its total; nobody where it is ready, or can never be."""
        ...

    def waits(self) -> Short:
        """Return that its total stands, and whom it waits for."""
        ...

    def missed(self) -> Sequence[Refusal]:
        """Return why those have not helped to open it that are in it."""
        ...

    def give_up(self) -> Sequence[Refusal]:
        """End it, if its total is not opened; return why."""
        ...

    def outcome(self, refused: int) -> Total | Short:
        """Return its total, or why there is none."""
        ...


def collected(engine: Engine, attempt: Single, admit: Admit, tasks: Sequence[Task]) -> Collected:
    """Return what a round comes to that has one attempt; where nobody can keep it, its total is opened at once or not at all.

    Args:
        engine: carries tasks and answers.
        attempt: of all sites.
        admit: holds an update against its task.
        tasks: one a site that is in the study now.
    """
    refusals = drive(engine, [attempt], admit)
    keeper = admit if isinstance(admit, Keeping) else None
    if keeper and attempt.awaited:
        return attempt.waits(), tuple(attempt.missed())
    refusals += attempt.give_up()
    outcome = attempt.outcome(len({one.site for one in refusals}))
    return told(keeper, [attempt], outcome, tasks), tuple(refusals)


def identities_of(admit: Admit) -> Mapping[str, str]:
    """Return with which key each site joined, as far as the one who admits knows."""
    return admit.identities() if isinstance(admit, Keeping) else {}


def drive(engine: Engine, attempts: Sequence[Exchanging], admit: Admit) -> list[Refusal]:
    """Go through the exchanges; return a refusal for each site that is left out.

    Args:
        engine: carries tasks and answers.
        attempts: of one round and one kind; no site is in two.
        admit: holds an update against its task.
    """
    keeper = admit if isinstance(admit, Keeping) else None
    kept = standing.take_up(keeper, attempts) if keeper else None
    refusals, new = kept or [], kept is None
    for stage in attempts[0].stages:
        asked = [attempt.tasks(stage) for attempt in attempts]
        if keeper and new and any(attempt.opening for attempt in attempts):
            standing.keep(keeper, attempts, refusals)
            new = False
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
        attempt = whose[update.site][0]
        if attempt.opening and isinstance(admit, Keeping):
            admit.add(stage, update)
        try:
            attempt.take(stage, update, said)
        except Broken as error:
            refusals.append(standing.false(update, error))
    return refusals


def told(keeper: Keeping | None, attempts: Sequence[Exchanging], outcome: Total | Short, tasks: Sequence[Task]) -> Total | Short:
    """Return what a round came to; say who found fault with a total that was opened all the same, and what a total opened in vain means.

    Args:
        keeper: tells people.
        attempts: of the round.
        outcome: what they came to.
        tasks: of the sites that are in the study now.
    """
    if keeper is not None and isinstance(outcome, Total):
        keeper.tell([one for attempt in attempts for one in attempt.faults()])
    bound = {site for attempt in attempts if attempt.opening for site in attempt.survivors} | set(keeper.bound() if keeper else ())
    if isinstance(outcome, Total) or not bound:
        return outcome
    why = f"{outcome.why.rstrip('.')}. Sites may have helped to open a total of {', '.join(sorted(bound))}, and help to open no other"
    gone = sorted(bound - {task.site for task in tasks})
    then = f"; {', '.join(gone)} left the study, so this round can never close" if gone else ": the round closes only with all of these"
    return replace(outcome, why=f"{why}{then}", never=bool(gone))
