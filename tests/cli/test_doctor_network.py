"""`wardround doctor` says where the way to a hub ends and what to ask for; all sockets are real and on loopback."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tests.engines.federated import Federation, bring, federation, free_port, hospitals, new_centre, open_protocol
from wardround import centre, hospital
from wardround.cli import doctor_network
from wardround.cli.doctor import Found
from wardround.cli.doctor_network import Place
from wardround.coordinator import certificates
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import Folder
from wardround.engines import hub, hubkeys
from wardround.site.folder import MEMBERSHIP, SiteFolder

ASKED = "outbound TCP from this machine to 127.0.0.1 port {}, TLS 1.3, no inbound rule, long-lived connection, no TLS inspection"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Serve a study with one hospital that has joined and does not run."""
    data = {"site0": hospitals(1)["site0"]}
    with federation(tmp_path_factory.mktemp("served"), data=data, run=False) as made:
        yield made


@pytest.fixture
def resting(tmp_path: Path) -> Folder:
    """Return a coordinator's folder that nobody serves."""
    return new_centre(tmp_path / "centre", open_protocol())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each step wait for half a second only."""
    monkeypatch.setattr(doctor_network, "LIMIT", 0.5)


def by_name(found: Iterator[Found]) -> dict[str, Found]:
    listed = list(found)
    for one in listed:
        assert bool(one.remedy) == (one.verdict != "ok"), one
        assert "\n" not in one.text + one.remedy
    return {one.name: one for one in listed}


def invite_of(folder: Folder, path: Path, name: str = "guest", hours: float = 1) -> Path:
    path.write_bytes(centre.invite(folder, name, hours))
    return path


def look(folder: Path, invite: Path | None = None) -> dict[str, Found]:
    return by_name(doctor_network.network(folder, invite))


@contextmanager
def listener(
    port: int, greeting: bytes = b"", certificate: certificates.Certificates | None = None, at: Path | None = None
) -> Iterator[None]:
    """Listen on loopback: say a greeting, then speak TLS with a certificate, or say nothing more."""
    context = None
    if certificate is not None and at is not None:
        (at / "other.pem").write_bytes(certificate.hub)
        (at / "other.key").write_bytes(certificate.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(at / "other.pem", at / "other.key")
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.1)
        end = threading.Event()

        def take() -> None:
            while not end.is_set():
                with suppress(OSError):
                    line, _ = server.accept()
                    line.settimeout(3)
                    line.sendall(greeting)
                    kept.append(line if context is None else context.wrap_socket(line, server_side=True))

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            for line in kept:
                line.close()


def test_a_hospital_that_reaches_its_hub_is_told_so_step_by_step(served: Federation) -> None:
    found = look(served.gates["site0"].folder.path)
    assert list(found) == ["name", "port", "tls", "key", "hub clock", "study"]
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, "ok")
    assert "TLSv1.3" in found["tls"].text


def test_looking_uses_no_invite_up(served: Federation, tmp_path: Path) -> None:
    invite = invite_of(served.centre, tmp_path / "guest.invite")
    for _ in range(2):
        found = look(tmp_path, invite)
        assert [one.verdict for one in found.values()] == ["ok", "ok", "ok", "ok", "ok", "warning"]
        assert "not compared" in found["hub clock"].text
    hospital.join(tmp_path / "guest", invite)
    used = look(tmp_path, invite)["key"]
    assert used.verdict == "missing"
    assert "new invite" in used.remedy


def test_looking_turns_no_process_of_the_site_away(served: Federation) -> None:
    """Neither the one that starts right after a look, nor the one that runs during it."""
    presence, folder = served.serving.presence, served.gates["site0"].folder.path
    assert look(folder)["hub clock"].verdict == "ok"
    assert presence.beat("site0", "own", 2, 1) == "ok"
    assert look(folder)["hub clock"].verdict == "ok"
    assert presence.beat("site0", "own", 2, 2) == "ok"
    assert presence.beat("site0", "another", 1, 1) == "second"


def test_a_closed_port_says_what_to_ask_the_firewall_team_for(resting: Folder, tmp_path: Path, wardround: Terminal) -> None:
    invite = invite_of(resting, tmp_path / "guest.invite")
    said = wardround("doctor", tmp_path, "--invite", invite, "--json")
    assert said.code == 1
    checks = {one["name"]: one for one in said.document["checks"]}
    assert checks["port"]["verdict"] == "missing"
    assert "refuses the connection" in checks["port"]["text"]
    assert ASKED.format(resting.settings.port) in checks["port"]["remedy"]
    assert checks["the rest"]["text"] == "not tested: tls, key"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where Linux drops")
@pytest.mark.usefixtures("quick")
def test_a_port_that_drops_what_is_sent_is_a_firewall(resting: Folder, tmp_path: Path) -> None:
    """A full queue of connections does on loopback what a dropping firewall does: no answer at all."""
    invite = invite_of(resting, tmp_path / "guest.invite")
    waiting = []
    with socket.socket() as full:
        full.bind(("127.0.0.1", resting.settings.port))
        full.listen(0)
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", resting.settings.port))
            waiting.append(one)
        began = time.monotonic()
        found = look(tmp_path, invite)["port"]
        assert time.monotonic() - began < 5
        for one in waiting:
            one.close()
    assert (found.verdict, "does not answer" in found.text) == ("missing", True)
    assert ASKED.format(resting.settings.port) in found.remedy


@pytest.mark.usefixtures("quick")
def test_a_listener_that_never_answers_is_named_in_time(resting: Folder, tmp_path: Path) -> None:
    invite = invite_of(resting, tmp_path / "guest.invite")
    with listener(resting.settings.port):
        began = time.monotonic()
        found = look(tmp_path, invite)
        assert time.monotonic() - began < 5
    assert (found["port"].verdict, found["tls"].verdict) == ("ok", "missing")
    assert "nothing is said" in found["tls"].text
    assert ASKED.format(resting.settings.port) in found["tls"].remedy


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("greeting", [b"", b'INFO {"tls_required":true}\r\n'], ids=["TLS at once", "greets as a hub"])
def test_what_opens_tls_shows_another_certificate(resting: Folder, tmp_path: Path, greeting: bytes) -> None:
    invite = invite_of(resting, tmp_path / "guest.invite")
    other = certificates.make(["127.0.0.1"], datetime.datetime.now(datetime.UTC))
    with listener(resting.settings.port, greeting, other, tmp_path):
        found = look(tmp_path, invite)["tls"]
    assert found.verdict == "missing"
    assert "another certificate" in found.text
    assert "CN=wardround hub authority" in found.text
    assert ASKED.format(resting.settings.port) in found.remedy


@pytest.mark.usefixtures("quick")
def test_the_right_certificate_without_a_hub_behind_it_is_no_hub(resting: Folder, tmp_path: Path) -> None:
    invite = invite_of(resting, tmp_path / "guest.invite")
    own = certificates.Certificates(b"", (resting.hub / "server.pem").read_bytes(), (resting.hub / "server.key").read_bytes())
    with listener(resting.settings.port, b"", own, tmp_path):
        found = look(tmp_path, invite)["tls"]
    assert (found.verdict, "is no hub" in found.text) == ("missing", True)


@pytest.mark.usefixtures("quick")
def test_a_handshake_that_is_broken_off_is_a_firewall(resting: Folder, tmp_path: Path) -> None:
    invite = invite_of(resting, tmp_path / "guest.invite")
    with listener(resting.settings.port, b"INFO {}\r\nHTTP/1.1 403 Forbidden\r\n\r\n"):
        found = look(tmp_path, invite)["tls"]
    assert found.verdict == "missing"
    assert ASKED.format(resting.settings.port) in found.remedy


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("named", "years", "text"), [("hub.example", 0, "is not for 127.0.0.1"), ("127.0.0.1", 6, "not good today")], ids=["name", "day"]
)
def test_the_right_authority_with_a_wrong_name_or_day_is_told_apart(tmp_path: Path, named: str, years: int, text: str) -> None:
    made = certificates.make([named], datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=365 * years))
    port = free_port()
    with listener(port, b"INFO {}\r\n", made, tmp_path):
        found = doctor_network._tls(Place("127.0.0.1", port, made.authority.decode()))
    assert found.verdict == "missing"
    assert text in found.text
    assert found.remedy


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    folder = joined_elsewhere(tmp_path, "tls://hub.invalid:4222")
    began = time.monotonic()
    found = look(folder)
    assert time.monotonic() - began < 8
    assert found["name"].verdict == "missing"
    assert "hub.invalid" in found["name"].text
    assert found["the rest"].text == "not tested: port, tls, key, hub clock"


@pytest.mark.usefixtures("quick")
def test_a_name_server_that_never_answers_does_not_hold_up_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name server of a test machine can be made to hang, so here the system's call does."""
    folder, end = joined_elsewhere(tmp_path, "tls://hub.invalid:4222"), threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: end.wait(20) and [])
    began = time.monotonic()
    found = look(folder)
    assert time.monotonic() - began < 5
    end.set()
    assert "no name server answers" in found["name"].text


