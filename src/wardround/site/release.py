"""Let an answer out: the only door. Bound, encode, noise, mask, in this order; then log, then send."""

from __future__ import annotations

import datetime
from dataclasses import replace

from wardround.combining.fixedpoint import packed
from wardround.combining.secure.wording import Broken
from wardround.combining.written import OutOfBounds
from wardround.site.egress import logged
from wardround.site.gate import Site, Work
from wardround.site.hiding import hidden
from wardround.site.state import Answered
from wardround.study.arrays import Arrays, to_bytes
from wardround.study.errors import PolicyRefused
from wardround.study.files import Data
from wardround.study.task import Answer, Refusal, Task, Update

_TOO_LARGE = "Look for inputs far outside the contract's ranges, or lower the learning rate; the protocol sets the limit."


def release(site: Site, work: Work, answer: Answer, proposal: Arrays | None) -> Update | Refusal:
    """Return the update that may be sent, or a refusal that says what was wrong with the answer.

    The entry is in the site's log when this returns; the caller makes the log durable before the update leaves the building.
    """
    layout, task = work.task.body.layout, work.task
    if set(answer.sums) != {term.name for term in layout}:
        return site.refuse(task, "release", "the answer's names are not those that were asked for", "Report this as an algorithm's fault.")
    try:
        body = packed(layout, answer.sums, site.room, not site.protocol.hides)  # what is out of bounds never leaves, so is not noted
        site.policy.tell(task, proposal, datetime.datetime.now().astimezone())
        return send(site, task, body, None if proposal is None else to_bytes(proposal))
    except (OutOfBounds, Broken, PolicyRefused) as error:
        return site.refuse(task, "release", error.message, error.remedy or _TOO_LARGE, isinstance(error, PolicyRefused))


def send(site: Site, task: Task, body: Data, proposal: bytes | None) -> Update:
    """Log an encoded answer, note it, and return it signed; also for an answer that is sent again."""
    update = logged(site, task, hidden(site, task, body) if site.protocol.hides else body)
    site.state.answer(task, replace(update, body=body), proposal)
    return update


def again(site: Site, task: Task, before: Answered) -> Update:
    """Return a stored answer for another task of the same ask; for the very task that it was given to, the very bytes that were logged."""
    if before.update.task != task.digest:
        return send(site, task, before.update.body, before.proposal)
    return replace(before.update, body=hidden(site, task, before.update.body)) if site.protocol.hides else before.update
