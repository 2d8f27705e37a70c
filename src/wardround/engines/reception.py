"""Answer what sites ask the coordinator directly: to be let in with an invite, and whether all is well.

Joining binds a site's two keys: the message is signed by the new identity and names the key for the hub, and it comes from the slot of
the invite, which only the holder of the invite could reach. Letting in means: note it, put the key into the slot, have the hub read its
configuration again. The site hears of it before the hub does, so it tries for a few seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround.coordinator.enrolment import Enrolment
from wardround.engines.hubkeys import is_public
from wardround.engines.keeper import reason
from wardround.engines.messages import COORDINATOR, Message
from wardround.engines.parts import Body
from wardround.engines.presence import Presence
from wardround.study.errors import NotAdmitted, StoreError, Unreachable, VerificationError

GRACE = 0.05
"""Seconds between a welcome and the hub's new configuration, so that the welcome gets through."""

PATIENCE, PAUSE = 5, 0.3
"""How often a slot's streams are tried to be made, and seconds between; the site waits for three seconds."""

TRIES = 20
"""How often the hub is told of a new site, half a second apart."""


@dataclass
class Reception:
    """Hold what letting sites in needs.

    Attributes:
        study: name of the study.
        protocol: digest of the plan that joining sites are given.
        served: digest of the plan that is served now: that one, or in a rehearsal the rehearsal's.
        body: where the plan lies on the hub.
        key: the coordinator's signing key.
        enrolment: the list; read in the connection's thread, never written there.
        presence: who is there.
        prepare: makes a slot's streams; called in a thread.
        apply: has the hub follow the list; called in a thread.
        tell: is told who joined and who was turned away.
    """

    study: str
    protocol: str
    served: str
    body: Body
    key: Ed25519PrivateKey
    enrolment: Enrolment
    presence: Presence
    prepare: Callable[[str], None]
    apply: Callable[[], None]
    tell: Callable[[str], None]

    def __post_init__(self) -> None:
        """Keep hold of what goes on after a reply."""
        self._tasks: set[asyncio.Future[None]] = set()
        self._said = ""

    async def join(self, subject: str, data: bytes) -> bytes:
        """Let a site in that shows a good invite; tell others why not."""
        slot = subject.rpartition(".")[2]
        try:
            message, identity = _self_signed(data)
            new = await asyncio.to_thread(self._admit, slot, message, identity)
            await self._prepared(slot)
        except (VerificationError, NotAdmitted) as error:
            self.tell(f"A request to join from {slot} was turned away: {error.message}")
            return self._reply("welcome", "", {"error": error.message, "remedy": error.remedy})
        except (KeyError, TypeError, ValueError, RecursionError):
            self.tell(f"A request to join from {slot} was turned away: it is not well formed.")
            return b""
        except Exception as error:  # an edge: whatever is wrong here, both sides hear of it
            self.tell(f"A site cannot be let in yet ({slot}): {reason(error)}")
            remedy = "Try the same command again later, or tell the coordinating centre; the invite stays good."
            return self._reply("welcome", "", {"error": "The coordinating centre cannot let this site in now.", "remedy": remedy})
        if new:
            self.tell(f"{message.sender} has joined.")
        follow_up = asyncio.ensure_future(self._apply())
        self._tasks.add(follow_up)
        follow_up.add_done_callback(self._tasks.discard)
        return self._reply("welcome", message.sender, {"protocol": self.protocol, "body": self.body.describe(), "time": int(time.time())})

    def _admit(self, slot: str, message: Message, identity: bytes) -> bool:
        """Write a site into the list, in a thread and by a connection of its own; return whether it is new there."""
        content = message.content
        number, key = str(content["invite"]), str(content["hub_key"])
        if message.study != self.study or content["slot"] != slot or not is_public(key):
            raise VerificationError("This request to join is for another study or place.", "Use the invite as it is.")
        with closing(Enrolment(self.enrolment.path)) as enrolment, enrolment.change():
            return enrolment.admit(number, message.sender, slot, identity, key, time.time())

    async def _prepared(self, slot: str) -> None:
        """Make a slot's streams; while the hub reads its configuration again, for the site before, it refuses or is silent for a moment."""
        for left in reversed(range(PATIENCE)):
            try:
                return await asyncio.to_thread(self.prepare, slot)
            except (StoreError, Unreachable):
                if not left:
                    raise
                await asyncio.sleep(PAUSE)

    async def beat(self, subject: str, data: bytes) -> bytes:
        """Take in a site's beat and tell it how it stands."""
        slot = subject.rpartition(".")[2]
        try:
            site = next((one for one in self.enrolment.sites() if one.slot == slot and one.state == "joined"), None)
        except StoreError as error:
            self._once(f"The list of sites cannot be read: {error}")
            return b""
        if site is None:
            return b""
        try:
            key = Ed25519PublicKey.from_public_bytes(site.identity)
            message = Message.read(data, key, ("beat",), self.study, site.site, COORDINATOR)
            content = message.content
            instance, since, number = str(content["instance"]), content["since"], content["number"]
            if type(number) is not int or type(since) is not int:
                raise TypeError
        except (VerificationError, KeyError, TypeError, ValueError):
            self.tell(f"A beat from {site.site} was thrown away: it is not signed by this site.")
            return b""
        other = bool(instance) and message.protocol != self.served  # who rehearses takes no part in the study, nor the reverse
        state = "other" if other else self.presence.beat(site.site, instance, since, number)
        if state == "second":
            self.tell(f"Two processes take part as {site.site}; the one that started first is told to end. Were its keys copied?")
        answer = {"instance": instance, "number": number, "state": state, "time": int(time.time())}
        return self._reply("beat", site.site, answer)

    async def _apply(self) -> None:
        await asyncio.sleep(GRACE)
        for _ in range(TRIES):
            try:
                await asyncio.to_thread(self.apply)
                self._said = ""
                return
            except Exception as error:  # an edge: nobody else would hear of it
                self._once(f"The hub could not follow the list of sites yet: {reason(error)}")
                await asyncio.sleep(0.5)
        self.tell("The hub does not know the site that joined last; it is told when the next one joins, or when serve is started again.")

    def _once(self, text: str) -> None:
        """Tell something, unless it was the last that was told so."""
        if text != self._said:
            self.tell(text)
        self._said = text

    def _reply(self, kind: str, to: str, content: Mapping[str, object]) -> bytes:
        return Message(kind, self.study, self.protocol, COORDINATOR, to, {}, content).signed(self.key)


def _self_signed(data: bytes) -> tuple[Message, bytes]:
    """Return a message that is signed by the very key that it names, and this key."""
    import json

    identity = bytes.fromhex(json.loads(data)["head"]["content"]["identity"])
    try:
        key = Ed25519PublicKey.from_public_bytes(identity)
    except (ValueError, UnsupportedAlgorithm):
        raise VerificationError("A request to join does not name a signing key.", "Use the invite as it is.") from None
    message = Message.unchecked(data, key)
    if message.kind != "join" or message.to != COORDINATOR:
        raise VerificationError("This is no request to join.", "Use the invite as it is.")
    return message, identity
