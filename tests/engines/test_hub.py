"""The hub: its configuration, who may do what on it, and how it follows the list of sites while it runs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engines.federated import free_port, new_centre, open_protocol
from wardround import centre
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import Folder
from wardround.engines import hub, hubkeys, hubreload
from wardround.engines.connection import Connection
from wardround.engines.keeper import Keeper
from wardround.engines.parts import SIZE
from wardround.engines.subjects import PARTS, REPLIES, TASKS, Subjects, inbox
from wardround.study.errors import MissingExtra, NotAdmitted, StoreError, Unreachable

SUBJECTS = Subjects("small")
RIGHTS: tuple[hub.Right, ...] = ("site", "join", "nothing")
RAW = {name: bytes([number]) * 32 for number, name in enumerate(("coordinator", "admin", "slot001", "slot002", "slot003"), 1)}


@dataclass
class Running:
    """A hub that runs, with the folder of its coordinator."""

    folder: Folder
    link: Connection

    def slots(self, rights: dict[str, hub.Right]) -> None:
        """Have the hub give these slots their rights, with the keys in RAW, and all others nothing."""
        with closing(Enrolment(self.folder.path / centre.ENROLMENT)) as enrolment:
            made = centre.plan(self.folder, enrolment)
        keys = {name: hubkeys.public(raw) for name, raw in RAW.items()}
        slots = [hub.Slot(one.name, keys[one.name], rights[one.name]) if one.name in rights else one for one in made.slots]
        hub.write_config(self.folder.hub, replace(made, slots=slots))
        self.reload()

    def reload(self) -> None:
        hubreload.reload(self.folder.settings.own_url, self.folder.authority, hubkeys.seed(self.folder.hub_key("admin")))

    def connect(self, slot: str, stay: bool = False) -> Connection:
        """Return a connection with a slot's key."""
        return Connection(self.folder.settings.own_url, self.folder.authority, hubkeys.seed(RAW[slot]), slot, stay=stay)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = new_centre(tmp_path_factory.mktemp("hub") / "centre", open_protocol())
    keeper = Keeper(folder, lambda text: None)
    link = Connection(folder.settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("coordinator")), "coordinator")
    hub.lay_out(link, hub.streams(SUBJECTS, ["slot001"], 10**9, 2**20))
    yield Running(folder, link)
    link.close()
    keeper.close()


