"""Messages come back as they were sent; whatever was altered, or belongs elsewhere, is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.engines.messages import (
    COORDINATOR,
    Message,
    asked,
    refusal_message,
    refusal_of,
    task_message,
    task_of,
    update_message,
    update_of,
)
from wardround.engines.parts import SIZE, Body
from wardround.record.envelope import UPDATE, sign
from wardround.study.canonical import canonical
from wardround.study.errors import VerificationError
from wardround.study.layout import Term
from wardround.study.task import Ask, Receipt, Refusal, RoundClosed, Task, Update

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
HASH, DIGEST = "ab" * 32, "sha256:" + "cd" * 32
BODY = Body.of([b"x" * (SIZE + 1)])
WORDS = st.text(max_size=20).filter(lambda text: max(text, default="a") < "\ud800" or min(text) > "\udfff")
WHOLE = st.integers(0, 2**53 - 1)
DIGESTS = st.from_regex("sha256:[0-9a-f]{64}", fullmatch=True)

closings = st.builds(RoundClosed, WORDS, WHOLE, WHOLE, st.lists(WORDS, max_size=3).map(tuple), DIGESTS, DIGESTS, WORDS)
tasks = st.builds(
    Task,
    study=WORDS,
    protocol=DIGESTS,
    phase=st.from_regex("[A-Za-z][A-Za-z0-9_.-]{0,30}", fullmatch=True),
    round=WHOLE,
    attempt=WHOLE,
    stage=st.sampled_from(["answer", "close"]),
    site=WORDS,
    due=st.floats(0, 1e9),
    ask=DIGESTS,
    roster=DIGESTS,
    head=st.tuples(WHOLE, st.from_regex("[0-9a-f]{64}", fullmatch=True)),
    closed=st.lists(closings, max_size=3).map(tuple),
)


def task(**changes: Any) -> Task:
    stage: Literal["answer"] = "answer"
    made = Task("small", DIGEST, "train", 3, 0, stage, "north", 60.0, DIGEST, DIGEST, (7, HASH))
    return replace(made, **changes)


def update() -> Update:
    return Update(task().digest, "north", b"sums", {"epsilon": 0.5}, Receipt(HASH, 4, 5, HASH, DIGEST, HASH), "ee" * 64)


def read(data: bytes, kinds: tuple[str, ...] = ("task",), study: str = "small", sender: str = COORDINATOR, to: str = "north") -> Message:
    return Message.read(data, KEY.public_key(), kinds, study, sender, to)


@settings(max_examples=40)
@given(tasks)
def test_a_task_comes_back_as_it_was_sent(sent: Task) -> None:
    data = task_message(sent, BODY).signed(KEY)
    message = read(data, study=sent.study, to=sent.site)
    assert message.body == BODY
    assert task_of(message) == sent
    assert task_of(message).digest == sent.digest


def test_what_is_asked_comes_back_with_the_task() -> None:
    ask = Ask({"w": np.arange(3.0)}, (Term.sized("w", (3,), 1.0, 3),), {"train": True})
    sent = task(ask=ask.digest)
    found = asked(task_of(read(task_message(sent, BODY).signed(KEY))), ask.wire)
    assert found.body.digest == ask.digest == found.ask
    assert found.body.layout == ask.layout and found.body.options == {"train": True}


@pytest.mark.parametrize("wire", [b"", b"\0" * 8, b"\xff" * 40, b"\0\0\0\0\0\0\0\x02[]", b"\0\0\0\0\0\0\0\x02{}"])
def test_bytes_that_are_no_ask_are_refused(wire: bytes) -> None:
    with pytest.raises(VerificationError):
        asked(task(), wire)


@given(st.builds(Update, DIGESTS, WORDS, st.just(b"sums"), st.dictionaries(WORDS, st.floats(0, 1e6)), st.just(update().receipt), WORDS))
def test_an_update_comes_back_as_it_was_sent(sent: Update) -> None:
    data = update_message(task(), sent, BODY).signed(KEY)
    message = read(data, ("update",), sender=sent.site, to=COORDINATOR)
    assert update_of(message, b"sums") == sent
    assert message.turn == {"phase": "train", "round": 3, "attempt": 0, "stage": "answer"}


@given(st.builds(Refusal, DIGESTS, WORDS, st.sampled_from(["accept", "answer", "release"]), WORDS, WORDS, st.booleans()))
def test_a_refusal_comes_back_as_it_was_sent(sent: Refusal) -> None:
    data = refusal_message(task(), sent).signed(KEY)
    message = read(data, ("refusal",), sender=sent.site, to=COORDINATOR)
    assert message.body is None
    assert refusal_of(message) == sent


def test_a_body_s_name_comes_back_as_it_was_sent() -> None:
    for body in (None, Body.of([]), BODY):
        assert read(replace(task_message(task(), None), body=body).signed(KEY)).body == body


SENT = {
    "task": task_message(task(closed=(RoundClosed("train", 2, 0, (HASH,), DIGEST, DIGEST, "ab" * 64),), due=1e30), BODY).signed(KEY),
    "update": update_message(task(), update(), BODY).signed(KEY),
    "refusal": refusal_message(task(), Refusal(DIGEST, "north", "answer", "a tab\there, ü \x1f", "Look.", True)).signed(KEY),
}


@given(st.sampled_from(sorted(SENT)), st.data())
def test_any_flipped_byte_is_refused(kind: str, data: st.DataObject) -> None:
    good = SENT[kind]
    place, flip = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(1, 255))
    with pytest.raises(VerificationError):
        Message.unchecked(good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :], KEY.public_key())


@pytest.mark.parametrize("kind", sorted(SENT))
def test_every_single_bit_counts(kind: str) -> None:
    """Also those that would leave the JSON the same, such as the capital of a hex digit in an escape."""
    good, key = SENT[kind], KEY.public_key()
    assert Message.unchecked(good, key).kind == kind
    for place in range(len(good)):
        for flip in (0x01, 0x20):
            with pytest.raises(VerificationError):
                Message.unchecked(good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :], key)


@given(st.sampled_from(sorted(SENT)), st.data())
def test_a_message_cut_short_or_with_more_is_refused(kind: str, data: st.DataObject) -> None:
    good = SENT[kind]
    cut = good[: data.draw(st.integers(0, len(good) - 1))]
    for bad in (cut, good + b" ", good + data.draw(st.binary(min_size=1, max_size=9)), b" " + good, b"\xef\xbb\xbf" + good):
        with pytest.raises(VerificationError):
            Message.unchecked(bad, KEY.public_key())


def _spoilt(change: str) -> bytes:
    outer = json.loads(SENT["task"])
    match change:
        case "a word outside of what is signed":
            outer["more"] = 1
        case "a word in the head":
            outer["head"]["more"] = 1
        case "written with spaces":
            return json.dumps(outer).encode()
        case "written in another order":
            return b'{"signature":"%b","head":%b}' % (outer["signature"].encode(), canonical(outer["head"]))
        case "a word twice":
            return SENT["task"].replace(b'"kind":"task"', b'"kind":"beat","kind":"task"')
        case "no signature":
            del outer["signature"]
        case "a number as signature":
            outer["signature"] = 5
        case "a list":
            outer = [outer]
        case "not a number":
            outer["head"]["content"]["due"] = float("nan")
        case "half a letter":
            outer["head"]["sender"] = "\ud800"
        case "very deep":
            return b'{"head":' + b"[" * 100_000 + b"]" * 100_000 + b',"signature":""}'
    return b'{"head":' + json.dumps(outer["head"]).encode() + b"}" if change == "no signature" else _written(outer)


def _written(outer: Any) -> bytes:
    return json.dumps(outer, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass")


@pytest.mark.parametrize(
    "change",
    [
        "a word outside of what is signed",
        "a word in the head",
        "written with spaces",
        "written in another order",
        "a word twice",
        "no signature",
        "a number as signature",
        "a list",
        "not a number",
        "half a letter",
        "very deep",
    ],
)
def test_a_message_is_written_in_one_way_only(change: str) -> None:
    with pytest.raises(VerificationError):
        Message.unchecked(_spoilt(change), KEY.public_key())


def test_another_s_signature_and_another_meaning_are_refused() -> None:
    head = json.loads(SENT["task"])["head"]
    text = canonical(head)
    with pytest.raises(VerificationError, match="not signed"):
        read(task_message(task(), BODY).signed(OTHER))
    carried_over = b'{"head":' + text + b',"signature":"' + sign(KEY, UPDATE, text).encode() + b'"}'
    with pytest.raises(VerificationError, match="not signed"):
        read(carried_over)


@pytest.mark.parametrize(
    ("expected", "what"),
    [
        ({"kinds": ("update", "refusal")}, "kind"),
        ({"study": "other"}, "study"),
        ({"sender": "north"}, "sender"),
        ({"to": "south"}, "receiver"),
    ],
)
def test_a_genuine_message_in_another_place_is_refused(expected: dict[str, Any], what: str) -> None:
    assert read(SENT["task"]).kind == "task"
    with pytest.raises(VerificationError, match=f"another {what}"):
        read(SENT["task"], **expected)


def _signed(**changes: Any) -> Message:
    """Return a task's message, genuinely signed, with parts of it other than they should be."""
    made = task_message(task(), BODY)
    turn, content = {**made.turn, **changes.pop("turn", {})}, {**made.content, **changes.pop("content", {})}
    gone = changes.pop("without", None)
    content.pop(gone, None)
    turn.pop(gone, None)
    return Message.unchecked(replace(made, turn=turn, content=content, **changes).signed(KEY), KEY.public_key())


