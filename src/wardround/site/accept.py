"""Take a task in: adopt what earlier rounds closed, and hold the task against protocol, policy and memory before any worker sees it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from wardround.record.envelope import CLOSING, check
from wardround.site.gate import Site
from wardround.study.errors import VerificationError
from wardround.study.streams import Stream
from wardround.study.task import Ask, Refusal, Task


@dataclass(frozen=True)
class Work:
    """Hold what a worker shall answer.

    Attributes:
        task: that was accepted.
        ask: its body.
        rng: the site's private stream, keyed by the ask's digest.
        again: body and proposal of the same ask's stored answer, if it was answered before.
    """

    task: Task
    ask: Ask
    rng: Stream
    again: tuple[bytes, bytes | None] | None = None


def accept(site: Site, task: Task) -> Work | Refusal | None:
    """Return the work in a task, a refusal, or None when the task only brings closings."""
    reason = _adopt(site, task)
    if reason is None and task.stage == "close":
        return None
    ask = task.body
    reason = reason or _mismatch(site, task)
    if reason is not None or ask is None:
        return site.refuse(
            task, "accept", reason or "the task has no body", "Ask the coordinating centre which study and protocol it runs."
        )
    objection = site.policy.objection(site.protocol, ask.layout, datetime.datetime.now(datetime.UTC).date())
    if objection is not None:
        return site.refuse(task, "accept", *objection)
    before = site.state.answered(task.phase)
    again = None
    if before is not None and before[0] == task.round:
        if before[1] != ask.digest:
            return site.refuse(
                task, "accept", "another ask was answered in this phase and round", "A round is asked once; start a new study to ask again."
            )
        again = (before[2], before[3])
    return Work(task, ask, site.keys.private.child(task.study, task.phase, task.round, ask.digest), again)


def _mismatch(site: Site, task: Task) -> str | None:
    """Say how a task differs from what this site agreed to."""
    if task.site != site.name:
        return "the task is for another site"
    if task.study != site.protocol.study or task.protocol != site.protocol.digest:
        return "the task quotes another protocol than the one this site approved"
    if task.body is None or task.ask != task.body.digest:
        return "the task's body is not what its header says"
    if task.phase not in {algorithm.phase for algorithm in site.protocol.algorithms}:
        return "the protocol has no such phase"
    return None


def _adopt(site: Site, task: Task) -> str | None:
    """Adopt proposals that signed closings name; say so if a closing is not signed by the coordinator."""
    for closing in task.closed:
        try:
            check(site.coordinator, CLOSING, closing.signed_part(), closing.signature)
        except VerificationError:
            return "a closing is not signed by the study's coordinator"
        receipt = site.state.adopt(closing)
        if receipt is not None:
            site.log.append("adopted", site=site.name, phase=closing.phase, round=closing.round, attempt=closing.attempt, receipt=receipt)
    return None