def plan(study: str, rights: list[hub.Right], listen: str = "127.0.0.1:4222") -> hub.HubPlan:
    slots = [hub.Slot(f"slot{number:03d}", hubkeys.public(bytes([number + 9]) * 32), right) for number, right in enumerate(rights, 1)]
    return hub.HubPlan(listen, Subjects(study), hubkeys.public(RAW["coordinator"]), hubkeys.public(RAW["admin"]), slots, 10**9)


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(
    study=st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,40}", fullmatch=True),
    rights=st.lists(st.sampled_from(RIGHTS), max_size=5),
    listen=st.sampled_from(["127.0.0.1:4222", "[::1]:4222", "hub.example:443"]),
)
def test_the_server_accepts_the_configuration(running: Running, study: str, rights: list[hub.Right], listen: str) -> None:
    path = running.folder.hub / "trial.conf"
    path.write_text(plan(study, rights, listen).text())
    done = subprocess.run([str(hub.binary()), "-t", "-c", path.name], cwd=running.folder.hub, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_configuration_with_a_fault_is_not_accepted(running: Running) -> None:
    """So that the test above can fail."""
    path = running.folder.hub / "faulty.conf"
    path.write_text(plan("small", ["site"]).text().replace("accounts {", "accounts { {"))
    done = subprocess.run([str(hub.binary()), "-t", "-c", path.name], cwd=running.folder.hub, capture_output=True, check=False)
    assert done.returncode != 0


def test_the_configuration_listens_once_and_speaks_tls_1_3(running: Running) -> None:
    text = plan("small", ["site"], "10.0.0.1:4222").text()
    assert re.findall(r"listen: *(\S+)", text) == ['"10.0.0.1:4222"']
    assert 'min_version: "1.3"' in text and "sync_interval: always" in text
    assert not re.search(
        r"\b(http|https|monitor_port|http_port|websocket|mqtt|leafnodes|cluster|gateway|no_auth_user|token|password)\b", text
    )


@pytest.mark.parametrize("right", RIGHTS)
def test_each_slot_gets_the_rights_of_its_kind_and_no_more(right: hub.Right) -> None:
    text = plan("small", [right, "site"]).text()
    account = text[text.index("  slot001: {") : text.index("  slot002: {")]
    found = re.search(r"publish: \{ (.*?) \}, subscribe: \{ (.*?) \}", account)
    assert found is not None
    mine = {
        "site": SUBJECTS.site_may_publish("slot001"),
        "join": (SUBJECTS.join("slot001"),),
        "nothing": (),
    }[right]
    if right == "nothing":
        assert found.groups() == ('deny: [">"]',) * 2
    else:
        assert tuple(re.findall(r'"([^"]+)"', found[1])) == mine and found[1].startswith("allow:")
        assert found[2] == f'allow: ["{inbox("slot001")}.>"]'
    assert "slot002" not in account and "jetstream" not in account


def test_a_site_s_rights_hold_on_a_running_hub(running: Running) -> None:
    running.slots({"slot001": "site", "slot002": "join", "slot003": "nothing"})
    asked: list[str] = []

    async def answer(subject: str, data: bytes) -> bytes:
        asked.append(subject)
        return b"heard"

    running.link.serve(SUBJECTS.beat("*"), answer)
    running.link.serve(SUBJECTS.join("*"), answer)
    with closing(running.connect("slot001")) as site:
        assert site.request(SUBJECTS.beat("slot001"), b"") == b"heard"
        site.run(site.store(SUBJECTS.reply("slot001"), b"reply"))
        for forbidden in (SUBJECTS.beat("slot002"), SUBJECTS.reply("slot002"), SUBJECTS.task("slot001"), f"$JS.API.STREAM.INFO.{TASKS}"):
            with pytest.raises((NotAdmitted, Unreachable)):
                site.request(forbidden, b"", 0.3)
    with closing(running.connect("slot002")) as invited:
        assert invited.request(SUBJECTS.join("slot002"), b"") == b"heard"
        for forbidden in (SUBJECTS.beat("slot002"), SUBJECTS.reply("slot002"), SUBJECTS.join("slot001")):
            with pytest.raises((NotAdmitted, Unreachable)):
                invited.request(forbidden, b"", 0.3)
    with closing(running.connect("slot003")) as nobody, pytest.raises((NotAdmitted, Unreachable)):
        nobody.request(SUBJECTS.join("slot003"), b"", 0.3)
    assert asked == [SUBJECTS.beat("slot001"), SUBJECTS.join("slot002")]


def test_a_key_that_is_taken_away_is_cut_off_within_a_second(running: Running) -> None:
    running.slots({"slot001": "site"})
    with closing(running.connect("slot001", stay=True)) as site:
        assert site.connected
        began = time.monotonic()
        running.slots({"slot002": "site"})
        while site.connected and time.monotonic() - began < 5:
            time.sleep(0.005)
        assert time.monotonic() - began < 1
        with pytest.raises(NotAdmitted, match="does not admit this key"):
            running.connect("slot001")
    running.slots({"slot001": "site"})
    running.connect("slot001").close()


def test_a_hub_that_refuses_its_configuration_keeps_the_old_one(running: Running) -> None:
    running.slots({"slot001": "site"})
    path = running.folder.hub / "nats.conf"
    good = path.read_text()
    path.write_text(good.replace("ping_max: 2", "ping_max: many"))
    with pytest.raises(StoreError, match="keeps the old one"):
        running.reload()
    running.connect("slot001").close()
    path.write_text(good)
    running.reload()


def test_streams_are_laid_out_again_without_loss(running: Running) -> None:
    running.link.run(running.link.store(f"{SUBJECTS.parts}.g.kept", b"part"))
    for upload in (2**20, 2**21):
        hub.lay_out(running.link, hub.streams(SUBJECTS, ["slot001"], 10**9, upload))
        found = running.link.api("$JS.API.STREAM.INFO.UP_slot001")
        assert found["config"]["max_msgs"] == upload // SIZE
    assert running.link.run(running.link.direct(PARTS, f"{SUBJECTS.parts}.g.kept")) == b"part"
    names = running.link.api("$JS.API.STREAM.NAMES")["streams"]
    assert set(names) == {TASKS, PARTS, REPLIES, "UP_slot001"}


def test_streams_that_take_most_of_the_disk_are_laid_out_again(running: Running) -> None:
    """As when the coordinator starts again; the room that a stream has is not counted twice."""
    store, others = centre.store_bytes(running.folder.settings), hub.streams(SUBJECTS, ["slot001"], 10**9, 2**20)
    for _ in range(2):
        hub.lay_out(running.link, hub.streams(SUBJECTS, ["slot001"], store, 2**20))
    hub.lay_out(running.link, others)


def test_streams_that_do_not_fit_the_disk_are_refused_by_name(running: Running) -> None:
    wanted = [replace_bytes(one, 10**15) for one in hub.streams(SUBJECTS, [], 10**9, 2**20)[:1]]
    with pytest.raises(StoreError, match=TASKS) as error:
        hub.lay_out(running.link, wanted)
    assert "max_store" in error.value.remedy
    hub.lay_out(running.link, hub.streams(SUBJECTS, [], 10**9, 2**20))


def replace_bytes(stream: dict[str, object], size: int) -> dict[str, object]:
    return {**stream, "max_bytes": size}


def test_one_site_cannot_fill_the_place_of_another_s_replies(running: Running) -> None:
    async def fill(slot: str, count: int) -> None:
        for number in range(count):
            await running.link.store(SUBJECTS.reply(slot), b"%d" % number)

    running.link.api(f"$JS.API.STREAM.PURGE.{REPLIES}")
    running.link.run(fill("slot005", hub.REPLIES_OF_ONE))
    with pytest.raises(StoreError, match="no room"):
        running.link.run(fill("slot005", 1))
    running.link.run(fill("slot006", 1))
    running.link.api(f"$JS.API.STREAM.PURGE.{REPLIES}")


def test_a_hub_is_reachable_by_its_own_admin_only(running: Running) -> None:
    url, authority = running.folder.settings.own_url, running.folder.authority
    assert hub.reachable(url, authority, hubkeys.seed(running.folder.hub_key("admin"))) is True
    with pytest.raises(NotAdmitted):
        hub.reachable(url, authority, hubkeys.seed(bytes(32)))
    assert hub.reachable(f"tls://127.0.0.1:{free_port()}", authority, hubkeys.seed(bytes(32))) is False


def test_the_coordinator_s_list_is_the_hub_s_configuration(tmp_path: Path) -> None:
    folder = new_centre(tmp_path / "centre", open_protocol())
    with closing(Enrolment(folder.path / centre.ENROLMENT)) as enrolment:
        slot = enrolment.invite("i1", "north", hubkeys.public(RAW["slot001"]), 10, 0)
        made = centre.plan(folder, enrolment)
        rights = {one.name: one.right for one in made.slots}
        assert rights.pop(slot) == "join" and set(rights.values()) == {"nothing"}
        assert len(made.slots) == folder.settings.slots and len({one.key for one in made.slots}) == len(made.slots)
        with enrolment.change():
            enrolment.admit("i1", "north", slot, bytes(32), hubkeys.public(RAW["slot002"]), 5)
        assert (hubkeys.public(RAW["slot002"]), "site") in {(one.key, one.right) for one in centre.plan(folder, enrolment).slots}


def test_the_configuration_is_written_whole_and_for_this_user_only(tmp_path: Path) -> None:
    made = plan("small", ["site"])
    hub.write_config(tmp_path, made)
    hub.write_config(tmp_path, replace(made, listen="127.0.0.1:5"))
    assert [path.name for path in tmp_path.iterdir()] == ["nats.conf"]
    assert (tmp_path / "nats.conf").stat().st_mode & 0o777 == 0o600
    assert "127.0.0.1:5" in (tmp_path / "nats.conf").read_text()


def test_a_configuration_that_the_server_refuses_does_not_replace_the_one_that_works(running: Running) -> None:
    place, faulty = running.folder.hub / "nats.conf", plan("small", ["site"], '127.0.0.1:4222"\nport: "none')
    before = place.read_bytes()
    with pytest.raises(StoreError, match=r"refuses the hub's new configuration .*nats\.conf\.new:"):
        hub.write_config(running.folder.hub, faulty, hub.binary())
    assert place.read_bytes() == before and not (running.folder.hub / "nats.conf.new").exists()


def test_writing_says_whether_anything_changed(tmp_path: Path) -> None:
    made = plan("small", ["site"])
    assert [hub.write_config(tmp_path, one) for one in (made, made, replace(made, listen="127.0.0.1:5"))] == [True, False, True]


def test_a_disk_that_refuses_the_configuration_is_said(tmp_path: Path) -> None:
    (tmp_path / "nats.conf").mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        hub.write_config(tmp_path, plan("small", ["site"]))


@pytest.fixture
def server(tmp_path: Path) -> Callable[[str], Path]:
    """Return what makes a program that says it is some version of the server."""

    def make(says: str) -> Path:
        path = tmp_path / "nats-server"
        path.write_text(f"#!/bin/sh\necho '{says}'\n")
        path.chmod(0o700)
        return path

    return make


@pytest.mark.parametrize("version", ["v2.14.3", "v2.14.10", "v2.15.0", "v3.0.0", "v2.12.12", "v2.12.20"])
def test_a_version_without_known_weaknesses_is_taken(server: Callable[[str], Path], version: str) -> None:
    path = server(f"nats-server: {version}")
    assert hub.binary(str(path)) == path


@pytest.mark.parametrize(
    "says", ["nats-server: v2.9.10", "nats-server: v2.12.11", "nats-server: v2.13.99", "nats-server: v2.14.2", "no", ""]
)
def test_a_version_that_is_too_old_is_refused_with_its_number(server: Callable[[str], Path], says: str) -> None:
    path = server(says)
    with pytest.raises(MissingExtra, match=re.escape(says.rpartition("v")[2] if "v" in says else "version 0")) as error:
        hub.binary(str(path))
    assert "wardround[hub]" in error.value.remedy


def test_a_server_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra):
        hub.binary(str(tmp_path / "nowhere"))


def test_the_server_that_the_extra_brings_is_new_enough() -> None:
    assert hub.version_of(hub.binary()) >= hub.OLDEST
