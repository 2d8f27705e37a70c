"""Carry tasks to hospitals that only dial out, through a hub, and their answers back: the engine of a real federation.

What is asked is stored once as parts and named in each task by its digest. Tasks wait on the hub until their site takes them; replies wait
there until the coordinator has committed the round that they belong to, so a coordinator that was killed finds the answers that are
already in. A reply to a round that is over is recorded as late and not used.
"""

from __future__ import annotations

import asyncio
import math
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from nats.aio.msg import Msg

from wardround.engines import parts
from wardround.engines.allocator import keep_freed
from wardround.engines.connection import Connection
from wardround.engines.hub import reply_queue
from wardround.engines.messages import COORDINATOR, Message, refusal_of, task_message, update_of
from wardround.engines.parts import Body
from wardround.engines.presence import Presence
from wardround.engines.subjects import PARTS, REPLIES, Subjects
from wardround.study.arrays import pieces
from wardround.study.errors import StoreError, Unreachable, VerificationError, WardroundError
from wardround.study.files import Data, Kept
from wardround.study.interfaces import Engine
from wardround.study.layout import Layout
from wardround.study.task import Refusal, Task, Update

QUEUE = "coordinator"
TICK = 0.2
AHEAD = 2
"""Answers that lie here at a time: one is admitted while the next is fetched."""

KINDS = ("update", "refusal", "approval", "record", "decline", "leave", "taken")


@dataclass(frozen=True)
class Member:
    """Hold how a site is reached and known: its slot and its public signing key."""

    slot: str
    identity: Ed25519PublicKey


@dataclass(frozen=True)
class Post:
    """Hold one verified message from a site, and where it stands in the stream of replies."""

    message: Message
    place: int


@dataclass(frozen=True)
class Ready:
    """Hold what an answer came to whose body was fetched."""

    task: Task
    reply: Update | Refusal | Exception

    def drop(self) -> None:
        """Remove what was fetched."""
        if isinstance(self.reply, Update) and isinstance(self.reply.body, Kept):
            shutil.rmtree(self.reply.body.path.parent, ignore_errors=True)


Members = Callable[[], Mapping[str, Member]]


