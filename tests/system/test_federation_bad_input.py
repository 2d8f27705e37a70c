"""What goes wrong between hospitals gets a clear sentence and loses nothing: invites, clocks, parts, disks, hubs, snapshots, rules."""

from __future__ import annotations

import base64
import datetime
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.engines.federated import POLICY, Federation, Gate, bring, federated_small, federation, let_in, new_centre, open_protocol, worker
from tests.support import PHASES, rows, small
from tests.system.trouble import Rounds, wait_until
from wardround import centre, hospital
from wardround.coordinator import events
from wardround.coordinator.folder import Folder
from wardround.data.snapshot import write_snapshot
from wardround.engines.parts import Body
from wardround.engines.subjects import REPLIES
from wardround.record.envelope import INVITE, seal
from wardround.record.note import Signer
from wardround.serving import Serving
from wardround.site.folder import SiteFolder
from wardround.site.gate import Brought
from wardround.study.canonical import canonical
from wardround.study.errors import NotAdmitted, PolicyRefused, ProtocolError, StoreError, VerificationError, WardroundError
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal, Update

ROOT = Path(__file__).parents[2]
SITES = ("site0", "site1", "site2")
SHIFTED = """import sys, time
real, shift = time.time, float(sys.argv[1])
time.time = lambda: real() + shift
from wardround.cli.main import main
sys.argv = ["wardround", *sys.argv[2:]]
main()"""
GATE = """import sys
from pathlib import Path
from tests.engines.federated import worker
from wardround import hospital
from wardround.data.snapshot import read_snapshot
from wardround.data.snapshot import write_snapshot
from wardround.site.folder import SiteFolder
from wardround.study.protocol import Protocol
folder = SiteFolder(Path(sys.argv[1]))
hospital.take_part(folder, lambda text: print(text, flush=True), worker(read_snapshot(folder.snapshot), folder.protocol))"""


def started(script: str, *words: object) -> subprocess.Popen[str]:
    """Start a process of its own."""
    command = [sys.executable, "-c", script, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "COLUMNS": "1000"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def at_another_time(seconds: float, *words: object) -> str:
    """Run a command on a machine whose clock is wrong, and return what it says."""
    said, _ = started(SHIFTED, seconds, *words).communicate(timeout=60)
    return said


# Invites


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("open"), data={}) as made:
        yield made


def joining(made: Federation) -> list[str]:
    return [one.site for one in made.serving._enrolment.sites()]


def test_an_expired_invite(open_house: Federation, tmp_path: Path) -> None:
    (tmp_path / "invite").write_bytes(centre.invite(open_house.centre, "expired", -0.01))
    with pytest.raises(NotAdmitted, match=r"This invite has expired, or this machine's clock is wrong. Ask the coordinating centre"):
        hospital.join(tmp_path / "site", tmp_path / "invite")
    said = at_another_time(-3600, "site", "join", tmp_path / "invite", "--dir", tmp_path / "late")
    assert "This invite has expired." in said, "the coordinator's clock counts"
    assert "expired" not in joining(open_house)


def test_a_used_invite_is_good_for_its_own_folder_only(open_house: Federation, tmp_path: Path) -> None:
    (tmp_path / "invite").write_bytes(centre.invite(open_house.centre, "used", 1))
    made = hospital.join(tmp_path / "site", tmp_path / "invite")
    keys = made.keys.to_bytes()
    again = hospital.join(tmp_path / "site", tmp_path / "invite")
    assert again.keys.to_bytes() == keys, "the same command again loses nothing"
    with pytest.raises(NotAdmitted, match=r"This invite was used already, or a newer one took its place. If it was not you, say so"):
        hospital.join(tmp_path / "other", tmp_path / "invite")
    known = open_house.serving._enrolment.site("used")
    assert known is not None and known.identity == made.keys.public.public_bytes_raw()


def test_an_invite_that_a_newer_one_replaced(open_house: Federation, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(centre.invite(open_house.centre, "replaced", 1))
    (tmp_path / "new").write_bytes(centre.invite(open_house.centre, "replaced", 1))
    with pytest.raises(NotAdmitted, match="a newer one took its place"):
        hospital.join(tmp_path / "site", tmp_path / "old")
    hospital.join(tmp_path / "site", tmp_path / "new")
    assert "replaced" in joining(open_house)


def payload(invite: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(invite)["payload"]))
    return found


