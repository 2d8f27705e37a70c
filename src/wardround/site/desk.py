"""Settle one task after the other: accept it, have the worker answer, let the answer out; durable at each step.

What comes out of `settle` is in the site's log and on its disk before the caller sends it. A task that comes again after a crash gives
the same bytes and is not worked out twice. An answer waits in the journal where the hospital's rules want a person to look first, and
while they keep answers back at this time of day.
"""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wardround.site.accept import accept
from wardround.site.approval import refused
from wardround.site.gate import Site, Work
from wardround.site.journal import Held, Journal, asked, turn
from wardround.site.release import release
from wardround.site.renewal import Renewal, stopped
from wardround.site.rules import Rules
from wardround.study.arrays import Arrays, from_bytes
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Reply
from wardround.study.task import Answer, Refusal, Task, Update

HELD = "answers"
_LOOKED = "a person at the site looked at the answer and refused it"
Now = Callable[[], datetime.datetime]


@dataclass(frozen=True)
class Waits:
    """Say that there is an answer and that it may not leave yet.

    Attributes:
        why: one sentence for the person at the terminal.
    """

    why: str


def local_time() -> datetime.datetime:
    """Return the time at the site."""
    return datetime.datetime.now().astimezone()


class Desk:
    """Hold what settling a task needs.

    Args:
        site: the gate.
        journal: in the same database.
        connection: that database; committed here.
        worker: answers what was accepted.
        rules: the hospital's own.
        now: tells the local time.
        renewal: brings newer snapshots; None where there are none.
    """

    def __init__(
        self,
        site: Site,
        journal: Journal,
        connection: sqlite3.Connection,
        worker: Callable[[Work], Reply],
        rules: Rules,
        now: Now = local_time,
        renewal: Renewal | None = None,
    ) -> None:
        """Take a seat."""
        self._renewal = renewal
        self._site, self._journal, self._db, self._worker, self._rules, self._now = site, journal, connection, worker, rules, now

    def settle(self, task: Task, whole: Callable[[Task], Task] = lambda task: task) -> Update | Refusal | Waits | None:
        """Return what may be sent for a task; None where nothing is to be sent.

        Args:
            task: as it came.
            whole: brings what is asked, if the task came without it; not called while its answer waits.

        Raises:
            sqlite3.Error: the disk refused; nothing left, and the task is settled when it comes again.
        """
        try:
            self._renew(task)
            self._alone()
            waits = self._waits(task)
            self._db.commit()
            if waits is not None:
                return waits
            task = whole(task)
            self._alone()
            settled = self._settled(task)
            self._db.commit()
        except BaseException:
            self._db.rollback()
            raise
        return settled

    @property
    def site(self) -> Site:
        """Return the gate as it is now."""
        return self._site

    def _renew(self, task: Task) -> None:
        """Take a snapshot that waits into use, if this task may begin with it."""
        if self._renewal is not None:
            self._db.commit()
            self._site = self._renewal.renewed(self._site, task)

    def refuse(self, task: Task, error: WardroundError) -> Refusal:
        """Return a refusal of a task that could not be read as it was meant; it is in the log."""
        self._alone()
        refusal = self._site.refuse(task, "accept", error.message, error.remedy, again=True)
        self._db.commit()
        return refusal

    def files(self) -> set[Path]:
        """Return the files in which answers lie that wait, or may have to be sent again."""
        return self._site.state.files() | self._journal.files()

    def _alone(self) -> None:
        """Keep others from writing: an entry that a person's command adds comes before what is done here, or after."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    def _waits(self, task: Task) -> Waits | None:
        """Say what the answer to a task waits for, if there is one and it waits."""
        if task.stage not in ("answer", "close"):
            return None
        held = self._journal.renew(task, self._site.state.snapshot)
        if task.stage == "close" or refused(self._journal) is not None:
            return None
        if held is not None and held.decision == "waiting":
            command = f"--held {held.code}"
            return Waits(f"An answer waits for a person's look: wardround site status; then site approve {command}, or refuse {command}.")
        if not self._open() and ((held is not None and held.decision == "release") or self._answered(task)):
            return Waits(f"An answer waits for the hours in which answers may leave ({self._rules.hours}).")
        return None

    def _open(self) -> bool:
        return self._rules.open_at(self._now().time())

    def _answered(self, task: Task) -> bool:
        before = self._site.state.answered(task.phase)
        return before is not None and (before.round, before.ask) == (task.round, task.ask)

    def _settled(self, task: Task) -> Update | Refusal | Waits | None:
        if task.stage != "close" and (why := stopped(self._journal)) is not None:
            return self._site.refuse(task, "accept", *why)
        accepted = accept(self._site, task)
        if not isinstance(accepted, Work):
            return accepted
        held = next((one for one in self._journal.held() if one.asked == asked(task, self._site.state.snapshot)), None)
        return self._worked(accepted) if held is None else self._decided(accepted, held)

    def _worked(self, work: Work) -> Update | Refusal | Waits:
        """Have the worker answer, and let the answer out or hold it."""
        self._db.commit()  # nothing is held open while the worker works
        try:
            reply = self._worker(work)
        except WardroundError as error:
            reply = Refusal.of(work.task.site, error)
        self._alone()
        if (why := stopped(self._journal)) is not None:  # while the worker worked
            return self._site.refuse(work.task, "accept", *why)
        if self._renewal is not None and self._renewal.due(self._site, work.task):  # the rows changed while it worked
            return self._anew(work.task)
        if isinstance(reply, Refusal):
            return _failed(self._site, self._journal, work.task, reply)
        answer, proposal = reply
        looks = self._rules.holds(int(self._journal.meta(HELD) or 0))
        if not looks and self._open():
            return self._let_out(work, answer, proposal)
        self._journal.hold(work.task, answer.sums, proposal, "waiting" if looks else "release", self._site.state.snapshot)
        return self._waits(work.task) or self._let_out(work, answer, proposal)

    def _anew(self, task: Task) -> Update | Refusal | Waits:
        """Throw away what the worker gave, and settle the task on the rows that count now."""
        self._renew(task)
        self._alone()
        settled = self._settled(task)
        assert settled is not None  # only a task without an answer settles so
        return settled

    def _decided(self, work: Work, held: Held) -> Update | Refusal:
        if held.decision == "refuse":
            return self._site.refuse(work.task, "release", _LOOKED, "Talk to the hospital.")
        self._journal.put_meta(HELD, str(int(self._journal.meta(HELD) or 0) + 1).encode())
        return self._let_out(work, Answer(from_bytes(held.sums)), None if held.proposal is None else from_bytes(held.proposal))

    def _let_out(self, work: Work, answer: Answer, proposal: Arrays | None) -> Update | Refusal:
        settled = release(self._site, work, answer, proposal)
        if isinstance(settled, Update) or settled.again:  # the site's memory has it now, or it is to be worked out anew
            self._journal.forget()
        return settled


def _failed(site: Site, journal: Journal, task: Task, reply: Refusal) -> Refusal:
    """Refuse by the class of what went wrong and its remedy; the sentence itself stays here."""
    if not reply.kind:
        return site.refuse(task, "answer", reply.reason, reply.remedy, reply.again)
    journal.note(f"{turn(task)}: {reply.kind}: {reply.reason}")
    kind = reply.kind if reply.kind.isidentifier() and len(reply.kind) <= 60 else "an error"
    return site.refuse(task, "answer", f"the worker failed ({kind})", reply.remedy, reply.again)
