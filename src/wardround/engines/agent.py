"""Be a hospital's gate on the line: take tasks from the hub, have them settled, send what was released.

Only outgoing connections; a beat every two seconds says that the site is there. A task is in the journal before the hub is told that it
arrived; an answer is durable here before it is sent, and sent again until the hub has it. So the agent may be killed at any moment: the
same command goes on.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from wardround.combining.secure.wording import Broken
from wardround.engines import parts
from wardround.engines.allocator import keep_freed
from wardround.engines.connection import Connection
from wardround.engines.hubkeys import seed
from wardround.engines.messages import COORDINATOR, Message, asked, refusal_message, supplies_of, task_of, update_message
from wardround.engines.parts import Body
from wardround.engines.subjects import PARTS, TASKS, Subjects
from wardround.record import envelope
from wardround.record.entries import plain
from wardround.site import evidence
from wardround.site.approval import approval, refused
from wardround.site.desk import Desk, Waits
from wardround.site.folder import SiteFolder, write_bytes
from wardround.site.gate import Site
from wardround.site.journal import Journal
from wardround.site.renewal import held, pending
from wardround.site.results import told
from wardround.study.canonical import canonical
from wardround.study.errors import NotAdmitted, PolicyRefused, StoreError, Unreachable, VerificationError, WardroundError
from wardround.study.files import Data, Kept, blocks
from wardround.study.task import Refusal, Task, Update

BEAT = 2.0
"""Seconds between two signs of life."""

SKEW = 300.0
"""Seconds by which the clocks of a site and its coordinator may differ."""

TRIES_REFUSED = 3
Say = Callable[[str], None]


@dataclass
class Pulse:
    """Hold what the coordinator last said to the beat: "ok", "second", "other" where it serves another plan, or "" while it is away."""

    state: str = ""
    time: float = 0.0
    asked: float = 0.0


class Supplies(Mapping[str, Data]):
    """Fetch what a site needs to follow a study, each when it is asked for."""

    def __init__(self, bodies: Mapping[str, Body], fetch: Callable[[Body], Data]) -> None:
        """Take in where it lies."""
        self._bodies, self._fetch = bodies, fetch

    def __getitem__(self, name: str) -> Data:
        return self._fetch(self._bodies[name])

    def __contains__(self, name: object) -> bool:
        return name in self._bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)


class Agent:
    """Run one site's part of a study until it ends.

    Args:
        folder: of the hospital.
        connection: the site's database.
        journal: in it.
        desk: settles tasks.
        say: tells the person at the terminal.
    """

    def __init__(self, folder: SiteFolder, connection: sqlite3.Connection, journal: Journal, desk: Desk, say: Say) -> None:
        """Connect to the hub, waiting until it is there, and begin to beat.

        Raises:
            NotAdmitted: the site was revoked.
        """
        self._folder, self._db, self._journal, self._desk, self._say = folder, connection, journal, desk, say
        self._member = folder.membership
        self._subjects = Subjects(self._member.study)
        self._instance = secrets.token_hex(8)
        self.pulse = Pulse()
        keep_freed()
        self._said = ""
        self._link = self._connected()
        self._link.start(self._beat())

    def _connected(self) -> Connection:
        """Return the connection to the hub, however long that takes."""
        while True:
            try:
                return connect(self._folder)
            except Unreachable as error:
                self._once(f"Waiting: {error.message}")
                time.sleep(1)

    def run(self, until: threading.Event) -> None:
        """Go on until the study has ended, or until somebody sets `until`.

        Raises:
            NotAdmitted: the site was revoked.
            PolicyRefused: it has left, or a second process of this site runs elsewhere.
        """
        self._approve()
        while not self._over() and not until.is_set():
            self._hear()
            try:
                waiting = self._journal.waiting()
                self._db.commit()
                if waiting is None:
                    self._take(BEAT)
                else:
                    self._settle(*waiting)
            except (Unreachable, StoreError, sqlite3.OperationalError, OSError) as error:
                self._wait(error)

    def close(self) -> None:
        """Let go of the hub."""
        self._link.close()

    def _wait(self, error: Exception) -> None:
        """Say once what is missing, and look a second later whether something newer came."""
        what = error.message if isinstance(error, WardroundError) else f"this site's disk refused ({type(error).__name__}). Make room."
        self._once(f"Waiting: {what}")
        with suppress(sqlite3.OperationalError):
            self._db.rollback()
            self._take(1.0)

    def _once(self, text: str) -> None:
        """Say something, unless it was the last that was said so."""
        if text != self._said:
            self._say(text)
        self._said = text

    def _over(self) -> bool:
        return self._journal.meta("ended") is not None

    def _hear(self) -> None:
        """Act on what the coordinator said last."""
        if self._link.refused >= TRIES_REFUSED:
            raise NotAdmitted("This site was cut off by the coordinating centre.", "Ask there why; nothing more leaves this site.")
        if self.pulse.state == "second":
            remedy = "Stop the other one first. If there is none, its keys were copied: tell the coordinating centre to revoke this site."
            raise PolicyRefused("Another process takes part as this site.", remedy)
        if self.pulse.state == "other" and self._folder.protocol.rehearsal:
            raise _served()
        if self.pulse.time and abs(self.pulse.time - self.pulse.asked) > SKEW:
            minutes = (self.pulse.asked - self.pulse.time) / 60
            remedy = "Set the clock of this machine; the record's times depend on it."
            raise PolicyRefused(f"This machine's clock differs from the coordinator's by {minutes:+.0f} minutes.", remedy)

    async def _beat(self) -> None:
        """Say every two seconds that this site is there, and take in what the coordinator says to it."""
        number, since = 0, int(time.time() * 1000)
        while True:
            number += 1
            started = time.time()
            content = {"instance": self._instance, "since": since, "number": number}
            message = self._message("beat", content)
            with suppress(WardroundError, ValueError, KeyError):
                reply = await self._link.ask(self._subjects.beat(self._member.slot), message)
                found = Message.read(
                    reply.data, self._member.coordinator_key.public, ("beat",), self._member.study, COORDINATOR, self._member.site
                )
                if found.content.get("instance") == self._instance and found.content.get("number") == number:
                    self.pulse = Pulse(str(found.content["state"]), float(found.content["time"]), started)
            await asyncio.sleep(max(0.0, BEAT - (time.time() - started)))

    def _message(self, kind: str, content: dict[str, Any], body: Body | None = None) -> bytes:
        member = self._member
        return Message(kind, member.study, member.protocol, member.site, COORDINATOR, {}, content, body).signed(self._folder.keys.signing)

    def _approve(self) -> None:
        """Tell the coordinator what was approved here; it knows repeats."""
        found = approval(self._journal, self._member.protocol, self._folder.brought)
        told = {name: found[name] for name in ("envelope", "entry", "head", "role")}
        while True:
            try:
                self._reply(self._message("approval", {**told, "vkey": self._folder.gate(self._db, frozenset(), None).log.signer.vkey}))
                return
            except (Unreachable, StoreError) as error:
                self._hear()
                self._wait(error)

    def _reply(self, message: bytes) -> None:
        """Hand a message to the hub, which keeps it for the coordinator; the coordinator knows repeats."""
        self._link.run(self._link.store(self._subjects.reply(self._member.slot), message))

    def _take(self, wait: float) -> None:
        """Wait for the next task, write it down, and only then say that it arrived."""
        found = self._link.run(self._link.next(TASKS, self._member.slot, wait))
        if found is None:
            return
        try:
            message = self._read(found.data)
            name = message.content["name"] if message.kind == "ending" else task_of(message).digest
            if not self._journal.put(name, found.data):
                self._journal.again(name)
        except (VerificationError, KeyError) as error:
            self._say(f"A message was thrown away: {error.message if isinstance(error, VerificationError) else 'it is not well formed.'}")
        self._db.commit()
        self._link.run(self._link.acknowledge(found))

    def _read(self, data: bytes) -> Message:
        member = self._member
        message = Message.read(data, member.coordinator_key.public, ("task", "ending"), member.study, COORDINATOR, member.site)
        if message.protocol != member.protocol and self._folder.protocol.rehearsal:  # it waits on the hub for the study's own process
            raise _served()
        if message.protocol != member.protocol:
            raise VerificationError("A task quotes another protocol than this site approved.", "Report this to the coordinating centre.")
        return message

    def _settle(self, name: str, data: bytes) -> None:
        message = self._read(data)
        if message.kind == "ending":
            self._end(message)
        else:
            task = task_of(message)
            try:
                settled = self._desk.settle(task, lambda task: self._whole(task, message))
            except (Unreachable, StoreError, NotAdmitted):
                raise
            except WardroundError as error:
                settled = self._desk.refuse(task, error)
            if isinstance(settled, Waits):
                self._once(settled.why)
                self._take(BEAT)
                return
            if isinstance(settled, Refusal) and settled.kind == Broken.__name__:
                self._prove(task, message, data, settled)
            self._send(task, settled)
            if task.stage == "close":
                self._hand_over()
        self._journal.settle(name)
        self._db.commit()
        self._tidy()
        self._said = ""

    def _prove(self, task: Task, message: Message, came: bytes, refusal: Refusal) -> None:
        """Keep what the coordinator signed of an attempt that a broken step of the secure sum has ended."""
        before, attempt = self._journal.before(task.digest), {"phase", "round", "attempt"}
        if before is not None and any(self._read(before).turn.get(name) != message.turn[name] for name in attempt):
            before = None
        evidence.keep(self._folder.path, task.digest, came, before, refusal_message(task, refusal).signed(self._folder.keys.signing))

    def _whole(self, task: Task, message: Message) -> Task:
        """Return a task with what it asks, or with what it takes to work that out."""
        if (supplies := supplies_of(message)) is not None:
            return replace(task, supplies=Supplies(supplies, self._fetched))
        return task if message.body is None else asked(task, self._fetched(message.body))

    def _fetched(self, body: Body) -> Data:
        return parts.get(self._link, PARTS, self._subjects.parts, body, self._folder.room)

    def _tidy(self) -> None:
        """Remove what is large and no longer needed: all but answers that wait, or may have to be sent again."""
        needed = self._desk.files()
        for path in self._folder.room.glob("*"):
            if path not in needed:
                path.unlink()

    def _send(self, task: Task, settled: Update | Refusal | None) -> None:
        key = self._folder.keys.signing
        if isinstance(settled, Update):
            body = None if self._short(task) else Body.of(blocks(settled.body))
            if body is not None:
                parts.put(self._link, self._subjects.uploads(self._member.slot), body, blocks(settled.body))
                self._say(f"{task.phase}, round {task.round + 1}: sums sent, {len(settled.body)} bytes.")
            self._reply(update_message(task, settled, body).signed(key))
        elif isinstance(settled, Refusal):
            self._reply(refusal_message(task, settled).signed(key))
            self._say(f"{task.phase}, round {task.round + 1}: refused: {settled.reason.rstrip('.')}. {settled.remedy}")

    def _short(self, task: Task) -> bool:
        """Say whether the answer to a task is a few words, which travel with the message."""
        return task.stage in ("keys", "shares", "agree") or (task.stage == "open" and self._folder.protocol.combiner.hides != "window")

    def _hand_over(self) -> None:
        """Give the coordinator a copy of this site's log, and its own test figures where these are wanted, if the rules let them leave."""
        gate, may_leave = self._folder.gate(self._db, frozenset(), None), self._folder.rules.may_leave
        log, body = gate.log, None
        content: dict[str, Any] = {"checkpoint": "", "vkey": log.signer.vkey}
        if gate.protocol.tells and "results" in may_leave and refused(self._journal) is None:
            content["results"] = self._own_figures(gate)
            self._db.commit()
        if "record" in may_leave:
            if [entry["t"] for entry in log.entries()][-1:] != ["handed_over"]:  # else this is another try
                log.append("handed_over", site=self._member.site, protocol=self._member.protocol, to=COORDINATOR, head=log.head)
                self._db.commit()
            lines = b"".join(line + b"\n" for line in log.lines())
            body = parts.put_data(self._link, self._subjects.uploads(self._member.slot), lines)
            content["checkpoint"] = log.checkpoint()
        else:
            statement = canonical({"protocol": self._member.protocol, "site": self._member.site})
            content["kept"] = envelope.seal(envelope.KEPT, statement, self._folder.keys.signing)
        self._reply(self._message("record", content, body))

    def _own_figures(self, gate: Site) -> dict[str, Any]:
        """Return this site's own test figures as they leave; none while its rows are not in order, or have changed since the test."""
        found = {} if held(self._journal) is not None or pending(self._folder) is not None else told(gate)
        if not found:
            self._say("This hospital's own figures stay here: it was not tested, or its rows have changed since, or are not in order.")
        return found

    def _end(self, message: Message) -> None:
        """Take what the study came to, and end."""
        for name, described in message.content["files"].items():
            if name not in ("model.safetensors", "result.json", "report.html", "passport.json", "passport.html"):
                raise VerificationError(
                    "A file has a name that does not belong to a study's end.", "Report this to the coordinating centre."
                )
            data = parts.get(self._link, PARTS, self._subjects.parts, Body.described(described), self._folder.room)
            if isinstance(data, Kept):
                data.path.replace(self._folder.path / name)
            else:
                write_bytes(self._folder.path / name, data)
        self._reply(self._message("taken", {}))
        self._journal.put_meta("ended", json.dumps(message.content["files"]).encode())
        self._say(plain(str(message.content.get("text", "The study has ended."))))


def _served() -> PolicyRefused:
    """Return why a rehearsal ends at once."""
    return PolicyRefused(
        "The coordinating centre serves the study itself, not its rehearsal.", "Rehearse while it runs: wardround study rehearse."
    )


def connect(folder: SiteFolder, stay: bool = True) -> Connection:
    """Return the site's connection to its hub, with its own key."""
    member = folder.membership
    return Connection(member.url, member.authority, seed(folder.hub_key), member.slot, stay=stay)


def tell(folder: SiteFolder, kind: str, content: dict[str, Any], protocol: str = "") -> None:
    """Send the coordinator one message outside of a run, such as that this site refuses or leaves.

    Args:
        folder: of the hospital.
        kind: of the message.
        content: of the message.
        protocol: digest of the plan that it is about; empty for the study's own.

    Raises:
        Unreachable: the hub does not answer.
    """
    member = folder.membership
    about = protocol or member.protocol
    message = Message(kind, member.study, about, member.site, COORDINATOR, {}, content).signed(folder.keys.signing)
    link = connect(folder, stay=False)
    try:
        link.run(link.store(Subjects(member.study).reply(member.slot), message))
    finally:
        link.close()
