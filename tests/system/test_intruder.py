"""Somebody who holds a hospital's keys, or none, attacks a study: nothing is stored that should not be, nothing changes, and it is noted.

Here the intruder holds the keys of mallory, a hospital that has joined and approved like the others. Each case is followed by a round that
the honest hospitals answer with the same sums as before. `test_intruder_keys.py` goes on with keys that are no good, and with a whole study
under attack.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.system.intruder import HONEST, LISTENED, MALLORY, PUBLISHED, Stage, public_key, stage
from wardround import hospital
from wardround.combining.fixedpoint import unpack
from wardround.engines import parts
from wardround.engines.messages import COORDINATOR, Message, task_message
from wardround.engines.parts import SIZE, Body
from wardround.record.envelope import UPDATE, sign
from wardround.study.errors import StoreError
from wardround.study.task import Refusal, Task, Update

TOO_MANY = 64 * 2**20 // SIZE + 1
"""Parts of what is larger than any record or upload that is agreed."""


@pytest.fixture(scope="module")
def under_attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


# What the hub itself refuses to a hospital's valid key.


@pytest.mark.parametrize("what", sorted(PUBLISHED))
def test_the_hub_denies_a_hospital_that(what: str, under_attack: Stage) -> None:
    line, since = under_attack.mallory, under_attack.size_of_log()
    subjects = [subject.format(**under_attack.places()) for subject in PUBLISHED[what]]
    with under_attack.nothing_changes():
        line.heard.clear()
        complaints = line.publish_all([(subject, b"{}") for subject in subjects])
        assert [subject for subject in subjects if not any(f'"{subject.lower()}"' in one.lower() for one in complaints)] == []
    assert line.heard == []
    key = public_key(under_attack.folder(MALLORY))
    under_attack.logged(*(f'slot004/nkey:{key}" - Publish Violation - Subject "{subject}"' for subject in subjects), since=since)


@pytest.mark.parametrize("group", ["", "together"], ids=["alone", "in a group"])
@pytest.mark.parametrize("what", sorted(LISTENED))
def test_the_hub_lets_no_hospital_listen_to(what: str, group: str, under_attack: Stage) -> None:
    line, since = under_attack.mallory, under_attack.size_of_log()
    subjects = [subject.format(**under_attack.places()) for subject in LISTENED[what]]
    line.heard.clear()
    with under_attack.nothing_changes():
        assert len(line.listen(*subjects, group=group)) == len(subjects)
    assert line.heard == []
    under_attack.logged(*(f'Subject "{subject}"' for subject in subjects), "Subscription Violation", since=since)


ALLOWED = {
    "a part": "$JS.API.DIRECT.GET.PARTS.{part}",
    "its next task": "$JS.API.CONSUMER.MSG.NEXT.TASKS.{me}",
    "its reply": "wr.small.reply.{me}",
    "its upload": "wr.small.up.{me}.group.part",
    "its beat": "wr.small.beat.{me}",
    "its request to join": "wr.small.join.{me}",
}
ELSEWHERE = (
    *("wr.small.reply.{other}", "wr.small.task.{other}", "wr.small.task.{me}", "wr.small.part.group.part", "{part}"),
    *("wr.small.up.{other}.group.part", "wr.small.beat.{other}", "_INBOX.{other}.a", "_INBOX.coordinator.a"),
    *("$JS.API.STREAM.PURGE.REPLIES", "$JS.API.STREAM.DELETE.TASKS", "$JS.API.CONSUMER.DELETE.TASKS.{other}"),
)


@pytest.mark.parametrize("what", sorted(ALLOWED))
def test_the_answer_to_a_request_cannot_be_sent_elsewhere(what: str, under_attack: Stage) -> None:
    places = under_attack.places()
    subject = ALLOWED[what].format(**places)
    with under_attack.nothing_changes(but=under_attack.own):
        for target in ELSEWHERE:
            under_attack.mallory.publish(subject, b"", reply=target.format(**places))


def test_a_part_that_is_there_is_not_written_over(under_attack: Stage) -> None:
    line, own = under_attack.mallory, f"{under_attack.subjects.uploads(under_attack.slot(MALLORY))}.{'1' * 32}.{'1' * 64}"
    with under_attack.nothing_changes(but=under_attack.own):
        assert "error" not in json.loads(line.asks(own, b"first").data)
        first = under_attack.stored()
        assert json.loads(line.asks(own, b"second").data)["error"]["err_code"] == 10077
        assert json.loads(under_attack.hub.request(under_attack.asked(), b"other"))["error"]["err_code"] == 10077, "not even by its owner"
        assert under_attack.stored() == first


TRICKS: dict[str, dict[str, str]] = {
    "rolls up its stream": {"Nats-Rollup": "all"},
    "rolls up its subject": {"Nats-Rollup": "sub"},
    "lets its message expire": {"Nats-TTL": "1s"},
    "schedules a message for another": {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": "wr.small.reply.{other}"},
    "counts": {"Nats-Incr": "+1"},
    "publishes a batch": {"Nats-Batch-Id": "a", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    "expects another stream": {"Nats-Expected-Stream": "TASKS"},
}


@pytest.mark.parametrize("what", sorted(TRICKS))
def test_the_hub_refuses_a_reply_whose_header(what: str, under_attack: Stage) -> None:
    headers = {name: value.format(**under_attack.places()) for name, value in TRICKS[what].items()}
    with under_attack.nothing_changes():
        line = under_attack.mallory
        assert "error" in json.loads(line.asks(under_attack.subjects.reply(line.owner), b"", headers).data)


def test_a_trace_of_a_message_cannot_be_sent_elsewhere(under_attack: Stage) -> None:
    places = under_attack.places()
    with under_attack.nothing_changes(but=under_attack.own):
        for target in ELSEWHERE:
            headers = {"Nats-Trace-Dest": target.format(**places)}
            under_attack.mallory.publish(under_attack.subjects.reply(places["me"]), b"", headers=headers)


def test_no_chosen_message_id_suppresses_anothers_reply(under_attack: Stage) -> None:
    """The ids are those that a careless coordinator could have given; the very reply comes again and must be kept."""
    tasks = under_attack.send()
    under_attack.as_ever(under_attack.answers(HONEST))
    reply, subject = under_attack.held("site0"), under_attack.subjects.reply(under_attack.slot(MALLORY))
    ids = [
        *(task.digest for task in tasks.values()),
        hashlib.sha256(reply).hexdigest(),
        f"sha256:{hashlib.sha256(reply).hexdigest()}",
        "site0",
    ]
    for one in ids:
        assert "error" not in json.loads(under_attack.mallory.asks(subject, b"", {"Nats-Msg-Id": one}).data)
    under_attack.made.serving.engine.send(list(tasks.values()))
    under_attack.as_ever(under_attack.answers(HONEST))
    assert under_attack.held("site0") == reply


def test_a_message_over_the_limit_cuts_the_line(under_attack: Stage) -> None:
    line, since = under_attack.line(MALLORY), under_attack.size_of_log()
    with under_attack.nothing_changes():
        line.oversize(under_attack.subjects.reply(line.owner), 3 * 2**20)
        assert line.gone(5)
    under_attack.logged("maximum payload", public_key(under_attack.folder(MALLORY)), since=since)
    line.close()


def test_uploads_beyond_what_was_agreed_fill_only_the_hospitals_own_place(under_attack: Stage) -> None:
    line = under_attack.mallory
    with under_attack.nothing_changes(but=under_attack.own), pytest.raises(StoreError, match="no room"):
        parts.put_data(line, under_attack.subjects.uploads(line.owner), os.urandom(67 * 2**20))


def test_a_flood_of_replies_leaves_room_for_others(under_attack: Stage) -> None:
    line, since = under_attack.mallory, len(under_attack.notes())
    refused = 0
    with under_attack.nothing_changes(but=under_attack.own):
        for _ in range(200):
            refused += "error" in json.loads(line.asks(under_attack.subjects.reply(line.owner), b"flood").data)
    assert refused >= 200 - 64
    under_attack.noted("A message from mallory was thrown away", since)


def test_a_flood_of_beats_and_requests_to_join_holds_nobody_up(under_attack: Stage) -> None:
    line, subjects = under_attack.mallory, under_attack.subjects
    flood = [(subjects.beat(line.owner), under_attack.beat(1)), (subjects.join(line.owner), b"{}")] * 300
    with under_attack.nothing_changes():
        line.publish_all(flood)
    assert all(under_attack.made.serving.presence.here(site) for site in HONEST)


# What the hub lets through and the coordinator throws away: messages that are not what they say.


def spoilt(data: bytes) -> bytes:
    """Return a message whose content was changed after it was signed."""
    return data.replace(b'"reason":"a"', b'"reason":"b"')


NOTHING = '{"head":%s,"signature":"00"}'
SPOKEN: dict[str, tuple[Callable[[Stage], bytes], str]] = {
    "another hospital's name": (lambda stage: stage.message("leave", {}, sender="site0"), "another sender"),
    "the coordinator's name": (lambda stage: stage.message("update", {}, sender=COORDINATOR), "another sender"),
    "a broken signature": (lambda stage: spoilt(stage.message("decline", {"reason": "a"})), "not signed by its sender"),
    "another hospital's old message": (lambda stage: stage.held("site0"), "not signed by its sender"),
    "another study": (lambda stage: stage.message("update", {}, study="other"), "another study"),
    "another receiver": (lambda stage: stage.message("update", {}, to="site0"), "another receiver"),
    "a coordinator's task": (lambda stage: stage.message("task", {}), "another kind"),
    "a coordinator's end of the study": (lambda stage: stage.message("ending", {"files": {}, "text": "over"}), "another kind"),
    "a coordinator's welcome": (lambda stage: stage.message("welcome", {}), "another kind"),
    "a beat in place of a reply": (lambda stage: stage.beat(1), "another kind"),
    "no JSON": (lambda stage: b"\xff\xfe\x00", "not well formed"),
    "JSON of another form": (lambda stage: b"[1, 2, 3]", "not well formed"),
    "JSON without end": (lambda stage: b"[" * 100_000, "not well formed"),
    "numbers without end": (lambda stage: (NOTHING % ("9" * 100_000)).encode(), "not well formed"),
    "numbers that JSON does not have": (lambda stage: (NOTHING % '{"kind":NaN}').encode(), "not well formed"),
    "half a letter": (lambda stage: (NOTHING % '{"kind":"\\ud800"}').encode(), "not well formed"),
    "no signature": (lambda stage: b'{"head":{},"signature":null}', "not signed by its sender"),
    "a record larger than agreed": (
        lambda stage: stage.message("record", {"checkpoint": "", "vkey": ""}, body=Body(TOO_MANY * SIZE, ("0" * 64,) * TOO_MANY)),
        "larger than agreed",
    ),
    "a record that was never uploaded": (
        lambda stage: stage.message("record", {"checkpoint": "", "vkey": ""}, body=Body(1, ("0" * 64,))),
        "is not there",
    ),
    "a late answer with an impossible round": (lambda stage: late(stage, {"phase": "moments", "round": -1, "attempt": 0}), "'round'"),
    "a late answer with an endless phase": (lambda stage: late(stage, {"phase": "m" * 10**6, "round": 0, "attempt": 0}), "'phase'"),
    "a late answer without a round": (lambda stage: late(stage, {}), "not well formed"),
}


def late(stage: Stage, turn: dict[str, object]) -> bytes:
    """Return an answer to a task that nobody waits for."""
    receipt = {"entry": "1" * 64, "index": 0, "size": 1, "root": "1" * 64, "commit": "sha256:" + "1" * 64, "salt": "1" * 64}
    return stage.message("update", {"task": "sha256:none", "spent": {}, "receipt": receipt, "signature": ""}, turn=turn)


@pytest.mark.parametrize("what", sorted(SPOKEN))
def test_the_coordinator_throws_away_a_message_with(what: str, under_attack: Stage) -> None:
    spoken, why = SPOKEN[what]
    since = len(under_attack.notes())
    with under_attack.nothing_changes(but=under_attack.own):
        under_attack.said(under_attack.mallory, spoken(under_attack))
        under_attack.noted(why, since)
    assert {site for site in (*HONEST, MALLORY)} <= under_attack.made.serving._members().keys()


def answer_of_mallory(stage: Stage, task: Task, **changes: Any) -> bytes:
    """Return an update of mallory's for a task that is waited for; `changes` go into the message's head."""
    receipt = {"entry": "1" * 64, "index": 0, "size": 1, "root": "1" * 64, "commit": "sha256:" + "1" * 64, "salt": "1" * 64}
    content = {"task": task.digest, "spent": {}, "receipt": receipt, "signature": "0" * 128}
    return stage.message("update", **{"content": content, "turn": {**task.turn, "stage": task.stage}, **changes})


def unlike_its_name(stage: Stage, task: Task) -> bytes:
    """Put a part up that is not what its name says, and return the update that names it."""
    body = Body.of([b"as named"])
    uploads = stage.subjects.uploads(stage.slot(MALLORY))
    stage.mallory.asks(f"{uploads}.{body.group}.{body.parts[0]}", b"as found")
    return answer_of_mallory(stage, task, body=body)


ANSWERED: dict[str, tuple[Callable[[Stage, Task], bytes], str]] = {
    "for another protocol": (lambda stage, task: answer_of_mallory(stage, task, protocol="sha256:" + "0" * 64), "another round"),
    "of another round": (
        lambda stage, task: answer_of_mallory(stage, task, turn={**task.turn, "stage": "answer", "round": 7}),
        "another round",
    ),
    "without a turn": (lambda stage, task: answer_of_mallory(stage, task, turn={}), "another round"),
    "larger than agreed": (
        lambda stage, task: answer_of_mallory(stage, task, body=Body(TOO_MANY * SIZE, ("0" * 64,) * TOO_MANY)),
        "larger than agreed",
    ),
    "that was never uploaded": (lambda stage, task: answer_of_mallory(stage, task, body=Body(9, ("0" * 64,))), "is not there"),
    "with an altered part": (unlike_its_name, "is not what its name says"),
    "without a receipt": (
        lambda stage, task: answer_of_mallory(stage, task, content={"task": task.digest, "spent": {}, "receipt": [], "signature": ""}),
        "not well formed",
    ),
}


@pytest.mark.parametrize("what", sorted(ANSWERED))
def test_the_round_refuses_by_name_an_answer(what: str, under_attack: Stage) -> None:
    make, why = ANSWERED[what]
    under_attack.beats()
    task = under_attack.send()[MALLORY]
    under_attack.said(under_attack.mallory, make(under_attack, task))
    found = under_attack.answers((*HONEST, MALLORY))
    refusal = found[MALLORY]
    assert isinstance(refusal, Refusal) and refusal.where == "admit" and why in refusal.reason
    under_attack.as_ever(found)
    under_attack.honest_round()


@pytest.mark.parametrize("own", [False, True], ids=["of another task", "by itself, of nothing"])
def test_sums_without_the_hospitals_signature_for_this_very_task_are_not_admitted(own: bool, under_attack: Stage) -> None:
    under_attack.beats()
    task = under_attack.send()[MALLORY]
    found = under_attack.answers(HONEST)
    sums = found["site0"]
    assert isinstance(sums, Update)
    stolen = replace(sums, task=task.digest, site=MALLORY)
    if own:
        stolen = replace(stolen, signature=sign(under_attack.folder(MALLORY).keys.signing, UPDATE, sums.signed_part()))
    admitted = under_attack.book.admit(task, stolen, unpack)
    assert isinstance(admitted, Refusal) and admitted.site == MALLORY
    under_attack.made.serving.store.connection.rollback()
    under_attack.honest_round()


def test_an_old_answer_in_a_later_round_is_recorded_and_not_used(under_attack: Stage) -> None:
    """The hospital's own signature is good; the round that it belongs to is over."""
    under_attack.honest_round()
    old, since = under_attack.held("site0"), len(under_attack.notes())
    with under_attack.line("site0") as line:
        under_attack.send()
        under_attack.said(line, old)
        under_attack.as_ever(under_attack.answers(HONEST))
    under_attack.noted("site0 answered moments, round 1, after it had closed; recorded, not used", since)


