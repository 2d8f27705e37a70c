"""A line to a hub: what it needs of the library it brings itself, and a hub that dies is noticed at once and quietly."""

from __future__ import annotations

import logging
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import nats.aio.client
import nats.aio.transport
import pytest

from tests.engines.federated import new_centre, open_protocol
from wardround.engines import hubkeys
from wardround.engines.connection import Connection
from wardround.engines.keeper import Keeper
from wardround.study.errors import Unreachable


def test_the_library_is_left_as_it_is() -> None:
    assert vars(nats.aio.client)["TcpTransport"] is nats.aio.transport.TcpTransport
    assert not logging.getLogger("asyncio").filters


def test_a_hub_that_dies_is_noticed_at_once_and_the_line_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = new_centre(tmp_path / "centre", open_protocol())
    with closing(Keeper(folder, lambda text: None)) as keeper:
        link = Connection(folder.settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("coordinator")), "coordinator")
        with closing(link):
            for number in (signal.SIGTERM, signal.SIGKILL):
                assert keeper._process is not None
                began = time.monotonic()
                keeper._process.send_signal(number)
                while link.connected and time.monotonic() - began < 10:
                    time.sleep(0.005)
                assert time.monotonic() - began < 2
                while not link.connected and time.monotonic() - began < 20:
                    time.sleep(0.05)
                assert link.connected
                assert "streams" in link.api("$JS.API.STREAM.NAMES")
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]


def test_a_request_that_is_under_way_ends_when_the_line_breaks(tmp_path: Path) -> None:
    folder = new_centre(tmp_path / "centre", open_protocol())
    with closing(Keeper(folder, lambda text: None)) as keeper:
        link = Connection(folder.settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("coordinator")), "coordinator")
        with closing(link):
            assert keeper._process is not None
            keeper._process.send_signal(signal.SIGSTOP)  # it does not answer, and then it is gone
            threading.Timer(0.5, keeper._process.send_signal, (signal.SIGKILL,)).start()
            began = time.monotonic()
            with pytest.raises(Unreachable, match="broke"):
                link.request("$JS.API.STREAM.NAMES", b"", timeout=60)
            assert time.monotonic() - began < 20
            assert not link._under_way