def resealed(invite: bytes, **changes: object) -> bytes:
    """Return an invite that somebody else signed, in his own name."""
    key = Ed25519PrivateKey.generate()
    content = {**payload(invite), "coordinator": Signer("centre/small", key).vkey, **changes}
    return json.dumps(seal(INVITE, canonical(content), key)).encode()


@pytest.mark.parametrize(
    ("changes", "wrong", "why"),
    [
        ({}, VerificationError, "not signed by its sender"),
        ({"site": "somebody"}, VerificationError, "not signed by its sender"),
        ({"admission": "00" * 32}, NotAdmitted, "used already"),
    ],
    ids=["of a genuine one", "for another hospital", "made up"],
)
def test_a_forged_invite(changes: dict[str, str], wrong: type[WardroundError], why: str, open_house: Federation, tmp_path: Path) -> None:
    """It can only be told from a genuine one by its fingerprint; the hub and the coordinator tell it all the same."""
    name = "forged" + "".join(changes)
    (tmp_path / "invite").write_bytes(resealed(centre.invite(open_house.centre, name, 1), **changes))
    with pytest.raises(wrong, match=why):
        hospital.join(tmp_path / "site", tmp_path / "invite")
    assert not (tmp_path / "site" / "membership.json").exists()
    assert "somebody" not in joining(open_house)


@pytest.mark.parametrize("what", ["study", "site", "slot", "url", "authority", "protocol", "invite", "expires", "admission", "coordinator"])
def test_an_invite_that_was_altered(what: str, open_house: Federation, tmp_path: Path) -> None:
    sealed = json.loads(centre.invite(open_house.centre, "altered", 1))
    content = json.loads(base64.b64decode(sealed["payload"]))
    content[what] = content[what] + (1 if what == "expires" else "x")
    (tmp_path / "invite").write_text(json.dumps({**sealed, "payload": base64.b64encode(canonical(content)).decode()}))
    with pytest.raises(VerificationError, match="is not a genuine invite, or it was altered on the way"):
        hospital.join(tmp_path / "site", tmp_path / "invite")
    assert "altered" not in joining(open_house)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b'{"payload":"AA=="}', b"{" * 10_000], ids=["empty", "no text", "list", "cut", "deep"]
)
def test_a_file_that_is_no_invite(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "invite").write_bytes(data)
    with pytest.raises(VerificationError, match="is not a genuine invite"):
        hospital.join(tmp_path / "site", tmp_path / "invite")


# Clocks


def test_a_wrong_clock_is_found_at_the_door_and_the_same_invite_goes_on(open_house: Federation, tmp_path: Path) -> None:
    (tmp_path / "invite").write_bytes(centre.invite(open_house.centre, "fast", 1))
    said = at_another_time(600, "site", "join", tmp_path / "invite", "--dir", tmp_path / "site")
    assert (
        "This machine's clock differs from the coordinator's by more than five minutes." in said
        and "Set the clock, then join again." in said
    )
    assert hospital.join(tmp_path / "site", tmp_path / "invite").membership.site == "fast"


# A round: what is damaged on its way is refused with a sentence, and the next attempt heals it.


