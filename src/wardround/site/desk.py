"""Settle one task after the other: accept it, have the worker answer, let the answer out; durable at each step.

What comes out of `settle` is in the site's log and on its disk before the caller sends it. A task that comes again after a crash gives
the same bytes and is not worked out twice. Where the hospital's rules want a person to look first, the answer waits in the journal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from wardround.site.accept import Work, accept
from wardround.site.approval import refused
from wardround.site.gate import Site
from wardround.site.journal import Held, Journal
from wardround.site.release import release, send
from wardround.site.rules import Rules
from wardround.study.arrays import from_bytes, to_bytes
from wardround.study.errors import WardroundError
from wardround.study.interfaces import Reply
from wardround.study.task import Answer, Refusal, Task, Update

HELD = "answers"


class Desk:
    """Hold what settling a task needs.

    Args:
        site: the gate.
        journal: in the same database.
        connection: that database; committed here.
        worker: answers what was accepted.
        rules: the hospital's own.
    """

    def __init__(self, site: Site, journal: Journal, connection: sqlite3.Connection, worker: Callable[[Work], Reply], rules: Rules) -> None:
        """Take a seat."""
        self._site, self._journal, self._db, self._worker, self._rules = site, journal, connection, worker, rules

    def settle(self, task: Task) -> Update | Refusal | None:
        """Return what may be sent for a task; None where nothing is to be sent, or not yet.

        Raises:
            sqlite3.Error: the disk refused; nothing left, and the task is settled when it comes again.
        """
        try:
            settled = self._settled(task)
            self._db.commit()
        except BaseException:
            self._db.rollback()
            raise
        return settled

    def refuse(self, task: Task, error: WardroundError) -> Refusal:
        """Return a refusal of a task that could not be read as it was meant; it is in the log."""
        refusal = self._site.refuse(task, "accept", error.message, error.remedy, again=True)
        self._db.commit()
        return refusal

    def files(self) -> set[Path]:
        """Return the files in which answers lie that may have to be sent again."""
        return self._site.state.files()

    def waits(self, task: Task) -> bool:
        """Say whether a person must look at this task's answer."""
        return any(held.task == task.digest and held.decision == "waiting" for held in self._journal.held())

    def _settled(self, task: Task) -> Update | Refusal | None:
        if task.stage != "close" and refused(self._journal) is not None:
            return self._site.refuse(task, "accept", "the hospital has refused the protocol, or left", "Talk to the hospital.")
        held = next((one for one in self._journal.held() if one.task == task.digest), None)
        if held is not None and held.decision == "waiting":
            return None
        accepted = accept(self._site, task)
        if not isinstance(accepted, Work):
            return accepted
        if accepted.before is not None:
            return send(self._site, accepted, accepted.before.update.body, accepted.before.proposal)
        if held is not None:
            return self._decided(accepted, held)
        self._db.commit()  # nothing is held open while the worker works
        reply = self._worker(accepted)
        if isinstance(reply, Refusal):
            return self._site.refuse(task, "answer", reply.reason, reply.remedy, reply.again)
        answer, proposal = reply
        if self._rules.holds(int(self._journal.meta(HELD) or 0)):
            turn = f"{task.phase}, round {task.round + 1}, attempt {task.attempt + 1}"
            self._journal.hold(task.digest, turn, to_bytes(answer.sums), None if proposal is None else to_bytes(proposal))
            return None
        return release(self._site, accepted, answer, proposal)

    def _decided(self, work: Work, held: Held) -> Update | Refusal:
        if held.decision == "refuse":
            return self._site.refuse(
                work.task, "release", "a person at the site looked at the answer and refused it", "Talk to the hospital."
            )
        self._journal.put_meta(HELD, str(int(self._journal.meta(HELD) or 0) + 1).encode())
        return release(self._site, work, Answer(from_bytes(held.sums)), None if held.proposal is None else from_bytes(held.proposal))