@pytest.mark.parametrize(
    "change",
    [
        *({"without": name} for name in ("phase", "round", "attempt", "stage", "due", "ask", "roster", "head", "closed")),
        *({"turn": {"round": value}} for value in (-1, "1", True, 0.5, None)),
        {"turn": {"attempt": -1}},
        *({"turn": {"stage": value}} for value in ("x", "", None, 5)),
        *({"turn": {"phase": value}} for value in (5, "x" * 300, "a\nb")),
        {"content": {"head": [1, "no hash"]}},
        *({"content": {"head": value}} for value in ([], [1], [1, HASH, 2], [-1, HASH], "ab", None)),
        {"content": {"due": "soon"}},
        {"content": {"closed": [{"phase": "train"}]}},
        {"content": {"closed": [5]}},
        {"content": {"closed": 5}},
    ],
)
def test_a_signed_task_with_other_fields_is_refused_in_a_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="A task is not well formed"):
        task_of(_signed(**change))


@pytest.mark.parametrize(
    "body",
    [
        {"size": 1, "parts": []},
        {"size": 0, "parts": [HASH]},
        {"size": SIZE + 1, "parts": [HASH]},
        {"size": -1, "parts": []},
        {"size": True, "parts": [HASH]},
        {"size": 1.5, "parts": [HASH]},
        {"size": 1, "parts": [HASH.upper()]},
        {"size": 1, "parts": ["../x"]},
        {"size": 1, "parts": [HASH + "\n"]},
        {"size": 1, "parts": HASH},
        {"size": 1},
        [],
        "x",
    ],
)
def test_a_signed_message_with_an_impossible_body_is_refused(body: Any) -> None:
    head = {**json.loads(SENT["task"])["head"], "body": body}
    text = canonical(head)
    data = b'{"head":' + text + b',"signature":"' + sign(KEY, "application/vnd.wardround.message+json", text).encode() + b'"}'
    with pytest.raises(VerificationError, match="not well formed"):
        Message.unchecked(data, KEY.public_key())