class Apart:
    """Be a hospital whose gate is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self.process = started(GATE, folder)
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self.lines.extend, args=(self.process.stdout,))
        self._reader.start()

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Running(Rounds):
    """Hold a study that is under way, and the hospital that is a process of its own."""

    apart: Apart


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("running")
    with federation(path, open_protocol(rounds={"quorum": 2, "due_seconds": 60}), run=False) as made, ExitStack() as stack:
        for site in SITES:
            made.gates[site].start()
        apart = Apart(made.gates["site3"].folder.path)
        stack.callback(apart.close)
        made.serving.gather_approvals()
        yield Running(made, made.serving.book(), apart=apart)


def said(rounds: Rounds, site: str, text: str, since: int = 0) -> None:
    """Wait until a hospital has said something."""
    gate = rounds.made.gates[site]
    wait_until(lambda: any(text in line for line in gate.said[since:]), said=lambda: (gate.said[since:], gate.failed))


def test_a_wrong_clock_is_found_in_a_beat(running: Running, tmp_path: Path) -> None:
    folder = bring(tmp_path / "slow", "slow", rows(6), running.protocol)
    let_in(running.made.centre, folder, "slow")
    told = at_another_time(-600, "site", "run", "--dir", folder.path)
    assert "This machine's clock differs from the coordinator's by -10 minutes." in told and "Set the clock of this machine" in told


def fresh(running: Running) -> None:
    """See that all is well, and have the hub forget what was sent; the next question finds the hub as it is then."""
    assert running.answered(SITES)
    engine = running.made.serving.engine
    engine._forget()
    engine._last = frozenset()


@pytest.mark.parametrize(
    "damage", [lambda wire: wire[:-1] + b"?", lambda wire: wire[:-1], lambda wire: b""], ids=["altered", "cut", "empty"]
)
def test_a_part_that_was_damaged_on_the_hub(damage: Callable[[bytes], bytes], running: Running) -> None:
    fresh(running)
    wire = running.ask()[1].wire
    running.hub.run(running.hub.store(running.asked(), damage(wire)))
    running.send()
    found = running.answers(SITES)
    for reply in found.values():
        assert isinstance(reply, Refusal) and reply.where == "accept" and reply.again
        assert (reply.reason, reply.remedy) == (
            "A part of what was sent is not what its name says.",
            "Report this to the coordinating centre.",
        )
    assert running.answered(SITES)


def test_a_part_that_the_hub_lost(running: Running) -> None:
    fresh(running)
    since, ask = len(running.made.gates["site0"].said), running.ask()[1]
    running.made.serving.engine._stored[ask.digest] = Body.of([ask.wire])  # as after a hub's disk was replaced by an older copy
    running.send()
    said(running, "site0", "Waiting: The hub does not have all of what was named.", since)
    assert running.answered(SITES)


def test_an_upload_that_was_damaged_on_the_hub(running: Running) -> None:
    running.send()
    update = running.answers(SITES)["site0"]
    assert isinstance(update, Update) and isinstance(update.body, bytes)
    fresh(running)
    body, slot = Body.of([update.body]), running.made.gates["site0"].folder.membership.slot
    running.hub.run(running.hub.store(f"{running.subjects.uploads(slot)}.{body.group}.{body.parts[0]}", b"damaged"))
    running.send()
    found = running.answers(SITES)
    refusal = found["site0"]
    assert isinstance(refusal, Refusal) and refusal.reason == "A part of what was sent is not what its name says"
    assert isinstance(found["site1"], Update)
    assert running.answered(SITES)


# Disks


def limit(rounds: Rounds, stream: str, most: int) -> int:
    """Give a stream on the hub so many bytes, and return how many it had."""
    config = rounds.hub.api(f"$JS.API.STREAM.INFO.{stream}")["config"]
    found = rounds.hub.api(f"$JS.API.STREAM.UPDATE.{stream}", {**config, "max_bytes": most})
    assert "error" not in found, found
    return int(config["max_bytes"])


@contextmanager
def too_small(rounds: Rounds, stream: str) -> Iterator[None]:
    """Leave no room in a stream."""
    before = limit(rounds, stream, 1)
    try:
        yield
    finally:
        limit(rounds, stream, before)


@pytest.mark.parametrize(("stream", "kept"), [("UP_slot001", SITES[:1]), (REPLIES, SITES)])
def test_a_hub_without_room_for_answers_keeps_hospitals_waiting(stream: str, kept: tuple[str, ...], running: Running) -> None:
    fresh(running)
    with too_small(running, stream):
        running.send()
        assert not set(kept) & running.answers((), 1.5).keys()
        said(running, "site0", "Waiting: The hub has no room for this.")
    assert all(isinstance(reply, Update) for reply in running.answers(kept).values()), "the same answers, without asking again"
    assert running.answered(SITES)


def test_a_hub_without_room_for_questions_ends_the_command_with_a_sentence(running: Running) -> None:
    fresh(running)
    with too_small(running, "PARTS"), pytest.raises(StoreError, match=r"The hub has no room for this. Room has to be made"):
        running.send()
    assert running.answered(SITES)


@contextmanager
def no_room(process: subprocess.Popen[str], free: int) -> Iterator[None]:
    """Let a process write no file beyond so many bytes, as on a full disk."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (free, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it may have ended
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_at_a_hospital(running: Running) -> None:
    apart = running.apart
    with no_room(apart.process, 1):
        running.send()
        wait_until(lambda: any("this site's disk refused" in one and "Make room." in one for one in apart.lines), said=lambda: apart.lines)
        assert apart.process.poll() is None
    assert isinstance(running.answers(("site3",))["site3"], Update), "the same task, without asking again"
    assert running.answered((*SITES, "site3"))


