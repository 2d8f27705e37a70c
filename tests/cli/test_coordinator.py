"""`wardround coordinator` sets a centre up, invites, serves, cuts off and says how the study stands; `study stop` and `resume` hold it."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tests.engines.federated import bring, federation, free_port, let_in, new_centre, open_protocol
from tests.support import rows
from wardround import centre, hospital
from wardround.coordinator import events
from wardround.coordinator.folder import SETTINGS, Folder
from wardround.engines.presence import Presence
from wardround.record.note import fingerprint
from wardround.serving import Serving
from wardround.standing import Watcher
from wardround.study.errors import StoreError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "three-hospitals" / "study.toml"
COMMANDS: dict[str, tuple[object, ...]] = {
    "invite": ("coordinator", "invite", "FOLDER", "north"),
    "revoke": ("coordinator", "revoke", "FOLDER", "north"),
    "status": ("coordinator", "status", "FOLDER"),
    "serve": ("coordinator", "serve", "FOLDER"),
    "stop": ("study", "stop", "FOLDER"),
    "resume": ("study", "resume", "FOLDER"),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_centre(tmp_path_factory.mktemp("centre") / "made", open_protocol()).path


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    """Return a coordinator's folder that a test may change."""
    return Path(shutil.copytree(template, tmp_path / "centre"))


def init(wardround: Terminal, folder: Path, *words: object) -> Any:
    return wardround("coordinator", "init", folder, "--study", EXAMPLE, *words)


def states(wardround: Terminal, folder: Path) -> dict[str, str]:
    return {one["site"]: one["state"] for one in wardround("coordinator", "status", folder, "--json").document["sites"]}


def test_init_makes_a_folder_and_starts_nothing(wardround: Terminal, tmp_path: Path) -> None:
    folder, port = tmp_path / "centre", free_port()
    said = init(wardround, folder, "--address", "127.0.0.1", "--port", port, "--host", "hub.example", "--slots", 3)
    assert (said.code, said.err) == (0, "")
    found = Folder(folder)
    assert found.protocol.digest in said.out and fingerprint(found.signer.vkey) in said.out
    assert re.search(r"([0-9a-f]{4} ){7}[0-9a-f]{4}", said.out)
    assert f"wardround coordinator invite {folder}" in said.out
    assert (found.settings.port, found.settings.slots, found.settings.site_url) == (port, 3, f"tls://hub.example:{port}")
    with socket.socket() as one:
        one.bind(("127.0.0.1", port))  # nobody listens there
    for secret in (folder / "keys").iterdir():
        assert secret.read_text().strip() not in said.out


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "*", "0", "::0", ""])
def test_init_does_not_listen_on_all_interfaces(wardround: Terminal, tmp_path: Path, address: str) -> None:
    said = init(wardround, tmp_path / "centre", "--address", address)
    assert said.code == 2
    assert "all interfaces" in said.err and "What to do: Name the one address" in said.err
    assert not (tmp_path / "centre").exists()


@pytest.mark.parametrize("words", [("--port", 0), ("--slots", 0), ("--name", "two words"), ("--host", "two words"), ("--host", "köln")])
def test_init_refuses_what_cannot_be_and_leaves_nothing(wardround: Terminal, tmp_path: Path, words: tuple[object, ...]) -> None:
    said = init(wardround, tmp_path / "centre", "--address", "127.0.0.1", *words)
    assert said.code == 2
    assert "not possible" in said.err and "What to do:" in said.err
    assert not (tmp_path / "centre").exists()


