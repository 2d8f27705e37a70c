"""Attack a served study with a hospital's own valid keys, and see whether anything changed: no mocks, a true hub, true messages.

`Line` is the intruder's connection, which hears every refusal of the hub. `Stage` is a study under way with three honest hospitals and
one, mallory, that has joined and approved like they and whose keys the intruder holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from tests.engines.federated import Gate, bring, federation, let_in, open_protocol
from tests.support import rows
from tests.system.trouble import Rounds
from wardround.engines import hubkeys
from wardround.engines.agent import tell
from wardround.engines.connection import Connection
from wardround.engines.messages import COORDINATOR, Message
from wardround.engines.subjects import PARTS, REPLIES, TASKS
from wardround.site.approval import approval
from wardround.site.folder import SiteFolder
from wardround.site.journal import Journal
from wardround.study.dataset import Dataset
from wardround.study.errors import Unreachable
from wardround.study.files import blocks
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal, Update

HONEST = ("site0", "site1", "site2")
MALLORY = "mallory"
Headers = dict[str, str]


class Line(Connection):
    """Be a connection that keeps every error the hub sends, and may say anything."""

    def __init__(self, url: str, ca: str, seed: str, owner: str) -> None:
        self.errors: list[str] = []
        self.heard: list[Msg] = []
        super().__init__(url, ca, seed, owner, stay=False)
        self.owner = owner
        self.listen(self._answers)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _on_error(self, error: Exception) -> None:
        self.errors.append(str(error))
        await super()._on_error(error)

    def publish(self, subject: str, data: bytes = b"", reply: str = "", headers: Headers | None = None) -> list[str]:
        """Publish, and return what the hub complained of."""
        return self.publish_all([(subject, data)], reply, headers)

    def publish_all(self, said: Sequence[tuple[str, bytes]], reply: str = "", headers: Headers | None = None) -> list[str]:
        """Publish one after the other, and return what the hub complained of."""

        async def work() -> None:
            for subject, data in said:
                await self._nats.publish(subject, data, reply or self._answers, headers)
            await self._settled()

        before = len(self.errors)
        self.run(work(), 10)
        return self.errors[before:]

    def listen(self, *subjects: str, group: str = "") -> list[str]:
        """Subscribe, and return what the hub complained of."""

        async def take(message: Msg) -> None:
            self.heard.append(message)

        async def work() -> None:
            for subject in subjects:
                await self._nats.subscribe(subject, group, cb=take)
            await self._settled()

        before = len(self.errors)
        self.run(work(), 10)
        return self.errors[before:]

    def asks(self, subject: str, data: bytes = b"", headers: Headers | None = None, timeout: float = 2.0) -> Msg:
        """Send a request with headers and return the reply."""
        return self.run(self._nats.request(subject, data, timeout, headers=headers), timeout + 1)

    async def _settled(self) -> None:
        """Wait until the hub has answered to all that was said; the library lets a first ping overtake what it has not written yet."""
        for _ in range(2):
            await self._nats.flush(5)

    def oversize(self, subject: str, size: int) -> None:
        """Publish more than the hub takes in one message; the library's own check is set aside."""

        async def work() -> None:
            self._nats._max_payload = 2 * size
            await self._nats.publish(subject, bytes(size))
            await self._nats.flush(2)

        try:
            self.run(work(), 5)
        except (NatsError, OSError, Unreachable):
            return

    def gone(self, seconds: float) -> bool:
        """Wait until the hub has cut this line, and say whether it did."""
        until = time.monotonic() + seconds
        while self._nats.is_connected and time.monotonic() < until:
            time.sleep(0.01)
        return not self._nats.is_connected

    @property
    def _answers(self) -> str:
        return f"{self._inbox}.answers"