def long_study() -> Protocol:
    """Return a study that takes long enough to be disturbed."""
    return open_protocol(phases=[PHASES[0], {**PHASES[1], "rounds": 25}, *PHASES[2:]])


def alone(path: Path, agreed: Protocol) -> dict[str, str]:
    """Return what each phase comes to in one process."""
    path.mkdir()
    return {name: done.digest for name, done in small(path, agreed).run().items()}


def test_a_full_disk_at_the_coordinator_ends_it_with_a_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    agreed = long_study()
    with federation(tmp_path, agreed) as made:
        made.serving.close()
        serve = ("coordinator", "serve", made.centre.path)
        first = started(SHIFTED, 0, *serve)
        assert first.stdout is not None
        lines = []
        for line in first.stdout:
            lines.append(line)
            if "train" in line:
                break
        with no_room(first, 4096):
            rest, _ = first.communicate(timeout=60)
        assert first.returncode == 2, (lines, rest)
        assert "could not be saved" in rest and "Make room on the disk, then run the same command again." in rest
        second = started(SHIFTED, 0, *serve)
        text, _ = second.communicate(timeout=100)
        assert second.returncode == 0, text
        result = json.loads((made.centre.path / "result.json").read_text())
        assert result["model_digest"] == alone(tmp_path / "alone", agreed)["train"]
        made.serving = Serving(Folder(made.centre.path), 0, made.seen.append)


# The hub


def test_hospitals_wait_for_a_hub_that_is_not_there_yet(tmp_path: Path) -> None:
    with federation(tmp_path, run=False) as made:
        made.serving.close()
        for gate in made.gates.values():
            gate.start()
        for gate in made.gates.values():
            wait_until(lambda gate=gate: any("Waiting: Nothing answers at tls://127.0.0.1" in one for one in gate.said))  # type: ignore[misc]
        made.serving = Serving(Folder(made.centre.path), 0, made.seen.append)
        done = federated_small(made).run()
    assert {name: one.digest for name, one in done.items()} == alone(tmp_path / "alone", open_protocol())


def test_a_hub_that_is_killed_in_a_round_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    agreed = long_study()
    with federation(tmp_path, agreed) as made:
        study = federated_small(made)
        killer = threading.Thread(target=_kill_hub, args=(made,))
        killer.start()
        done = study.run()
        killer.join()
        assert {name: one.digest for name, one in done.items()} == alone(tmp_path / "alone", agreed)
        assert Rounds(made, study.book).notes().count("The hub ended and is started again.") == 2


def _kill_hub(made: Federation) -> None:
    """Kill the hub in the third round and in the twelfth."""
    for number in (3, 12):
        wait_until(lambda number=number: sum(isinstance(one, events.RoundClosed) for one in made.seen) >= number, 60)  # type: ignore[misc]
        process = made.serving._keeper._process
        assert process is not None
        process.kill()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    made = new_centre(tmp_path / "centre", open_protocol())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", made.settings.port))
        with pytest.raises(StoreError, match=r"The hub does not start. See .*nats.log: the port may be taken"):
            Serving(made, 0, lambda event: None)


# Two of one


def test_two_processes_in_one_folder(running: Running) -> None:
    gate = running.made.gates["site0"]
    with pytest.raises(StoreError, match=r"Another process takes part as this site here. Wait for it to end, or stop it"):
        hospital.take_part(SiteFolder(gate.folder.path), lambda text: None, worker(gate.data, gate.agreed))
    assert running.answered(SITES)


