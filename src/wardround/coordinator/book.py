"""Write down what the coordinator does, in the study log and the store, one transaction a round; and hold each update against its task."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround.coordinator import events
from wardround.coordinator.store import Store
from wardround.record.commitment import commit
from wardround.record.entries import plain
from wardround.record.envelope import CLOSING, UPDATE, check, sign
from wardround.record.log import Log
from wardround.study.canonical import digest_json
from wardround.study.errors import VerificationError
from wardround.study.files import Data
from wardround.study.interfaces import Admit, Read, T
from wardround.study.layout import layout_json
from wardround.study.protocol import Protocol
from wardround.study.task import Done, Refusal, RoundClosed, Short, State, Task, Total, Update

LOOK = "Look at this site's data and software; the study goes on while the quorum holds."


_ENDED = "ended"


class Book:
    """Keep log and store of one study in step.

    Args:
        protocol: the signed plan.
        store: the coordinator's database.
        log: the study log, in the same database.
        key: signs closings.
        sites: public key of each site.
        watch: is told what happens.
    """

    def __init__(
        self,
        protocol: Protocol,
        store: Store,
        log: Log,
        key: Ed25519PrivateKey,
        sites: Mapping[str, Ed25519PublicKey],
        watch: events.Watch = events.nobody,
    ) -> None:
        """Open the book where the last whole round left it."""
        self.protocol, self.store, self.log, self.watch = protocol, store, log, watch
        self._key, self._sites = key, sites
        self.door: Admit = self.admit
        self.closings = store.closings()
        self.delivered = store.delivered()
        self._bytes_up, self._bytes_down = 0, 0
        self._started = 0.0

    def opened(self, state: State, tasks: Sequence[Task], anew: bool = True) -> Sequence[Task]:
        """Note that a round is asked, and return the tasks that are given.

        Args:
            state: that the round begins from.
            tasks: one a site.
            anew: False where an attempt goes on that stands open in the log.
        """
        task, self._started = tasks[0], time.perf_counter()
        self._bytes_down += sum(self.brought(one) for one in tasks)
        self.store.put_layout(task.layout, layout_json(task.body.layout))
        digests = {"state": state.digest, "ask": task.ask, "layout": task.layout, "roster": task.roster}
        if anew:
            self.log.append("round_open", **task.turn, **digests, sites=len(tasks), due=int(task.due))
        most = getattr(self.protocol.by_phase[task.phase].options, "rounds", None)
        self.watch(events.RoundOpened(task.phase, task.round, most, task.attempt, len(tasks)))
        return tasks

    def supplies(self, site: str) -> Mapping[str, Data] | None:
        """Return what a site needs to work out itself what it is asked; None where sites take that as it comes."""
        return None

    def brought(self, task: Task) -> int:
        """Return how many bytes go to a site beside the task's own message: what is asked, or what it takes to work that out."""
        return task.body.length

    def admit(self, task: Task, update: Update, read: Read[T]) -> T | Refusal:
        """Return what an update holds that is signed, logged and within bounds; else a refusal that names the site."""
        receipt = update.receipt
        if not receipt.well_formed:
            return Refusal(task.digest, task.site, "admit", "its receipt is not well formed", LOOK)
        committed = commit(bytes.fromhex(receipt.salt), update.body)
        seen = {"commit": committed, "bytes": len(update.body), "entry": receipt.entry, "index": receipt.index}
        where = {"kind": task.holds(self.protocol.hides), "task": task.digest, "layout": task.layout, "head": [receipt.size, receipt.root]}
        self.log.append("ingress", site=task.site, stage=task.stage, **task.turn, **seen, **where)
        self._bytes_up, self._bytes_down = self._bytes_up + len(update.body), self._bytes_down + len(task.relay)
        try:
            check(self._sites[task.site], UPDATE, update.signed_part(), update.signature)
            if committed != receipt.commit:
                raise VerificationError("the payload is not what the site committed to", LOOK)
            held = read(task.body.layout, update.body)
        except VerificationError as error:
            return Refusal(task.digest, task.site, "admit", plain(error.message), LOOK)
        self.delivered[task.site] = len(self.closings)
        self.store.put_delivered(task.site, len(self.closings))
        self.watch(events.Answered(task.phase, task.round, task.site))
        return held

    def refused(self, state: State, attempt: int, refusals: Sequence[Refusal]) -> None:
        """Note who is not in the total, and why."""
        for one in sorted(refusals, key=lambda refusal: refusal.site):
            turn = {"phase": state.phase, "round": state.round, "attempt": attempt}
            self.log.append("refusal", site=one.site, **turn, where=one.where, reason=plain(one.reason), remedy=plain(one.remedy))
            self.watch(events.Refused(state.phase, state.round, one.site, one.where, one.reason, one.remedy))

    def short(self, state: State, attempt: int, short: Short, refusals: Sequence[Refusal]) -> int:
        """Close an attempt that missed its quorum; return the number of the attempt in which the same state is asked again."""
        self.refused(state, attempt, refusals)
        turn = {"phase": state.phase, "round": state.round, "attempt": attempt}
        self.log.append("round_short", **turn, sites=short.sites, quorum=short.quorum)
        self.store.put_state(state, attempt + 1)
        self.store.commit()
        return attempt + 1

    def closed(self, state: State, attempt: int, new: State | Done, total: Total, refusals: Sequence[Refusal]) -> State | Done:
        """Close a round: entries, closing, next state and history in one transaction; return the state as it is kept."""
        self.refused(state, attempt, refusals)
        closing = RoundClosed(state.phase, state.round, attempt, total.receipts, total.digest, new.digest, "", *total.proof)
        closing = replace(closing, signature=sign(self._key, CLOSING, closing.signed_part(self.protocol.digest)))
        facts = {"receipts": digest_json(list(total.receipts)), "sites": total.sites, "refused": len(refusals)}
        self.log.append("round_close", **closing.turn, total=closing.total, state=closing.state, **facts)
        self.store.put_closing(len(self.closings), closing)
        self.closings.append(closing)
        metric, value, seconds = self.protocol.primary, _score(new, state.round), time.perf_counter() - self._started
        traffic = {"bytes_up": self._bytes_up, "bytes_down": self._bytes_down, "seconds": seconds}
        self._bytes_up, self._bytes_down = 0, 0  # of all attempts of a round
        self.store.put_history({"phase": state.phase, "round": state.round, metric: value, **traffic})
        self.watch(events.RoundClosed(state.phase, state.round, metric, value, seconds, total.sites))
        if isinstance(new, Done):
            return self.finished(new)
        new = self.store.put_state(new)
        self.store.commit()
        return new

    def finished(self, done: Done) -> Done:
        """Note what a phase came to, and return it."""
        self.log.append("phase_done", phase=done.phase, result=done.digest, rounds=done.round, stopped=done.stopped)
        self.store.put_done(done)
        self.store.commit()
        self.watch(events.PhaseDone(done.phase, done.round, done.stopped))
        return done

    def ending(self, tasks: Sequence[Task]) -> None:
        """Count what the tasks that end a study bring, once."""
        if self.store.meta(_ENDED) is None:
            self.store.put_meta(_ENDED, b"1")
            self.store.add_down(sum(self.brought(task) for task in tasks if task.supplies is not None))


def _score(new: State | Done, round_: int) -> float | None:
    """Return the validation score of a round, where the algorithm keeps `scores`; else None."""
    scores = (new.results if isinstance(new, Done) else new.arrays).get("scores", np.zeros(0))
    return float(scores[round_]) if round_ < len(scores) and not np.isnan(scores[round_]) else None
