"""Write tasks, updates and refusals as signed messages, and read them back.

A message is a JSON header with a signature over its canonical form. The header names study, protocol, phase, round, attempt, stage, sender
and receiver, so that no message can be carried over to another place; what is long (parameters, sums) is named by the digests of its
parts. Whoever reads one is given the sender's key; nothing in a message is believed before its signature is checked.

Source: RFC 8785 (canonical JSON); DSSE 1.0 (what is signed, see `wardround.record.envelope`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround.engines.parts import Body
from wardround.record.entries import HEAD, NAME
from wardround.record.envelope import MESSAGE, check, sign
from wardround.study.canonical import canonical
from wardround.study.errors import VerificationError
from wardround.study.files import Data, blocks
from wardround.study.task import Ask, Receipt, Refusal, RoundClosed, Stage, Task, Update

COORDINATOR = "coordinator"
"""Name of the coordinator in messages; a colon keeps it apart from every site's."""

MOST_BYTES = 1_900_000
"""Longest message that the hub carries, with room for its own header."""

_REMEDY = "Report this to the coordinating centre; nothing was taken from it."


@dataclass(frozen=True)
class Message:
    """Hold one message.

    Attributes:
        kind: "task" and "ending" to a site; "update", "refusal", "approval", "decline", "leave", "record" and "taken" from one;
            "join", "welcome" and "beat" as requests and replies.
        study: name of the study.
        protocol: digest of the protocol, or empty before it is known.
        sender: name of the site, or `coordinator`.
        to: name of the receiver.
        turn: phase, round, attempt and stage, where it belongs to one.
        content: JSON values.
        body: what is long, by the digests of its parts; None for nothing.
    """

    kind: str
    study: str
    protocol: str
    sender: str
    to: str
    turn: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)
    body: Body | None = None

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """Return the bytes that travel: header and signature."""
        head = {name: getattr(self, name) for name in ("kind", "study", "protocol", "sender", "to")}
        head |= {"turn": dict(self.turn), "content": dict(self.content), "body": None if self.body is None else self.body.describe()}
        text = canonical(head)
        return _written(text, sign(key, MESSAGE, text))

    @classmethod
    def read(cls, data: bytes, key: Ed25519PublicKey, kinds: tuple[str, ...], study: str, sender: str, to: str) -> Message:
        """Return the message in these bytes.

        Args:
            data: as they came.
            key: of the expected sender.
            kinds: that are expected here.
            study: that it must belong to.
            sender: whose name must stand in it.
            to: who it must be for.

        Raises:
            VerificationError: malformed, not signed by this key, or of another study, sender, receiver or kind.
        """
        message = cls.unchecked(data, key)
        wrong = {"kind": message.kind not in kinds, "study": message.study != study}
        wrong |= {"sender": message.sender != sender, "receiver": message.to != to}
        for what, bad in wrong.items():
            if bad:
                raise VerificationError(f"A message is of another {what} than it was sent as.", _REMEDY)
        return message

    @classmethod
    def unchecked(cls, data: bytes, key: Ed25519PublicKey) -> Message:
        """Return a message whose signature is checked and nothing else.

        Raises:
            VerificationError: malformed, or not signed by this key.
        """
        try:
            outer = json.loads(data)
            head, text = outer["head"], canonical(outer["head"])
            check(key, MESSAGE, text, outer["signature"])
            if data != _written(text, outer["signature"]):
                raise ValueError
            body = None if head["body"] is None else Body.described(head["body"])
            texts = [head[name] for name in ("kind", "study", "protocol", "sender", "to")]
            if (
                not all(isinstance(text, str) for text in texts)
                or not isinstance(head["turn"], dict)
                or not isinstance(head["content"], dict)
            ):
                raise ValueError
            return cls(texts[0], texts[1], texts[2], texts[3], texts[4], head["turn"], head["content"], body)
        except VerificationError:
            raise VerificationError("A message is not signed by its sender.", _REMEDY) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise VerificationError("A message is not well formed.", _REMEDY) from None