@dataclass
class Stage(Rounds):
    """Hold a study under way, and what an intruder knows of it."""

    late: SiteFolder
    numbers: Iterator[int] = field(default_factory=lambda: count(10))
    _expected: dict[str, bytes] = field(default_factory=dict)

    def folder(self, site: str) -> SiteFolder:
        """Return a hospital's folder."""
        return self.late if site == "late" else self.made.gates[site].folder

    def slot(self, site: str) -> str:
        """Return a hospital's place on the hub."""
        return self.folder(site).membership.slot

    @cached_property
    def mallory(self) -> Line:
        """Return the intruder's line."""
        return self.line(MALLORY)

    def line(self, site: str) -> Line:
        """Return another line with a hospital's own key for the hub."""
        folder = self.folder(site)
        member = folder.membership
        return Line(member.url, member.authority, hubkeys.seed(folder.hub_key), member.slot)

    def with_key(self, raw: bytes, owner: str) -> Line:
        """Return a line with any key."""
        settings = self.made.centre.settings
        return Line(settings.own_url, self.made.centre.authority, hubkeys.seed(raw), owner)

    def message(self, kind: str, content: Mapping[str, Any], *, signer: str = MALLORY, **changes: Any) -> bytes:
        """Return a message signed by a hospital; `changes` go into its head."""
        given: dict[str, Any] = {"study": self.protocol.study, "protocol": self.protocol.digest, "sender": signer, "to": COORDINATOR}
        return Message(kind, content=content, **{**given, **changes}).signed(self.folder(signer).keys.signing)

    def beat(self, number: int, instance: str = MALLORY, signer: str = MALLORY, since: int = 5) -> bytes:
        """Return a beat."""
        return self.message("beat", {"instance": instance, "since": since, "number": number}, signer=signer)

    def beats(self) -> None:
        """Give a sign of mallory's life."""
        assert self.state(self.mallory.asks(self.subjects.beat(self.mallory.owner), self.beat(next(self.numbers)))) == "ok"

    def said(self, line: Line, data: bytes) -> None:
        """Put a message where the line's site replies; the hub takes it, what the coordinator makes of it is another matter."""
        assert "error" not in json.loads(line.asks(self.subjects.reply(line.owner), data).data)

    def state(self, reply: Msg) -> str:
        """Return what the coordinator says to a beat."""
        return str(Message.unchecked(reply.data, self.made.centre.key.public_key()).content["state"])

    def held(self, site: str) -> bytes:
        """Return the last reply of a hospital that the hub keeps."""
        subject = self.subjects.reply(self.slot(site))
        found = self.hub.api(f"$JS.API.STREAM.MSG.GET.{REPLIES}", {"last_by_subj": subject})["message"]
        return base64.b64decode(found["data"])

    def honest_round(self) -> None:
        """Ask the honest hospitals, and see that each gives the sums it gave the first time."""
        self.send()
        self.as_ever(self.answers(HONEST))

    def as_ever(self, found: Mapping[str, Update | Refusal]) -> None:
        """See that the honest hospitals' sums are those of the first time."""
        sums = {site: b"".join(blocks(reply.body)) for site, reply in found.items() if site in HONEST and isinstance(reply, Update)}
        self._expected = self._expected or sums
        assert set(sums) == set(HONEST) and sums == self._expected

    def stored(self) -> dict[str, Any]:
        """Return all that the hub keeps: each stream's settings, its queues, and each message by place and content."""
        found: dict[str, Any] = {}
        for name in self.hub.api("$JS.API.STREAM.NAMES")["streams"]:
            about = self.hub.api(f"$JS.API.STREAM.INFO.{name}", {"subjects_filter": ">"})
            queues = self.hub.api(f"$JS.API.CONSUMER.LIST.{name}", {}).get("consumers") or []
            found[name] = (about["config"], [(one["name"], one["config"]) for one in queues])
            for subject, many in (about["state"].get("subjects") or {}).items():
                held = self.hub.api(f"$JS.API.STREAM.MSG.GET.{name}", {"last_by_subj": subject})["message"]
                body = base64.b64decode(held.get("data", ""))
                found[f"{name} {subject}"] = (many, held["seq"], hashlib.sha256(body).hexdigest(), held.get("hdrs"))
        return found

    @contextmanager
    def nothing_changes(self, but: Callable[[str], bool] = lambda place: False) -> Iterator[None]:
        """See that the hub keeps the same as before, and that the study goes on as ever.

        Args:
            but: says which of `stored` may have changed.
        """
        self.honest_round()
        before = self.stored()
        yield
        after = self.stored()
        assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name) and not but(name)} == set()
        self.honest_round()

    def own(self, place: str) -> bool:
        """Say whether something that the hub keeps is mallory's own reply or upload."""
        slot, subject = self.slot(MALLORY), place.partition(" ")[2]
        return subject == self.subjects.reply(slot) or subject.startswith(f"{self.subjects.uploads(slot)}.")

    def noted(self, text: str, since: int, seconds: float = 5) -> None:
        """Wait until the coordinator has noted something; `since` is how many notes there were before."""
        until = time.monotonic() + seconds
        while not any(text in note for note in self.notes()[since:]):
            assert time.monotonic() < until, self.notes()[since:]
            self.made.serving.engine.listen(0.02)
            self.made.serving._settle_pending()

    @property
    def log(self) -> Path:
        """Return the hub's own log."""
        return self.made.centre.hub / "nats.log"

    def logged(self, *wanted: str, since: int) -> None:
        """Wait until the hub has written lines down that hold these words, each in some line."""
        until = time.monotonic() + 5
        while True:
            text = self.log.read_bytes()[since:].decode()
            if all(one in text for one in wanted):
                return
            assert time.monotonic() < until, text
            time.sleep(0.02)

    def places(self) -> dict[str, str]:
        """Return what stands for the names in `PUBLISHED` and `LISTENED`."""
        hub = str(self.mallory._nats._server_info["server_id"])
        return {"me": self.slot(MALLORY), "other": self.slot("site0"), "part": self.asked(), "hub": hub}

    def size_of_log(self) -> int:
        """Return how long the hub's log is now."""
        return self.log.stat().st_size