@pytest.mark.parametrize(
    "change", [{"where": "admit"}, {"where": "deadline"}, {"where": 1}, {"reason": None}, {"remedy": 5}, {"task": None}]
)
def test_a_refusal_that_a_site_cannot_make_is_refused(change: dict[str, Any]) -> None:
    made = refusal_message(task(), Refusal(DIGEST, "north", "answer", "no", "Look."))
    message = Message.unchecked(replace(made, content={**made.content, **change}).signed(KEY), KEY.public_key())
    with pytest.raises(VerificationError, match="A refusal is not well formed"):
        refusal_of(message)


@pytest.mark.parametrize(
    "change",
    [
        {"task": None},
        {"task": 5},
        {"signature": 5},
        {"signature": []},
        {"spent": 5},
        {"receipt": {"entry": HASH}},
        {"receipt": 5},
        {"receipt": {**vars(update().receipt), "more": 1}},
    ],
)
def test_an_update_with_other_fields_is_refused(change: dict[str, Any]) -> None:
    made = update_message(task(), update(), BODY)
    content = {name: value for name, value in {**made.content, **change}.items() if value is not None}
    message = Message.unchecked(replace(made, content=content).signed(KEY), KEY.public_key())
    with pytest.raises(VerificationError, match="An update is not well formed"):
        update_of(message, b"")