def joined_elsewhere(path: Path, url: str) -> Path:
    """Return the folder of a hospital that has joined and whose hub is at another address now."""
    folder = bring(path / "site", "site0", hospitals(1)["site0"], open_protocol())
    made = new_centre(path / "centre", open_protocol())
    (path / "invite").write_bytes(centre.invite(made, "site0", 1))
    member = replace(hospital.read_invite(path / "invite", time.time()), url=url, admission="")
    (folder.path / MEMBERSHIP).write_text(json.dumps(vars(member)))
    (folder.path / "keys" / "hub").write_text("11" * 32)
    (folder.path / "protocol.json").write_bytes(made.protocol.canonical)
    return folder.path


def test_a_site_that_was_cut_off_is_told_so(tmp_path: Path) -> None:
    with federation(tmp_path, data={"site0": hospitals(1)["site0"]}, run=False) as made:
        centre.cut_off(made.centre, "site0", "revoked")
        found = look(made.gates["site0"].folder.path)
    assert found["key"].verdict == "missing"
    assert "revoked" in found["key"].remedy
    assert found["the rest"].text == "not tested: hub clock"


@pytest.mark.parametrize(("off", "verdict"), [(-10, "ok"), (-60, "warning"), (3600, "missing")])
def test_the_clock_is_held_against_the_coordinators(served: Federation, monkeypatch: pytest.MonkeyPatch, off: float, verdict: str) -> None:
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + off)
    monkeypatch.setattr("wardround.engines.reception.time", SimpleClock(true))
    found = look(served.gates["site0"].folder.path)["hub clock"]
    assert found.verdict == verdict
    assert ("behind" if off < 0 else "ahead of") in found.text