def public_key(folder: SiteFolder) -> str:
    """Return a hospital's public key for the hub."""
    return hubkeys.public(folder.hub_key)


def small_data() -> dict[str, Dataset]:
    """Return the rows of the honest hospitals."""
    return {name: rows(number, 60 + 7 * number) for number, name in enumerate(HONEST)}


def agreed() -> Protocol:
    """Return the plan: a hospital that is lost holds no round for long."""
    return open_protocol(rounds={"quorum": 3, "due_seconds": 60, "lost_seconds": 6})


def approve_by_hand(folder: SiteFolder, **changes: Any) -> None:
    """Send the coordinator a hospital's approval without its gate; `changes` go into what it says."""
    with closing(folder.database()) as database:
        found = approval(Journal(database), folder.membership.protocol, folder.brought)
        vkey = folder.gate(database, frozenset(), None).log.signer.vkey
    tell(folder, "approval", {**{name: found[name] for name in ("envelope", "entry", "head", "role")}, "vkey": vkey, **changes})


@contextmanager
def stage(path: Path) -> Iterator[Stage]:
    """Serve a study with three honest hospitals, with mallory, and with one that joins too late to take part."""
    with federation(path, agreed(), {**small_data(), MALLORY: rows(9)}, run=False, gigabytes=1.2) as made, ExitStack() as stack:
        for name in HONEST:
            made.gates[name].start()
        approve_by_hand(made.gates[MALLORY].folder)
        made.serving.gather_approvals()
        late = bring(path / "late", "late", rows(5), made.centre.protocol)
        let_in(made.centre, late, "late")
        found = Stage(made, made.serving.book(), late=SiteFolder(late.path))
        stack.callback(found.mallory.close)
        yield found


def late_gate(found: Stage) -> Gate:
    """Return the gate of the hospital that joined too late."""
    return Gate("late", found.late, rows(5), found.protocol)


_STREAMS = (TASKS, PARTS, REPLIES, "UP_{other}", "UP_{me}")

