"""Put a site's gate together: name, keys, rules, memory and egress log. It knows no torch and no patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from wardround.record.commitment import commit
from wardround.record.entries import band, plain
from wardround.record.envelope import APPROVAL, seal
from wardround.record.log import Head, Log
from wardround.site.following import Following
from wardround.site.keys import SiteKeys
from wardround.site.policy import Policy
from wardround.site.state import SiteState
from wardround.study.canonical import canonical
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Refusal, Task


@dataclass(frozen=True)
class Brought:
    """Hold which snapshot a site brings.

    Attributes:
        snapshot: its digest.
        patients: in it.
        examples: training examples in it.
        source: kind of the source.
        rows: in it.
        withdrew: how many patients of the source the opt-out list took out.
    """

    snapshot: str
    patients: int
    examples: int
    source: str
    rows: int = 0
    withdrew: int = 0


@dataclass(frozen=True)
class Work:
    """Hold what a worker shall answer.

    Attributes:
        task: that was accepted.
        rng: the site's private stream, keyed by the ask's digest.
    """

    task: Task
    rng: Stream


@dataclass(frozen=True)
class Site:
    """Hold what the gate needs to accept a task and to release an answer.

    Attributes:
        name: of the site.
        protocol: the plan it approved.
        keys: stay here.
        policy: the site's own rules.
        state: what it remembers.
        log: of everything that leaves.
        coordinator: verifies the coordinator's closings.
        examples: training examples, told in bands only.
        room: folder for answers that are too large for memory; None keeps them there all the same.
        following: repeats what the coordinator computes; None takes tasks as they come.
    """

    name: str
    protocol: Protocol
    keys: SiteKeys
    policy: Policy
    state: SiteState
    log: Log
    coordinator: Ed25519PublicKey
    examples: int
    room: Path | None = None
    following: Following | None = None

    @cached_property
    def data(self) -> str:
        """Return the salted commitment to the snapshot's digest, as its entry and each answer's name it; the site can always open it."""
        snapshot = self.state.snapshot
        return commit(self.keys.private.child("snapshot", self.protocol.digest, snapshot).key, snapshot.encode())

    def bring(self, brought: Brought, why: str, changed: int = 0) -> None:
        """Log which snapshot this site's answers are computed on from now on."""
        counts = {"rows": band(brought.rows), "patients": band(brought.patients), "withdrew": band(brought.withdrew)}
        about = {**counts, "changed": band(changed), "why": why}
        self.log.append("snapshot", site=self.name, snapshot=self.data, source=brought.source, **about)

    def join(self, brought: Brought, role: str) -> tuple[str, Head]:
        """Log which data this site brings, and its signed approval; return the approval's leaf hash and the log's head."""
        self.bring(brought, "approval")
        statement = canonical({"protocol": self.protocol.digest, "site": self.name, "role": role})
        envelope = seal(APPROVAL, statement, self.keys.signing)
        logged = self.log.append("approval", site=self.name, protocol=self.protocol.digest, role=role, envelope=envelope)
        return logged.entry, logged.head

    def refuse(self, task: Task, where: Literal["accept", "answer", "release"], reason: str, remedy: str, again: bool = False) -> Refusal:
        """Log that nothing leaves, and why; return the refusal."""
        if where != "accept":
            self.state.sessions.fail(task.phase, task.round)
        turn = {**task.turn, "phase": task.phase or "-"}
        self.log.append("refused", site=self.name, **turn, task=task.digest, where=where, reason=plain(reason), bytes=0)
        return Refusal(task.digest, self.name, where, plain(reason), plain(remedy), again)