def test_init_leaves_a_folder_in_use_as_it_is(wardround: Terminal, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    said = init(wardround, tmp_path, "--address", "127.0.0.1")
    assert said.code == 2 and "is not empty" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_init_of_a_study_with_a_fault_names_it(wardround: Terminal, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(EXAMPLE.read_text().replace("quorum = 3", "quorum = 0"))
    said = wardround("coordinator", "init", tmp_path / "centre", "--study", study, "--address", "127.0.0.1")
    assert said.code == 2 and "quorum" in said.err
    assert not (tmp_path / "centre").exists()


def test_an_invite_is_a_secret_file_that_is_not_shown(wardround: Terminal, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "north.invite"
    said = wardround("coordinator", "invite", made, "north", "--out", out, "--hours", 2)
    assert said.code == 0 and "good for 2 hours and once" in said.out
    assert fingerprint(Folder(made).signer.vkey) in said.out
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    member = hospital.read_invite(out, time.time())
    assert (member.site, member.study, member.protocol) == ("north", "small", Folder(made).protocol.digest)
    assert member.admission not in said.out and member.invite not in said.out
    assert abs(member.expires - time.time() - 7200) < 60
    assert states(wardround, made) == {"north": "invited"}


def test_an_invite_lies_in_the_folder_if_nothing_else_is_said(wardround: Terminal, made: Path) -> None:
    assert wardround("coordinator", "invite", made, "north").code == 0
    first = (made / "north.invite").read_bytes()
    said = wardround("coordinator", "invite", made, "north")
    assert said.code == 2 and "exists already" in said.err
    assert (made / "north.invite").read_bytes() == first


@pytest.mark.parametrize("name", ["coordinator", "two words", "../north", "1st", "", "x" * 65])
def test_a_name_that_cannot_be_a_site_s_is_refused(wardround: Terminal, made: Path, tmp_path: Path, name: str) -> None:
    said = wardround("coordinator", "invite", made, name, "--out", tmp_path / "x.invite")
    assert said.code == 2 and "cannot be a site's name" in said.err
    assert not (tmp_path / "x.invite").exists() and states(wardround, made) == {}


def test_an_expired_invite_is_called_so(wardround: Terminal, made: Path) -> None:
    centre.invite(Folder(made), "north", -1)
    assert states(wardround, made) == {"north": "invited, but the invite has expired"}


def test_places_run_out(wardround: Terminal, made: Path, tmp_path: Path) -> None:
    for number in range(Folder(made).settings.slots):
        assert wardround("coordinator", "invite", made, f"site{number}", "--out", tmp_path / f"{number}").code == 0
    said = wardround("coordinator", "invite", made, "onemore", "--out", tmp_path / "x")
    assert said.code == 2 and "no place left" in said.err


def test_a_site_is_revoked_whether_it_joined_or_was_only_invited(wardround: Terminal, made: Path) -> None:
    wardround("coordinator", "invite", made, "north")
    said = wardround("coordinator", "revoke", made, "north")
    assert said.code == 0 and "no hub runs now" in said.out and "the hub was told" not in said.out
    said = wardround("coordinator", "revoke", made, "south")
    assert said.code == 2 and "No site south has joined" in said.err and "coordinator status" in said.err


def in_place_of_own_hub(made: Path, line: str) -> None:
    settings = made / SETTINGS
    settings.write_text(re.sub("(?m)^port = .*", line, settings.read_text()))


def test_a_revocation_that_the_hub_could_not_be_told_says_what_to_do(wardround: Terminal, made: Path) -> None:
    """Something listens there that is no hub; then the hub is one that others run, and does not answer."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        in_place_of_own_hub(made, f"port = {port}")
        wardround("coordinator", "invite", made, "north")
        said = wardround("coordinator", "revoke", made, "north")
        assert said.code == 1 and said.out == ""
        assert "north is off the list, but the hub was not told, so its line may still be up: Nothing answers at" in said.err
        assert "nats-server --signal reload" in said.err and str(made / "hub" / "nats.conf") in said.err
    in_place_of_own_hub(made, f'port = {port}\nurl = "tls://127.0.0.1:{port}"')
    wardround("coordinator", "invite", made, "south")
    said = wardround("coordinator", "revoke", made, "south", "--json")
    assert said.code == 1 and said.document["hub"] == "not told"
    assert "Nothing answers" in said.document["why"] and "same command again" in said.document["remedy"]


def test_a_revocation_of_which_the_hub_refuses_to_hear_says_why(wardround: Terminal, made: Path) -> None:
    wardround("coordinator", "invite", made, "north")
    settings, before = made / SETTINGS, (made / "hub" / "nats.conf").read_bytes()
    settings.write_text(settings.read_text().replace("max_store = 20", "max_store = 1e12"))
    said = wardround("coordinator", "revoke", made, "north", "--json")
    assert said.code == 1 and said.document["hub"] == "not told"
    assert "refuses the hub's new configuration" in said.document["why"] and "coordinator.toml" in said.document["remedy"]
    assert (made / "hub" / "nats.conf").read_bytes() == before


def test_what_goes_wrong_beside_the_rounds_stands_in_the_status(wardround: Terminal, made: Path) -> None:
    said: list[events.Event] = []
    broken, trouble = threading.Event(), [""]

    def words() -> dict[str, str]:
        if broken.is_set():
            raise StoreError("The list is damaged.", "Put it back.")
        return {}

    def text() -> str:
        return str(wardround("coordinator", "status", made, "--json").document["text"])

    def soon(part: str) -> bool:
        until = time.monotonic() + 10
        while part not in text() and time.monotonic() < until:
            time.sleep(0.1)
        return part in text()

    watcher = Watcher(Folder(made), Presence(), said.append)
    watcher.start(list, words, lambda: trouble[0])
    try:
        watcher.happened(events.Note("All is well."))
        assert soon("All is well.")
        trouble[0] = "The hub does not start."
        assert soon("The hub does not start. All is well.")
        broken.set()
        assert soon("How the sites stand is not known: The list is damaged. Put it back.")
        assert [event for event in said if "damaged" in str(event)] == [
            events.Note("How the sites stand is not known: The list is damaged. Put it back.")
        ]
        broken.clear()
        trouble[0] = ""
        until = time.monotonic() + 10
        while text() != "All is well." and time.monotonic() < until:
            time.sleep(0.1)
        assert text() == "All is well."
    finally:
        watcher.close()


def test_status_of_a_study_that_nobody_serves(wardround: Terminal, made: Path) -> None:
    said = wardround("coordinator", "status", made)
    assert said.code == 0 and said.out.splitlines() == ["Study small: not served now; run: wardround coordinator serve"]
    found = wardround("coordinator", "status", made, "--json").document
    assert found == {
        "study": "small",
        "protocol_digest": Folder(made).protocol.digest,
        "serving": False,
        "text": "not served now; run: wardround coordinator serve",
        "sites": [],
    }


@pytest.mark.parametrize("command", sorted(COMMANDS))
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_not_a_coordinator_s_is_named_and_left_alone(
    wardround: Terminal, tmp_path: Path, command: str, there: bool
) -> None:
    folder = tmp_path / "folder"
    if there:
        folder.mkdir()
    said = wardround(*(folder if word == "FOLDER" else word for word in COMMANDS[command]))
    assert said.code == 2 and "is not a coordinator's folder" in said.err, said
    assert "wardround coordinator init" in said.err
    assert list(tmp_path.rglob("*")) == ([folder] if there else [])


def test_errors_are_documents_for_machines(wardround: Terminal, tmp_path: Path) -> None:
    found = wardround("coordinator", "status", tmp_path, "--json").document["error"]
    assert found["kind"] == "StoreError" and found["message"] and found["remedy"]


def test_stop_and_resume_say_what_comes_next(wardround: Terminal, made: Path) -> None:
    said = wardround("study", "stop", made, "--reason", "a field was mapped wrongly")
    assert said.code == 0 and f"wardround study resume {made}" in said.out
    assert Folder(made).stopped.read_text() == "a field was mapped wrongly\n"
    assert wardround("coordinator", "status", made, "--json").document["text"].startswith("stopped; ")
    assert wardround("study", "resume", made).code == 0
    assert not Folder(made).stopped.exists()
    assert wardround("study", "resume", made).code == 0, "there is nothing wrong with resuming twice"
    assert "stopped" not in wardround("coordinator", "status", made, "--json").document["text"]


def test_status_tells_where_each_hospital_stands(wardround: Terminal, tmp_path: Path) -> None:
    """Two approve and run, one is revoked, one refuses; another is invited and yet another joins late; then a stop is waited out."""
    with federation(tmp_path, run=False) as running:
        folder, names = running.centre.path, sorted(running.gates)
        for name in names[:2]:
            running.gates[name].start()
        said = wardround("coordinator", "revoke", folder, names[2])
        assert (said.code, said.out) == (0, f"{names[2]} is cut off: the hub was told, its key is good no longer and its line is cut.\n")
        told = wardround("coordinator", "revoke", folder, names[2], "--json").document
        assert told == {"site": names[2], "state": "revoked", "hub": "told", "servers": ["hub"], "why": "", "remedy": ""}
        assert hospital.refuse(running.gates[names[3]].folder, "not this year") is True
        running.serving.gather_approvals()
        assert running.serving.roster == tuple(names[:2])
        assert wardround("coordinator", "invite", folder, "north").code == 0
        late = bring(tmp_path / "late", "late", rows(9), running.centre.protocol)
        let_in(running.centre, late, "late")
        wanted = {
            names[0]: "approved",
            names[1]: "approved",
            names[2]: "revoked",
            names[3]: "refused the protocol; silent",
            "north": "invited",
            "late": "joined, not approved yet; silent",
        }
        until = time.monotonic() + 10
        while states(wardround, folder) != wanted and time.monotonic() < until:
            time.sleep(0.2)
        assert states(wardround, folder) == wanted
        assert wardround("coordinator", "status", folder, "--json").document["serving"] is True
        said = wardround("coordinator", "status", folder)
        assert f"  {names[2]:<24} revoked; fingerprint {running.gates[names[2]].folder.fingerprint}" in said.out.splitlines()
        waits_while_stopped(wardround, running.serving, folder)
    assert wardround("coordinator", "status", folder, "--json").document["text"] == "finished"


def waits_while_stopped(wardround: Terminal, serving: Serving, folder: Path) -> None:
    """Stop a study, see that no round is asked until it is resumed, and see that it ends."""
    assert wardround("study", "stop", folder, "--reason", "lunch").code == 0
    resumed = threading.Timer(1, Folder(folder).stopped.unlink)
    began = time.monotonic()
    resumed.start()
    assert serving.engine.sites() == serving.roster
    assert time.monotonic() - began >= 1, "the next round is not asked while the study is stopped"
    assert [entry["reason"] for entry in serving.book().log.entries() if entry["t"] == "stopped"] == ["lunch"]
    assert serving.run()["stopped"] == "rounds"


@contextmanager
def serving(wardround: Terminal, made: Path) -> Iterator[subprocess.Popen[str]]:
    """Serve in a process of its own, until a test ends it or is over."""
    command = [sys.executable, "-m", "wardround", "coordinator", "serve", str(made)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 30
            while not wardround("coordinator", "status", made, "--json").document["serving"]:
                assert process.poll() is None and time.monotonic() < until, process.communicate()
                time.sleep(0.1)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def test_serve_ends_in_order_takes_its_hub_along_and_goes_on(wardround: Terminal, made: Path) -> None:
    port = Folder(made).settings.port
    for _ in range(2):
        with serving(wardround, made) as process:
            socket.create_connection(("127.0.0.1", port), 2).close()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=20)
        assert process.returncode == 0 and "The same command goes on." in err
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 2)
        (made / "status.json").unlink()


def test_two_processes_do_not_serve_one_study(wardround: Terminal, made: Path) -> None:
    with serving(wardround, made) as process:
        second = wardround("coordinator", "serve", made)
        assert second.code == 2 and "Another process works in this directory" in second.err
        socket.create_connection(("127.0.0.1", Folder(made).settings.port), 2).close()
        assert process.poll() is None


def test_a_port_that_is_taken_is_said(wardround: Terminal, made: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        settings = (made / SETTINGS).read_text()
        (made / SETTINGS).write_text(settings.replace(f"port = {Folder(made).settings.port}", f"port = {other.getsockname()[1]}"))
        said = wardround("coordinator", "serve", made)
    assert said.code == 2
    assert "The hub does not start" in said.err and "port may be taken" in said.err