def test_of_two_processes_with_one_hospitals_keys_the_one_that_started_last_goes_on(running: Running, tmp_path: Path) -> None:
    first = running.made.gates["site0"]
    shutil.copytree(first.folder.path, tmp_path / "copy")
    second = Gate("site0", SiteFolder(tmp_path / "copy"), first.data, first.agreed)
    second.start()
    try:
        first.wait(30)
        assert [str(error) for error in first.failed] == [
            "Another process takes part as this site. Stop the other one first. If there is none, its keys were copied: tell the"
            " coordinating centre to revoke this site."
        ]
        assert running.answered(SITES)
    finally:
        second.stop()
    first.failed.clear()
    first.start()
    wait_until(lambda: running.made.serving.presence.here("site0"))
    assert running.answered(SITES)


# What a hospital agreed to, and what it allows


@pytest.fixture(scope="module")
def approved(open_house: Federation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a hospital that has joined and approved, and does not run."""
    folder = bring(tmp_path_factory.mktemp("approved") / "ready", "ready", rows(1), open_house.centre.protocol)
    let_in(open_house.centre, folder, "ready")
    return folder.path


@pytest.fixture
def ready(approved: Path, open_house: Federation, tmp_path: Path) -> Gate:
    """Return a copy of that hospital."""
    shutil.copytree(approved, tmp_path / "ready")
    return Gate("ready", SiteFolder(tmp_path / "ready"), rows(1), open_house.centre.protocol)


def ends_with(gate: Gate, wrong: type[WardroundError], text: str) -> None:
    """Run a hospital, and see that it ends with a sentence before anything leaves."""
    before = hospital.entries(gate.folder)
    gate.start()
    gate.wait(20)
    assert [type(error) for error in gate.failed] == [wrong] and text in str(gate.failed[0]), gate.failed
    assert hospital.entries(gate.folder) == before


@pytest.mark.parametrize("file", ["columns.safetensors", "snapshot.json"])
def test_a_snapshot_that_was_altered_after_the_approval(file: str, ready: Gate) -> None:
    place = ready.folder.snapshot / file
    place.chmod(0o600)
    place.write_bytes(place.read_bytes()[:-1] + b" ")
    ends_with(ready, VerificationError, "the snapshot was changed after it was made. Prepare the site again, look at it, and approve anew.")


def test_a_snapshot_that_is_not_there(ready: Gate) -> None:
    shutil.rmtree(ready.folder.snapshot)
    ends_with(ready, VerificationError, "this is no whole snapshot (No such file or directory). Prepare the site again")


def test_a_snapshot_that_was_prepared_anew_after_the_approval(ready: Gate) -> None:
    dataset = write_snapshot(rows(2, 80), ready.agreed.contract, "table", ready.folder.snapshots)[0]
    ready.folder.bring(Brought(dataset.digest, dataset.patients, len(dataset.rows("train")), "table"))
    ends_with(ready, PolicyRefused, "The snapshot was changed after the approval. Approve again: wardround site approve.")
    hospital.approve(ready.folder, "tester")
    assert hospital.status(ready.folder)["text"] == "approved (tester)"


def test_a_protocol_that_was_altered_at_the_hospital(ready: Gate) -> None:
    place = ready.folder.path / "protocol.json"
    place.write_bytes(place.read_bytes().replace(b'"Test."', b'"Best."'))
    gate = Gate(ready.name, SiteFolder(ready.folder.path), ready.data, ready.agreed)
    gate.start()
    gate.wait(20)
    assert [type(error) for error in gate.failed] == [VerificationError] and "is not the protocol of the invite. Join again" in str(
        gate.failed[0]
    )


def test_an_approval_that_was_never_given(ready: Gate) -> None:
    hospital.refuse(ready.folder, "no")
    ends_with(ready, PolicyRefused, "This site refused the protocol (no). To take part after all: wardround site approve.")


def test_no_policy(ready: Gate) -> None:
    (ready.folder.path / "policy.toml").unlink()
    ends_with(ready, ProtocolError, "policy.toml cannot be read (No such file or directory). Allow there what this hospital allows")


@pytest.mark.parametrize("rule", ["purposes", "models", "sources", "min_patients", "rounds", "hours", "may_leave", "release"])
def test_a_rule_that_is_missing_allows_nothing_and_is_named(rule: str, ready: Gate) -> None:
    lines = [line for line in POLICY.splitlines() if not line.startswith(rule)]
    (ready.folder.path / "policy.toml").write_text("\n".join(lines))
    ends_with(ready, ProtocolError, f"{rule}: missing, so nothing is allowed.")


def _closed_now() -> str:
    now = datetime.datetime.now()
    first, last = (now + datetime.timedelta(hours=hours) for hours in (2, 3))
    return f'hours = "{first:%H:%M}-{last:%H:%M}"'


FORBIDDEN: dict[str, Callable[[], str]] = {
    "purposes": lambda: 'purposes = ["other"]',
    "models": lambda: "models = []",
    "sources": lambda: 'sources = ["fhir"]',
    "min_patients": lambda: "min_patients = 1000",
    "rounds": lambda: "rounds = 1",
    "hours": _closed_now,
    "may_leave": lambda: 'may_leave = ["sums"]',
}


@pytest.mark.parametrize("rule", sorted(set(FORBIDDEN) - {"hours"}))
def test_a_rule_that_forbids_the_study_is_named_before_anything_is_signed(rule: str, ready: Gate) -> None:
    with_rule(ready.folder, rule)
    before = hospital.entries(ready.folder)
    with pytest.raises(PolicyRefused, match=f"policy.toml, rule {rule}: .* Change the rule if the hospital allows it, or refuse"):
        hospital.approve(ready.folder, "tester")
    assert hospital.entries(ready.folder) == before


def with_rule(folder: SiteFolder, rule: str) -> None:
    lines = [FORBIDDEN[rule]() if line.startswith(rule) else line for line in POLICY.splitlines()]
    (folder.path / "policy.toml").write_text("\n".join(lines) + "\n")


def held(site: Gate) -> int:
    """Return how many answers of a hospital wait for a person's look."""
    return len(hospital.status(site.folder)["held"])


def code(site: Gate) -> str:
    """Return the code under which a hospital's answer waits."""
    (one,) = hospital.status(site.folder)["held"]
    return str(one["code"])


def left(site: Gate) -> int:
    """Return how often something left a hospital."""
    return sum(entry["t"] == "egress" for entry in hospital.entries(site.folder))


def test_in_a_round_a_rule_is_named_and_an_answer_waits_for_a_person(tmp_path: Path) -> None:
    data = {"closed": rows(0), "held": rows(1), "open": rows(2)}
    with federation(tmp_path, open_protocol(rounds={"quorum": 1, "due_seconds": 60}), data, run=False) as made:
        closed, waits = made.gates["closed"], made.gates["held"]
        with_rule(closed.folder, "hours")
        policy = waits.folder.path / "policy.toml"
        policy.write_text(POLICY.replace('release = "auto"', 'release = "every"'))
        for gate in made.gates.values():
            gate.start()
        made.serving.gather_approvals()
        rounds = Rounds(made, made.serving.book())
        rounds.send()
        found = rounds.answers(("closed", "open"))
        refusal = found["closed"]
        assert isinstance(refusal, Refusal) and refusal.where == "accept"
        assert refusal.reason.startswith("the site's rule hours forbids it: answers leave between ")
        assert isinstance(found["open"], Update)
        wait_until(lambda: held(waits) == 1)
        assert (left(closed), left(waits), left(made.gates["open"])) == (0, 0, 1)
        first = code(waits)
        assert hospital.decide(waits.folder, "refuse", first) == "moments, round 1"
        refusal = rounds.answers(("held",))["held"]
        assert isinstance(refusal, Refusal) and refusal.reason == "a person at the site looked at the answer and refused it"
        rounds.send()
        wait_until(lambda: held(waits) == 1)
        assert left(waits) == 0
        assert code(waits) == first, "the same sums, not worked out again"
        hospital.decide(waits.folder, "release", first)
        assert isinstance(rounds.answers(("held",))["held"], Update)
        assert left(waits) == 1
