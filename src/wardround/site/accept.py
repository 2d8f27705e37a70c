"""Take a task in: adopt what earlier rounds closed, and hold the task against protocol, policy and memory before any worker sees it."""

from __future__ import annotations

import datetime

from wardround.combining.secure.wording import Broken
from wardround.record.envelope import CLOSING, check
from wardround.site.gate import Site, Work
from wardround.site.hiding import refused, step
from wardround.site.release import again
from wardround.site.state import Answered
from wardround.study.errors import PolicyRefused, VerificationError
from wardround.study.task import Refusal, Task, Update


def accept(site: Site, task: Task) -> Work | Update | Refusal | None:
    """Return the work in a task, what is said without work, a refusal, or None when it only brings closings.

    A stored answer to the same ask is sent again, not worked out again; the very same task gets the very same bytes.
    """
    try:
        _adopt(site, task)
        task = task if site.following is None else site.following.prepared(task)
        if task.stage == "close":
            return None
        _agreed(site, task)
        site.policy.permit(site.protocol, task, datetime.datetime.now().astimezone())
        before = (step(site, task) if site.protocol.hides else None) or _before(site, task)
    except (PolicyRefused, Broken) as error:
        return refused(site, task, error)
    if before is not None:
        return before if isinstance(before, Update) else again(site, task, before)
    return Work(task, site.keys.private.child(task.study, task.phase, task.round, task.ask))


def _agreed(site: Site, task: Task) -> None:
    """Refuse a task that differs from what this site agreed to."""
    checks = {
        "the task is for another site": task.site == site.name,
        "the task quotes another protocol than the one this site approved": task.protocol == site.protocol.digest,
        "the task is for another study": task.study == site.protocol.study,
        "the task is of a stage that this study does not have": task.stage == "answer" or site.protocol.hides,
        "the task's body is not what its header says": task.ask == task.body.digest or task.stage != "answer",
        "the protocol has no such phase": task.phase in site.protocol.by_phase,
        "the protocol has no such round": 0 <= task.round < site.protocol.most_answers.get(task.phase, 0),
    }
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