class SimpleClock:
    """Be the coordinator's clock, which is right."""

    def __init__(self, time: Any) -> None:
        self.time = time


def test_a_coordinator_that_is_away_leaves_the_clock_uncompared(tmp_path: Path) -> None:
    """The hub runs, nobody serves: the hospital hears that the clock was not compared."""
    made = new_centre(tmp_path / "centre", open_protocol())
    folder = SiteFolder(joined_elsewhere(tmp_path / "other", made.settings.own_url))
    member = replace(folder.membership, authority=made.authority, coordinator=made.signer.vkey, protocol=made.protocol.digest)
    (folder.path / MEMBERSHIP).write_text(json.dumps(vars(member)))
    (folder.path / "protocol.json").write_bytes(made.protocol.canonical)
    centre.invite(made, "site0", 1)
    with closing(Enrolment(made.path / centre.ENROLMENT)) as enrolment:
        (invited,) = enrolment.invites()
        with enrolment.change():
            enrolment.admit(invited.id, "site0", invited.slot, b"", hubkeys.public(folder.hub_key), time.time())
        hub.write_config(made.hub, centre.plan(made, enrolment))
    process = hub.start(hub.binary(), made.hub)
    try:
        for _ in range(100):
            if hub.reachable(made.settings.own_url, made.authority, hubkeys.seed(made.hub_key("admin"))):
                break
            time.sleep(0.05)
        found = look(folder.path)
    finally:
        process.terminate()
        process.wait(10)
    assert found["key"].verdict == "ok"
    assert found["hub clock"].verdict == "warning"
    assert found["hub clock"].text == "not compared. The coordinator is not there."