class Nats(Engine):
    """Carry tasks over a hub.

    Args:
        link: the coordinator's connection; the study's streams are there.
        subjects: of the study.
        protocol: digest of the plan.
        key: signs tasks.
        members: who may write, now.
        asked: names of the sites that take part, now; called before each round, at a moment when nothing is under way.
        presence: who is there.
        lost_after: seconds that a lost site may hold a round.
        room: folder for what is too large for memory.
        other: is given what is neither an answer nor a refusal, and answers to rounds that are over.
        warn: is told what was thrown away.
    """

    def __init__(
        self,
        link: Connection,
        subjects: Subjects,
        protocol: str,
        key: Ed25519PrivateKey,
        members: Members,
        asked: Callable[[], Sequence[str]],
        presence: Presence,
        lost_after: float,
        room: Path,
        other: Callable[[Message], None],
        warn: Callable[[str], None],
    ) -> None:
        """Begin to read replies, from the oldest that is kept."""
        self._link, self._subjects, self._protocol, self._key = link, subjects, protocol, key
        self._members, self._asked, self._presence, self._lost_after = members, asked, presence, lost_after
        self._other, self._warn = other, warn
        self._inbox: queue.Queue[Post | Ready] = queue.Queue()
        self._wanted: queue.Queue[tuple[Task, Message] | None] = queue.Queue()
        self._ahead = threading.Semaphore(AHEAD)
        self._open: dict[str, Task] = {}
        self._coming: set[str] = set()
        self._closed = False
        self._stored: dict[str, Body] = {}
        self._last: frozenset[tuple[str, int, int, bool]] = frozenset()
        self._early: list[Post] = []
        self._read_up_to = 0
        self._room = room
        keep_freed()
        reply_queue(link, QUEUE)
        link.start(self._read())
        threading.Thread(target=self._fetch_all, name="fetching", daemon=True).start()

    def sites(self) -> tuple[str, ...]:
        """Return the names of the sites that take part, sorted."""
        return tuple(sorted(self._asked()))

    def send(self, tasks: Sequence[Task]) -> None:
        """Store what is asked, once, and put each task into its site's queue."""
        turns = frozenset((task.phase, task.round, task.attempt, task.stage == "close") for task in tasks)
        if self._last and turns != self._last:
            self._forget()
        self._last = turns
        members = self._members()
        self._open, self._coming = {task.digest: task for task in tasks if task.stage != "close"}, set()
        for task in tasks:
            if task.site not in members:
                continue
            message = task_message(task, self._store(task), self._supply(task)).signed(self._key)
            self.patiently(partial(self._put_task, members[task.site].slot, message))

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        """Give back answers as they come; a site that is lost for longer than the protocol allows is refused by name."""
        until = time.monotonic() + due
        early, self._early = self._early, []
        for post in early:
            self._inbox.put(post)
        while self._coming or (self._open and time.monotonic() < until):
            if time.monotonic() >= until:  # what came in time is waited for, nothing else
                self._open = {}
            yield from self._lost()
            with suppress(queue.Empty):
                yield from self._take(self._inbox.get(timeout=max(0.0, min(TICK, until - time.monotonic())) or TICK))
        self._open = {}

    def listen(self, seconds: float) -> None:
        """Take in what comes while nothing is asked, for this long."""
        until = time.monotonic() + seconds
        with suppress(queue.Empty):
            while True:
                for _ in self._take(self._inbox.get(timeout=max(0.001, until - time.monotonic()))):
                    pass  # nothing is asked, so nothing is an answer

    def end(self, files: Mapping[str, Path], text: str) -> None:
        """Give every site what the study came to."""
        bodies = {name: parts.put_data(self._link, self._subjects.parts, Kept(path)).describe() for name, path in files.items()}
        for site in self.sites():
            member = self._members()[site]
            content: dict[str, Any] = {"name": f"ending-{self._protocol}", "files": bodies, "text": text}
            message = Message("ending", self._subjects.study, self._protocol, COORDINATOR, site, {}, content).signed(self._key)
            self.patiently(partial(self._put_task, member.slot, message))

    def fetch(self, site: str, body: Body, most: int) -> Data:
        """Return what a site put up.

        Raises:
            VerificationError: it is larger than `most` bytes, not there, or not what it is named.
            StoreError: this machine's disk refused.
        """
        if body.size > most:
            raise VerificationError("What it sent is larger than agreed.", "Look at this site's software.")
        member = self._members().get(site)
        if member is None:
            raise VerificationError("It was cut off, or has left, before what it sent was fetched.", "")
        slot = member.slot
        stream, under = self._subjects.uploads_stream(slot), self._subjects.uploads(slot)
        try:
            return parts.get(self._link, stream, under, body, self._room / f"{slot}-{body.group}")
        except OSError as error:
            raise StoreError(f"This machine's disk refused ({error.strerror}).", "Make room, then run the same command again.") from error
        except Unreachable as error:
            if self._link.connected:
                raise VerificationError("What it sent is not there.", "The site sends it again when it is asked again.") from error
            raise

    def patiently(self, what: Callable[[], None]) -> None:
        """Do something on the hub, again and again while it is away."""
        told = False
        while True:
            try:
                return what()
            except Unreachable as error:
                if self._closed:
                    raise
                if not told:
                    self._warn(f"Waiting for the hub: {error.message}")
                told = True
                time.sleep(TICK)

    def close(self) -> None:
        """Let go of the hub; what is being fetched is not waited for."""
        self._closed = True
        self._wanted.put(None)
        self._ahead.release()
        self._link.close()

    def _put_task(self, slot: str, message: bytes) -> None:
        self._link.run(self._link.store(self._subjects.task(slot), message))

    def _store(self, task: Task) -> Body | None:
        if task.stage != "answer" or task.supplies is not None:
            return None
        if task.ask not in self._stored:
            ask = task.body
            body = Body.of(pieces(ask.arrays, ask.head))
            self.patiently(lambda: parts.put(self._link, self._subjects.parts, body, pieces(ask.arrays, ask.head)))
            self._stored[task.ask] = body
        return self._stored[task.ask]

    def _supply(self, task: Task) -> dict[str, Body] | None:
        """Store what a site needs to work out itself what it is asked; each thing once."""
        if task.supplies is None:
            return None
        for name, data in task.supplies.items():
            if name not in self._stored:
                self.patiently(partial(self._put_supply, name, data))
        return {name: self._stored[name] for name in task.supplies}

    def _put_supply(self, name: str, data: Data) -> None:
        self._stored[name] = parts.put_data(self._link, self._subjects.parts, data)

    def _forget(self) -> None:
        """Let the hub forget what belongs to rounds that are committed: replies that were read, uploads, and what was asked before."""
        with suppress(WardroundError):
            self._link.api(f"$JS.API.STREAM.PURGE.{REPLIES}", {"seq": self._read_up_to + 1})
            for member in self._members().values():
                self._link.api(f"$JS.API.STREAM.PURGE.{self._subjects.uploads_stream(member.slot)}")
            for body in self._stored.values():
                self._link.api(f"$JS.API.STREAM.PURGE.{PARTS}", {"filter": f"{self._subjects.parts}.{body.group}.*"})
            self._stored.clear()

    def _lost(self) -> Iterator[Refusal]:
        members = self._members()
        for digest, task in list(self._open.items()):
            silent = self._presence.silent(task.site)
            if silent >= self._lost_after or task.site not in members:
                del self._open[digest]
                reason = f"no sign of life for {silent:.0f} s" if task.site in members else "it was cut off or has left"
                remedy = "See that the site runs and reaches the hub (wardround doctor); it comes back by itself."
                yield Refusal(digest, task.site, "deadline", reason, remedy, again=True)

    def _take(self, post: Post | Ready) -> Iterator[Update | Refusal]:
        """Yield an answer that is waited for; have its body fetched first, and hand on everything else."""
        if isinstance(post, Ready):
            yield from self._fetched(post)
            return
        message, self._read_up_to = post.message, max(self._read_up_to, post.place)
        task = self._open.get(str(message.content.get("task"))) if message.kind in ("update", "refusal") else None
        if task is None or task.site != message.sender:
            if not self._last and message.kind in ("update", "refusal"):
                self._early.append(post)  # after a restart: it may answer what is about to be asked again
            else:
                self._other(message)
            return
        del self._open[task.digest]
        if message.kind == "update" and message.body is not None:
            self._coming.add(task.digest)
            self._wanted.put((task, message))
        else:
            yield self._answer(task, message)

    def _answer(self, task: Task, message: Message) -> Update | Refusal:
        """Return what a message answers to its task, with its body."""
        try:
            if message.protocol != self._protocol or dict(message.turn) != {**task.turn, "stage": task.stage}:
                raise VerificationError("Its message is of another round than it says.", "Look at this site's software.")
            if message.kind == "refusal":
                return refusal_of(message)
            body: Data = str(message.content.get("said", "")).encode()
            if message.body is not None:
                found: list[Data] = []
                most, named = most_bytes(task.body.layout), message.body
                self.patiently(lambda: found.append(self.fetch(message.sender, named, most)))
                body = found[0]
            return update_of(message, body)
        except VerificationError as error:
            return Refusal(task.digest, task.site, "admit", error.message.rstrip("."), error.remedy)

    def _fetch_all(self) -> None:
        """Fetch one body after the other, while those that came before are admitted; until there is nothing more to come."""
        while (wanted := self._wanted.get()) is not None:
            task, message = wanted
            self._ahead.acquire()
            if self._closed:
                return
            try:
                reply: Update | Refusal | Exception = self._answer(task, message)
            except Exception as error:  # an edge: it belongs to whoever waits for the answer
                reply = error
            self._inbox.put(Ready(task, reply))

    def _fetched(self, ready: Ready) -> Iterator[Update | Refusal]:
        """Yield an answer whose body is here, and let go of it afterwards.

        Raises:
            StoreError: this machine's disk refused.
        """
        try:
            if ready.task.digest in self._coming:
                self._coming.remove(ready.task.digest)
                if isinstance(ready.reply, Exception):
                    raise ready.reply
                yield ready.reply
        finally:
            ready.drop()
            self._ahead.release()

    async def _read(self) -> None:
        """Read replies one after the other, check who sent them, and put them into the inbox."""
        while True:
            try:
                found = await self._link.next(REPLIES, QUEUE, 2.0)
                if found is not None:
                    await self._link.acknowledge(found)
                    self._sort(found)
            except Exception as error:  # an edge: whatever one message does, the next one is read
                self._warn(f"A message could not be read ({type(error).__name__}).")
                await asyncio.sleep(TICK)

    def _sort(self, found: Msg) -> None:
        """Check who sent a message, and put it where it is waited for."""
        place = int(found.reply.split(".")[-4])  # $JS.ACK.....<stream sequence>.<consumer sequence>.<time>.<pending>
        slot = found.subject.rpartition(".")[2]
        site, member = next(((name, one) for name, one in self._members().items() if one.slot == slot), ("", None))
        try:
            if member is None:
                raise VerificationError("A message came from a place without a site.", "")
            message = Message.read(found.data, member.identity, KINDS, self._subjects.study, site, COORDINATOR)
        except VerificationError as error:
            self._warn(f"A message from {site or slot} was thrown away: {error.message}")
            return
        self._inbox.put(Post(message, place))


def most_bytes(layout: Layout) -> int:
    """Return how many bytes an update of this layout can have at most: its numbers, and their header with room to spare."""
    numbers = sum(max(term.bits // 8, 2 if term.wire.endswith("float16") else 1) * math.prod(term.shape) for term in layout)
    return numbers + 4096 + 512 * len(layout)
