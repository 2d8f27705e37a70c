"""Take a task in: adopt what earlier rounds closed, and hold the task against protocol, policy and memory before any worker sees it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from wardround.record.envelope import CLOSING, check
from wardround.site.gate import Site
from wardround.site.state import Answered
from wardround.study.errors import PolicyRefused, VerificationError
from wardround.study.streams import Stream
from wardround.study.task import Refusal, Task, Update


@dataclass(frozen=True)
class Work:
    """Hold what a worker shall answer.

    Attributes:
        task: that was accepted.
        rng: the site's private stream, keyed by the ask's digest.
        before: the stored answer to the same ask, if an earlier attempt was answered; it is sent again, not worked out again.
    """

    task: Task
    rng: Stream
    before: Answered | None = None


def accept(site: Site, task: Task) -> Work | Update | Refusal | None:
    """Return the work in a task, the stored answer if the very task comes again, a refusal, or None when it only brings closings."""
    try:
        _adopt(site, task)
        if task.stage == "close":
            return None
        _agreed(site, task)
        site.policy.permit(site.protocol, task.body.layout, datetime.datetime.now().astimezone())
        before = _before(site, task)
    except PolicyRefused as error:
        return site.refuse(task, "accept", error.message, error.remedy)
    if before is not None and before.update.task == task.digest:
        return before.update
    return Work(task, site.keys.private.child(task.study, task.phase, task.round, task.ask), before)


def _agreed(site: Site, task: Task) -> None:
    """Refuse a task that differs from what this site agreed to."""
    checks = {
        "the task is for another site": task.site == site.name,
        "the task quotes another protocol than the one this site approved": task.protocol == site.protocol.digest,
        "the task is for another study": task.study == site.protocol.study,
        "the task's body is not what its header says": task.ask == task.body.digest,
        "the protocol has no such phase": task.phase in site.protocol.by_phase,
    }
    algorithm = site.protocol.by_phase.get(task.phase)
    checks["the protocol has no such round"] = algorithm is None or 0 <= task.round < algorithm.leaves()[0]
    for reason, fine in checks.items():
        if not fine:
            raise PolicyRefused(reason, "Ask the coordinating centre which study and protocol it runs.")


def _before(site: Site, task: Task) -> Answered | None:
    """Return the stored answer to the same ask, if there is one; refuse another ask in this round, and rounds that are over."""
    before = site.state.answered(task.phase)
    if before is None or before.round < task.round:
        return None
    if before.round > task.round or before.ask != task.ask:
        raise PolicyRefused("another ask was answered in this phase and round, or after it", "A round is asked once; start a new study.")
    return before


def _adopt(site: Site, task: Task) -> None:
    """Adopt proposals that closings name; refuse closings that the coordinator did not sign."""
    for closing in task.closed:
        try:
            check(site.coordinator, CLOSING, closing.signed_part(site.protocol.digest), closing.signature)
        except VerificationError as error:
            raise PolicyRefused("a closing is not signed by the study's coordinator", "Report this to the coordinating centre.") from error
        receipt = site.state.adopt(closing)
        if receipt is not None:
            site.log.append("adopted", site=site.name, **closing.turn, receipt=receipt)
