"""A hub of two servers: both follow the list of sites, and one that reads another file is named."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.federated import free_port, new_centre, open_protocol
from wardround import centre
from wardround.coordinator.enrolment import Enrolment
from wardround.coordinator.folder import SETTINGS, Folder
from wardround.engines import hub, hubkeys, hubreload
from wardround.engines.connection import Connection
from wardround.study.errors import StoreError, Unreachable

SITE = bytes([7]) * 32


@dataclass
class Cluster:
    """Two servers of one hub, the second of which may read the folder's configuration or a copy of its own."""

    folder: Folder
    ports: tuple[int, int]

    def connect(self, number: int) -> Connection:
        """Return the site's line to one of the servers."""
        return Connection(f"tls://127.0.0.1:{self.ports[number]}", self.folder.authority, hubkeys.seed(SITE), "slot001", stay=False)

    def servers(self) -> int:
        """Return how many servers the hub's admin hears of."""
        with closing(Connection(self.folder.settings.own_url, self.folder.authority, self._admin, "admin", stay=False)) as link:
            return int(link.api("$SYS.REQ.SERVER.PING")["statsz"]["active_servers"])

    @property
    def _admin(self) -> str:
        return hubkeys.seed(self.folder.hub_key("admin"))


def server(folder: Path, name: str, reads: str, listen: int, own: int, other: int) -> subprocess.Popen[bytes]:
    (folder / f"{name}.conf").write_text(
        f"""include "{reads}"
server_name: {name}
listen: "127.0.0.1:{listen}"
pid_file: "{name}.pid"
jetstream {{ store_dir: "{name}" }}
cluster {{ name: hub, listen: "127.0.0.1:{own}", routes: ["nats-route://127.0.0.1:{other}"] }}
"""
    )
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen([str(hub.binary()), "-c", f"{name}.conf"], cwd=folder, stdout=log, stderr=log)


@pytest.fixture(params=["nats.conf", "copy.conf"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """Run a hub of two servers, with a site in the first slot."""
    folder = new_centre(tmp_path / "centre", open_protocol())
    with closing(Enrolment(folder.path / centre.ENROLMENT)) as enrolment:
        slot = enrolment.invite("i1", "north", hubkeys.public(bytes([8]) * 32), 10, 0)
        with enrolment.change():
            enrolment.admit("i1", "north", slot, bytes(32), hubkeys.public(SITE), 5)
        centre.configure(folder, enrolment)
    (folder.hub / "copy.conf").write_bytes((folder.hub / "nats.conf").read_bytes())
    ports, first, second = (folder.settings.port, free_port()), free_port(), free_port()
    settings = folder.path / SETTINGS
    settings.write_text(settings.read_text() + f'url = "tls://127.0.0.1:{ports[0]}"\n')
    made = Cluster(Folder(folder.path), ports)
    running = [
        server(folder.hub, "first", "nats.conf", ports[0], first, second),
        server(folder.hub, "second", request.param, ports[1], second, first),
    ]
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                if made.servers() == 2:
                    break
            except Unreachable:
                pass
            time.sleep(0.1)
        yield made
    finally:
        for one in running:
            one.kill()
            one.wait()


def gone(link: Connection, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while link.connected and time.monotonic() < until:
        time.sleep(0.01)
    return not link.connected


def test_a_site_is_cut_off_at_every_server_or_the_ones_that_keep_it_are_named(cluster: Cluster, request: pytest.FixtureRequest) -> None:
    copy = "copy" in request.node.callspec.id
    with closing(cluster.connect(0)) as here, closing(cluster.connect(1)) as there:
        done = centre.cut_off(cluster.folder, "north", "revoked")
        assert gone(here, 5)
        if not copy:
            assert (done.hub, done.servers) == ("told", ("first", "second"))
            assert gone(there, 5)
            return
        assert done.hub == "not told" and "second (127.0.0.1) reads another file" in done.why and "first" not in done.why
        assert "nats.conf" in done.remedy and "nats-server --signal reload" in done.remedy
        assert there.connected, "as it was said"
        (cluster.folder.hub / "copy.conf").write_bytes((cluster.folder.hub / "nats.conf").read_bytes())
        admin = hubkeys.seed(cluster.folder.hub_key("admin"))
        assert hubreload.reload(cluster.folder.settings.own_url, cluster.folder.authority, admin) == ("first", "second")
        assert gone(there, 5)


def test_a_server_that_finds_nothing_new_where_something_changed_is_named(cluster: Cluster) -> None:
    url, authority = cluster.folder.settings.own_url, cluster.folder.authority
    admin = hubkeys.seed(cluster.folder.hub_key("admin"))
    assert hubreload.reload(url, authority, admin) == ("first", "second")
    with pytest.raises(StoreError, match=r"first .*; second .*") as error:
        hubreload.reload(url, authority, admin, True)
    assert "nats.conf" in error.value.remedy
