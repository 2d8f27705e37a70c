"""The hub is kept running; why it does not run is said once, and stands there until it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.engines.federated import new_centre, open_protocol
from wardround import centre
from wardround.coordinator.enrolment import Enrolment
from wardround.engines import hub, hubkeys
from wardround.engines.connection import Connection
from wardround.engines.keeper import Keeper, reason
from wardround.study.errors import NotAdmitted, StoreError


def soon(what: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    return what()


def test_a_hub_that_does_not_start_again_is_named_until_it_does(tmp_path: Path) -> None:
    folder, said = new_centre(tmp_path / "centre", open_protocol()), list[str]()
    with closing(Keeper(folder, said.append)) as keeper:
        place = folder.hub / "nats.conf"
        good = place.read_text()
        place.write_text(good.replace("ping_max: 2", "ping_max: many"))
        assert keeper._process is not None
        keeper._process.kill()
        assert soon(lambda: bool(keeper.trouble))
        time.sleep(2)  # it tries again, and does not say so again
        assert said[0] == "The hub ended and is started again."
        assert said[1:] == [keeper.trouble] and "does not start" in said[1] and "nats.log" in said[1]
        place.write_text(good)
        assert soon(lambda: not keeper.trouble)
        assert hub.reachable(folder.settings.own_url, folder.authority, hubkeys.seed(folder.hub_key("admin")))


def test_a_hub_that_outlived_its_coordinator_is_told_what_changed_meanwhile(tmp_path: Path) -> None:
    folder, raw = new_centre(tmp_path / "centre", open_protocol()), bytes([7]) * 32
    with closing(Keeper(folder, lambda text: None)):
        with closing(Enrolment(folder.path / centre.ENROLMENT)) as enrolment:
            enrolment.invite("i1", "north", hubkeys.public(raw), 2**40, 0)
            centre.configure(folder, enrolment)

        def connect() -> None:
            Connection(folder.settings.own_url, folder.authority, hubkeys.seed(raw), "slot001", stay=False).close()

        with pytest.raises(NotAdmitted):
            connect()
        with closing(Keeper(folder, lambda text: None)):
            connect()


def test_only_the_kind_of_a_foreign_error_is_told() -> None:
    assert reason(StoreError("The disk is full.", "Make room.")) == "The disk is full. Make room."
    assert "ValueError" in reason(ValueError("secret")) and "secret" not in reason(ValueError("secret"))