def test_beats_are_believed_from_their_hospital_and_once(under_attack: Stage) -> None:
    line, since = under_attack.mallory, len(under_attack.notes())
    subject, presence = under_attack.subjects.beat(line.owner), under_attack.made.serving.presence
    with under_attack.nothing_changes():
        line.publish(subject, under_attack.beat(1, signer="site0"))
        under_attack.noted("A beat from mallory was thrown away", since)
        number = next(under_attack.numbers)
        states = [under_attack.state(line.asks(subject, under_attack.beat(number))) for _ in range(2)]
        silent = presence.silent(MALLORY)
        assert states == ["ok", "replay"] and silent > 0
        assert under_attack.state(line.asks(subject, under_attack.beat(number - 1))) == "replay"
        assert under_attack.state(line.asks(subject, under_attack.beat(1, "somebody else"))) == "second"
        assert presence.silent(MALLORY) > silent, "neither counts as a sign of life"
        for content in ({}, {"instance": "a", "since": 1, "number": "b"}, {"instance": "a", "since": 1, "number": 1e300}):
            before = len(under_attack.notes())
            line.publish(subject, under_attack.message("beat", content))
            under_attack.noted("A beat from mallory was thrown away", before)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"invite": "0" * 32}, "not known here"),
        ({"sender": "site0"}, "not known here"),
        ({}, "used already"),
        ({"study": "other"}, "another study or place"),
        ({"slot": "slot001"}, "another study or place"),
        ({"hub_key": "Unot a key"}, "another study or place"),
        ({"identity": "00"}, "signing key"),
        ({"identity": 5}, "not well formed"),
        ({"kind": "leave"}, "no request to join"),
    ],
    ids=[
        *("an invite it made up", "another hospital's name", "its own invite again, for other keys", "another study's invite"),
        *("another place", "no key for the hub", "half a signing key", "no signing key", "another kind of message"),
    ],
)
def test_a_hospital_that_is_in_lets_nobody_in_with(changes: dict[str, Any], why: str, under_attack: Stage) -> None:
    line, since = under_attack.mallory, len(under_attack.notes())
    key = Ed25519PrivateKey.generate()
    content = {
        "invite": under_attack.folder(MALLORY).membership.invite,
        "slot": line.owner,
        "identity": key.public_key().public_bytes_raw().hex(),
        "hub_key": public_key(under_attack.folder("site0")),
    }
    head: dict[str, Any] = {"kind": "join", "study": "small", "protocol": "", "sender": MALLORY, "to": COORDINATOR}
    head |= {name: value for name, value in changes.items() if name in head}
    content |= {name: value for name, value in changes.items() if name in content}
    with under_attack.nothing_changes():
        before = under_attack.made.serving._enrolment.sites()
        line.publish(under_attack.subjects.join(line.owner), Message(**head, content=content).signed(key))
        under_attack.noted(why, since)
        assert under_attack.made.serving._enrolment.sites() == before