def test_an_invite_that_has_expired_is_still_good_for_testing_the_way(served: Federation, tmp_path: Path) -> None:
    invite = invite_of(served.centre, tmp_path / "late.invite", "late", -1)
    found = look(tmp_path, invite)
    assert (found["invite"].verdict, found["port"].verdict, found["tls"].verdict) == ("missing", "ok", "ok")


def test_an_altered_invite_is_refused(resting: Folder, tmp_path: Path) -> None:
    invite = invite_of(resting, tmp_path / "guest.invite")
    sealed = json.loads(invite.read_bytes())
    sealed["payload"] = sealed["payload"][:40] + "AAAA" + sealed["payload"][44:]
    invite.write_text(json.dumps(sealed))
    found = look(tmp_path, invite)
    assert [one.verdict for one in found.values()] == ["missing"]
    assert "altered" in found["invite"].text


def test_a_coordinator_is_told_whether_a_hub_can_run_here(resting: Folder, tmp_path: Path) -> None:
    found = look(resting.path)
    assert list(found) == ["nats", "address", "port", "study"]
    assert "version 2." in found["nats"].text
    assert found["port"].text.endswith("is free")
    with listener(resting.settings.port):
        taken = look(resting.path)["port"]
    assert (taken.verdict, "something else" in taken.text) == ("missing", True)


def test_a_coordinator_finds_its_own_hub_and_another_studys(served: Federation, resting: Folder) -> None:
    assert "this study's hub" in look(served.centre.path)["port"].text
    settings(resting, "port", served.centre.settings.port)
    assert look(Folder(resting.path).path)["port"].verdict == "missing"


def test_a_coordinator_hears_of_an_address_that_is_not_its_own_and_a_binary_that_is_not_there(resting: Folder) -> None:
    settings(resting, "address", '"192.0.2.1"')
    with (resting.path / "coordinator.toml").open("a") as file:
        file.write('binary = "/nowhere/nats-server"\n')
    found = look(resting.path)
    assert {name: one.verdict for name, one in found.items() if name != "study"} == {
        "nats": "missing",
        "address": "missing",
        "the rest": "warning",
    }


def test_a_hub_that_others_run_is_tested_as_a_hospital_tests_it(served: Federation, resting: Folder) -> None:
    with (resting.path / "coordinator.toml").open("a") as file:
        file.write(f'url = "{served.centre.settings.own_url}"\n')
    found = look(resting.path)
    assert list(found) == ["name", "port", "tls", "the rest", "study"]
    assert "another certificate" in found["tls"].text


def test_too_little_disk_for_the_hub_is_a_warning(resting: Folder) -> None:
    settings(resting, "max_store", 1e9)
    found = look(resting.path)["study"]
    assert (found.verdict, "max_store" in found.remedy) == ("warning", True)


def settings(folder: Folder, key: str, value: object) -> None:
    """Change one line of `coordinator.toml`."""
    place = folder.path / "coordinator.toml"
    lines = [f"{key} = {value}" if line.startswith(f"{key} ") else line for line in place.read_text().splitlines()]
    place.write_text("\n".join(lines) + "\n")


def test_elsewhere_the_network_is_left_alone(tmp_path: Path) -> None:
    assert look(tmp_path) == {}


def test_a_damaged_folder_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / MEMBERSHIP).write_text("{")
    found = look(tmp_path)
    assert "damaged" in found["folder"].text


def test_a_look_leaves_the_port_free_for_the_hub_that_starts_after_it(resting: Folder) -> None:
    look(resting.path)
    with socket.socket() as one:
        one.bind(("127.0.0.1", resting.settings.port))