def task_message(task: Task, body: Body | None, supplies: Mapping[str, Body] | None = None) -> Message:
    """Return the message that carries a task; what is asked travels as `body`, or is worked out from `supplies`."""
    content = {
        "due": task.due,
        "ask": task.ask,
        "roster": task.roster,
        "layout": task.layout,
        "relay": task.relay.decode(),
        "supplies": None if supplies is None else {name: one.describe() for name, one in supplies.items()},
        "head": list(task.head),
        "closed": [closing.described for closing in task.closed],
    }
    return Message("task", task.study, task.protocol, COORDINATOR, task.site, {**task.turn, "stage": task.stage}, content, body)


def task_of(message: Message) -> Task:
    """Return the task in a message, without what is asked.

    Raises:
        VerificationError: it does not have a task's fields.
    """
    turn, content = message.turn, message.content
    try:
        closed = tuple(RoundClosed.of(one) for one in content["closed"])
        size, root = content["head"]
        phase = turn["phase"] or ("-" if turn["stage"] == "close" else "")
        if turn["stage"] not in get_args(Stage) or not NAME.fits(phase) or not HEAD.fits(content["head"]):
            raise ValueError
        where = (turn["phase"], _whole(turn["round"]), _whole(turn["attempt"]), turn["stage"])
        due, ask, roster = float(content["due"]), content["ask"], content["roster"]
        passed = {"relay": content["relay"].encode(), "layout": content["layout"]}
        return Task(message.study, message.protocol, *where, message.to, due, ask, roster, (_whole(size), root), closed, **passed)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise VerificationError("A task is not well formed.", _REMEDY) from None


def asked(task: Task, data: Data) -> Task:
    """Return a task together with what it asks; whether that is what the header names, the gate checks.

    Raises:
        VerificationError: these bytes are not an ask.
    """
    ask = Ask.from_wire(data)
    return replace(task, body=ask, layout=ask.layout_digest)


def supplies_of(message: Message) -> dict[str, Body] | None:
    """Return where the supplies of a task lie; None where it has none.

    Raises:
        VerificationError: they are not described as they must be.
    """
    found = message.content.get("supplies")
    try:
        return None if found is None else {str(name): Body.described(one) for name, one in found.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise VerificationError("A task is not well formed.", _REMEDY) from None


def update_message(task: Task, update: Update, body: Body | None) -> Message:
    """Return the message that carries an update; its sums travel as `body`, what is said in another exchange travels here."""
    content: dict[str, Any] = {
        "task": update.task,
        "spent": dict(update.spent),
        "receipt": vars(update.receipt),
        "signature": update.signature,
    }
    if body is None:
        content["said"] = b"".join(blocks(update.body)).decode()
    return Message("update", task.study, task.protocol, update.site, COORDINATOR, {**task.turn, "stage": task.stage}, content, body)


def update_of(message: Message, body: Data) -> Update:
    """Return the update in a message.

    Raises:
        VerificationError: it does not have an update's fields.
    """
    content = message.content
    try:
        if not isinstance(content["task"], str) or not isinstance(content["signature"], str):
            raise TypeError
        return Update(content["task"], message.sender, body, dict(content["spent"]), Receipt(**content["receipt"]), content["signature"])
    except (ValueError, KeyError, TypeError):
        raise VerificationError("An update is not well formed.", _REMEDY) from None


def refusal_message(task: Task, refusal: Refusal) -> Message:
    """Return the message that carries a refusal."""
    named = ("task", "where", "reason", "remedy", "again")
    content = {name: getattr(refusal, name) for name in named}
    return Message("refusal", task.study, task.protocol, refusal.site, COORDINATOR, {**task.turn, "stage": task.stage}, content)


def refusal_of(message: Message) -> Refusal:
    """Return the refusal in a message.

    Raises:
        VerificationError: it does not have a refusal's fields.
    """
    content = message.content
    texts = [content.get(name) for name in ("task", "where", "reason", "remedy")]
    if not all(isinstance(text, str) for text in texts) or texts[1] not in ("accept", "answer", "release"):
        raise VerificationError("A refusal is not well formed.", _REMEDY)
    return Refusal(str(texts[0]), message.sender, texts[1], str(texts[2]), str(texts[3]), content.get("again") is True)


def _written(head: bytes, signature: str) -> bytes:
    """Return the one way in which a message is written, so that no byte of it can differ unnoticed."""
    return b'{"head":' + head + b',"signature":"' + signature.encode() + b'"}'


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value
