"""Somebody whose key is good no longer, good for one thing only, or no key at all, attacks a study; and a whole study runs under attack.

The study under attack comes to the model that its honest hospitals make in one process.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.engines.federated import federated_small, federation, open_protocol
from tests.support import rows, small
from tests.system.intruder import (
    HONEST,
    LISTENED,
    MALLORY,
    PUBLISHED,
    Line,
    Stage,
    approve_by_hand,
    late_gate,
    public_key,
    small_data,
    stage,
)
from wardround import centre
from wardround.engines import hubkeys
from wardround.engines.connection import tls_context
from wardround.record.envelope import APPROVAL, seal
from wardround.study.canonical import canonical
from wardround.study.errors import NotAdmitted, Unreachable


@pytest.fixture(scope="module")
def under_attack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


def test_the_key_of_an_invite_is_good_for_joining_and_nothing_else(under_attack: Stage) -> None:
    before = under_attack.made.serving._enrolment.sites()
    invite = json.loads(base64_payload(centre.invite(under_attack.made.centre, "nobody", 1)))
    places = {**under_attack.places(), "me": invite["slot"]}
    own = ("wr.small.{kind}.{me}", "wr.small.up.{me}.group.part", "$JS.API.CONSUMER.MSG.NEXT.TASKS.{me}", "$JS.API.DIRECT.GET.PARTS.{part}")
    kinds = [one.format(kind=kind, **places) for kind in ("reply", "beat", "task") for one in own]
    forbidden = [one.format(**places) for some in PUBLISHED.values() for one in some]
    since = under_attack.size_of_log()
    with under_attack.nothing_changes(), under_attack.with_key(bytes.fromhex(invite["admission"]), invite["slot"]) as line:
        complaints = line.publish_all([(subject, b"{}") for subject in [*kinds, *forbidden]])
        assert len(complaints) == len(kinds) + len(forbidden)
        heard = [one.format(**places) for some in LISTENED.values() for one in some]
        assert len(line.listen(*heard)) == len(heard)
        assert line.heard == []
    under_attack.logged(f"{invite['slot']}/nkey:", "Publish Violation", "Subscription Violation", since=since)
    assert under_attack.made.serving._enrolment.sites() == before


def base64_payload(sealed: bytes) -> bytes:
    """Return what is signed in an envelope."""
    import base64

    return base64.b64decode(json.loads(sealed)["payload"])


def test_a_key_that_nobody_let_in_does_not_connect(under_attack: Stage) -> None:
    since = under_attack.size_of_log()
    with under_attack.nothing_changes(), pytest.raises(NotAdmitted, match="does not admit this key"):
        under_attack.with_key(secrets.token_bytes(32), "slot001")
    under_attack.logged("authentication error", since=since)


def greeted(found: Stage) -> socket.socket:
    """Return a bare line on which the hub has said who it is."""
    settings = found.made.centre.settings
    bare = socket.create_connection((settings.address, settings.port), 5)
    assert bare.recv(65536).startswith(b"INFO ")
    return bare


@pytest.mark.parametrize(
    "named", [{}, {"user": "coordinator", "pass": "coordinator"}, {"auth_token": "token"}], ids=["nothing", "a name", "a token"]
)
def test_nobody_connects_without_a_key_and_with(named: dict[str, str], under_attack: Stage) -> None:
    since, settings = under_attack.size_of_log(), under_attack.made.centre.settings
    context = tls_context(under_attack.made.centre.authority)
    with under_attack.nothing_changes(), greeted(under_attack) as bare, context.wrap_socket(bare, server_hostname=settings.address) as line:
        line.sendall(b"CONNECT " + json.dumps({"verbose": False, "pedantic": False, **named}).encode() + b"\r\nPING\r\n")
        heard = b"".join(iter(lambda: line.recv(65536), b""))
    assert b"Authorization Violation" in heard and b"PONG" not in heard
    under_attack.logged("authentication error", since=since)


def test_the_hub_speaks_no_older_tls(under_attack: Stage) -> None:
    context = tls_context(under_attack.made.centre.authority)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    since = under_attack.size_of_log()
    with under_attack.nothing_changes(), greeted(under_attack) as bare, pytest.raises(ssl.SSLError, match=r"(?i)version"):
        context.wrap_socket(bare, server_hostname=under_attack.made.centre.settings.address)
    under_attack.logged("TLS handshake error", since=since)


def test_the_hub_speaks_nothing_in_the_clear(under_attack: Stage) -> None:
    with under_attack.nothing_changes(), greeted(under_attack) as bare:
        bare.sendall(b'CONNECT {"verbose":true,"tls_required":false}\r\nSUB > 1\r\nPING\r\n')
        said = b""
        while more := bare.recv(65536):  # until the hub hangs up
            said += more
    assert b"PONG" not in said and b"MSG" not in said


def test_a_hospital_speaks_to_no_hub_but_that_of_its_invite(under_attack: Stage, tmp_path: Path) -> None:
    with federation(tmp_path, open_protocol(), {}, run=False) as other, pytest.raises(Unreachable, match="not the one of the invite"):
        folder = under_attack.folder(MALLORY)
        Line(other.centre.settings.own_url, folder.membership.authority, hubkeys.seed(folder.hub_key), folder.membership.slot)


def test_a_hospital_that_approves_too_late_takes_no_part(under_attack: Stage) -> None:
    since = len(under_attack.notes())
    approve_by_hand(under_attack.late)
    under_attack.noted("it does not take part", since)
    assert [note for note in under_attack.notes()[since:] if note.startswith("late ")]
    assert "late" not in under_attack.send()
    under_attack.as_ever(under_attack.answers(HONEST))


def test_a_hospital_that_is_revoked_is_cut_off_at_once(under_attack: Stage) -> None:
    gate, line, since = late_gate(under_attack), under_attack.line("late"), under_attack.size_of_log()
    gate.start()
    until = time.monotonic() + 10
    while not under_attack.made.serving.presence.here("late"):
        assert time.monotonic() < until, gate.failed
        time.sleep(0.05)
    centre.cut_off(under_attack.made.centre, "late", "revoked")
    assert line.gone(10)
    gate.wait(30)
    assert [str(error) for error in gate.failed] == [
        "This site was cut off by the coordinating centre. Ask there why; nothing more leaves this site."
    ]
    with pytest.raises(NotAdmitted):
        under_attack.line("late")
    under_attack.logged("authentication error", public_key(under_attack.late), since=since)
    assert "late" not in under_attack.made.serving._members()
    under_attack.honest_round()
    line.close()


def envelope_of(key: Ed25519PrivateKey, protocol: str, site: str) -> dict[str, Any]:
    """Return a signed approval."""
    return seal(APPROVAL, canonical({"protocol": protocol, "site": site, "role": "tester"}), key)


def test_no_approval_counts_but_of_this_protocol_by_this_hospital(tmp_path: Path) -> None:
    with federation(tmp_path, open_protocol(), {"site0": rows(0), "site1": rows(1)}, run=False) as made:
        folder, other = made.gates["site0"].folder, made.gates["site1"].folder
        key, digest = folder.keys.signing, made.centre.protocol.digest
        bad: dict[str, dict[str, Any]] = {
            "another protocol": {"envelope": envelope_of(key, "sha256:" + "0" * 64, "site0")},
            "another hospital": {"envelope": envelope_of(key, digest, "site1")},
            "another signer": {"envelope": envelope_of(other.keys.signing, digest, "site0")},
            "another role": {"role": "somebody else"},
            "no envelope": {"envelope": "yes"},
            "another key": {"vkey": made.centre.signer.vkey},
            "no key": {"vkey": 5},
            "no entry": {"entry": "none"},
            "no head": {"head": 5},
        }
        for number, changes in enumerate(bad.values(), 1):
            approve_by_hand(folder, **changes)
            until = time.monotonic() + 10
            while len([note for note in _notes(made) if "site0 (approval) was thrown away" in note]) < number:
                assert time.monotonic() < until, (list(bad)[number - 1], _notes(made))
                made.serving.engine.listen(0.02)
                made.serving._settle_pending()
        assert made.serving.approved == frozenset()
        assert [entry["t"] for entry in made.serving._log.entries()] == ["protocol"]
        approve_by_hand(folder)
        approve_by_hand(other)
        made.serving.gather_approvals()
        assert made.serving.roster == ("site0", "site1")
        assert [entry["t"] for entry in made.serving._log.entries()] == ["protocol", *("join", "approval_seen") * 2]


def _notes(made: Any) -> list[str]:
    return [event.text for event in made.seen if hasattr(event, "text")]


def test_a_study_under_attack_comes_to_the_model_of_its_honest_hospitals(under_attack: Stage, tmp_path: Path) -> None:
    alone = small(tmp_path, under_attack.protocol, small_data()).run()
    over, under_way = threading.Event(), threading.Event()
    under_attack.honest_round()
    attacks = threading.Thread(target=_attack, args=(under_attack, [under_attack.held(site) for site in HONEST], under_way, over))
    attacks.start()
    assert under_way.wait(20)
    try:
        done = federated_small(under_attack.made).run()
    finally:
        over.set()
        attacks.join(20)
    assert not attacks.is_alive()
    assert {name: one.digest for name, one in done.items()} == {name: one.digest for name, one in alone.items()}
    under_attack.noted("A message from mallory was thrown away: A message is of another sender than it was sent as.", 0)


def _attack(found: Stage, old: list[bytes], under_way: threading.Event, over: threading.Event) -> None:
    """Try everything, again and again."""
    places = found.places()
    subjects = [subject.format(**places) for some in PUBLISHED.values() for subject in some]
    with found.line(MALLORY) as line:
        own = found.subjects.reply(line.owner)
        forged = [found.message("update", {"task": "sha256:none"}, sender=site) for site in HONEST]
        while not over.is_set():
            line.publish_all([(own, data) for data in (*forged, *old)])
            line.publish_all([(subject, b"{}") for subject in subjects])
            for site in HONEST:
                line.publish(own, b"", reply=found.subjects.reply(found.slot(site)), headers={"Nats-Msg-Id": site})
            under_way.set()