PUBLISHED: dict[str, tuple[str, ...]] = {
    "answers as another hospital": ("wr.small.reply.{other}",),
    "beats as another hospital": ("wr.small.beat.{other}",),
    "joins in another hospital's place": ("wr.small.join.{other}",),
    "puts parts where another hospital uploads": ("wr.small.up.{other}.group.part",),
    "puts a task into a queue, its own or another's": ("wr.small.task.{other}", "wr.small.task.{me}"),
    "changes or adds a part of what the coordinator gives out": ("{part}", "wr.small.part.group.part"),
    "writes to another study": ("wr.other.reply.{me}", "wr.other.task.{other}", "wr.other.part.a.b", "wr.other.beat.{me}"),
    "takes another hospital's tasks": (f"$JS.API.CONSUMER.MSG.NEXT.{TASKS}.{{other}}",),
    "takes the coordinator's replies": (f"$JS.API.CONSUMER.MSG.NEXT.{REPLIES}.coordinator",),
    "acknowledges others' messages": (f"$JS.ACK.{TASKS}.{{other}}.1.1.1.1.0", f"$JS.ACK.{REPLIES}.coordinator.1.1.1.1.0"),
    "reads other streams, or parts of other studies": (
        *(f"$JS.API.DIRECT.GET.{name}" for name in _STREAMS),
        f"$JS.API.DIRECT.GET.{TASKS}.wr.small.task.{{other}}",
        f"$JS.API.DIRECT.GET.{REPLIES}.wr.small.reply.{{other}}",
        "$JS.API.DIRECT.GET.UP_{other}.wr.small.up.{other}.group.part",
        f"$JS.API.DIRECT.GET.{PARTS}.wr.other.part.group.part",
    ),
    "reads messages by number": tuple(f"$JS.API.STREAM.MSG.GET.{name}" for name in _STREAMS),
    "deletes messages": tuple(f"$JS.API.STREAM.MSG.DELETE.{name}" for name in _STREAMS),
    "empties streams": tuple(f"$JS.API.STREAM.PURGE.{name}" for name in _STREAMS),
    "deletes streams": tuple(f"$JS.API.STREAM.DELETE.{name}" for name in _STREAMS),
    "changes streams": tuple(f"$JS.API.STREAM.UPDATE.{name}" for name in _STREAMS),
    "makes streams": ("$JS.API.STREAM.CREATE.MINE", f"$JS.API.STREAM.CREATE.{TASKS}"),
    "lists streams": ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", f"$JS.API.STREAM.INFO.{REPLIES}"),
    "copies or restores streams": (f"$JS.API.STREAM.SNAPSHOT.{REPLIES}", f"$JS.API.STREAM.RESTORE.{REPLIES}"),
    "makes queues": (
        f"$JS.API.CONSUMER.CREATE.{TASKS}",
        f"$JS.API.CONSUMER.CREATE.{TASKS}.mine.wr.small.task.{{other}}",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{TASKS}.mine",
    ),
    "deletes, pauses or resets queues": tuple(
        f"$JS.API.CONSUMER.{do}.{TASKS}.{whose}" for do in ("DELETE", "PAUSE", "RESET", "UNPIN") for whose in ("{other}", "{me}")
    ),
    "lists queues": tuple(f"$JS.API.CONSUMER.{do}" for do in (f"NAMES.{TASKS}", f"LIST.{TASKS}", f"INFO.{TASKS}.{{other}}")),
    "moves leaders": (f"$JS.API.STREAM.LEADER.STEPDOWN.{TASKS}", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE"),
    "commands the hub itself": (
        *("$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.HUB.CONNZ"),
        *(f"$SYS.REQ.SERVER.{{hub}}.{do}" for do in ("RELOAD", "KICK", "VARZ")),
    ),
    "whispers into others' inboxes": ("_INBOX.{other}.a", "_INBOX.coordinator.a", "_INBOX.admin.a", "_R_.a.b"),
    "uses what hubs keep for other purposes": ("$KV.a.b", "$O.a.b", "$MQTT.a", "$JS.EVENT.ADVISORY.a", "$GR.a", "$LDS.a"),
}
"""Subjects on which a hospital has no business, by what it would do there."""

LISTENED = {
    "everything": (">", "*.>", "*", "wr.>", "$JS.>", "$SYS.>", "_INBOX.>", "_R_.>", "_INBOX.*.*"),
    "another hospital's inbox": ("_INBOX.{other}.>", "_INBOX.{other}.pull.TASKS.{other}", "_INBOX.coordinator.>", "_INBOX.admin.>"),
    "the study's subjects": ("wr.small.reply.{other}", "wr.small.task.{other}", "wr.small.task.{me}", "wr.small.up.{other}.>"),
    "beats, joins and parts": ("wr.small.beat.*", "wr.small.join.*", "wr.small.part.>"),
    "what the hub announces": ("$JS.EVENT.ADVISORY.>", "$SYS.ACCOUNT.*.DISCONNECT", "$SYS.SERVER.>", "$JS.API.>", "$JS.ACK.>"),
}
"""Subjects on which an intruder might listen, by what it would hear."""