# What hospitals throw away: tasks that are not their coordinator's, though they lie in their queue.


TASKED: dict[str, tuple[Callable[[Stage, Message], bytes], str]] = {
    "that another hospital signed": (lambda stage, genuine: genuine.signed(stage.folder(MALLORY).keys.signing), "not signed by its sender"),
    "of another hospital": (lambda stage, genuine: replace(genuine, to="site1").signed(stage.made.centre.key), "another receiver"),
    "of another study": (lambda stage, genuine: replace(genuine, study="other").signed(stage.made.centre.key), "another study"),
    "of another protocol": (
        lambda stage, genuine: replace(genuine, protocol="sha256:" + "0" * 64).signed(stage.made.centre.key),
        "another protocol than this site approved",
    ),
    "of another kind": (lambda stage, genuine: replace(genuine, kind="welcome").signed(stage.made.centre.key), "another kind"),
    "without form": (lambda stage, genuine: b"[" * 100_000, "not well formed"),
    "without content": (lambda stage, genuine: replace(genuine, content={}).signed(stage.made.centre.key), "not well formed"),
}


@pytest.mark.parametrize("what", sorted(TASKED))
def test_a_hospital_throws_away_a_task(what: str, under_attack: Stage) -> None:
    forge, why = TASKED[what]
    gate = under_attack.made.gates["site0"]
    task = replace(under_attack.send()["site0"], attempt=10**6)
    under_attack.as_ever(under_attack.answers(HONEST))
    said, left = len(gate.said), len(hospital.entries(gate.folder))
    data = forge(under_attack, task_message(task, Body.of([task.body.wire])))
    under_attack.hub.run(under_attack.hub.store(under_attack.subjects.task(under_attack.slot("site0")), data))
    until = time.monotonic() + 5
    while not any(why in line for line in gate.said[said:]):
        assert time.monotonic() < until, gate.said[said:]
        time.sleep(0.01)
    assert len(hospital.entries(gate.folder)) == left
    under_attack.honest_round()
