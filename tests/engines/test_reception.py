"""Letting sites in while the coordinator's disk, list or hub refuses: both sides hear of it, and the same invite is good afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.engines.federated import Federation, bring, new_centre, open_protocol
from tests.support import rows
from wardround import centre, hospital
from wardround.coordinator import events
from wardround.serving import Serving
from wardround.site.folder import SiteFolder
from wardround.study.errors import NotAdmitted, StoreError, Unreachable, WardroundError


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Federation]:
    """Return a coordinator that serves, which nobody has joined."""
    folder, seen = new_centre(tmp_path / "centre", open_protocol()), list[events.Event]()
    found = Federation(folder, Serving(folder, 0, seen.append), {}, seen)
    yield found
    found.serving.close()


@pytest.fixture
def invited(made: Federation, tmp_path: Path) -> SiteFolder:
    """Return the folder of a hospital that holds an invite."""
    folder = bring(tmp_path / "north", "north", rows(0, 60), made.centre.protocol)
    (folder.path / "invite").write_bytes(centre.invite(made.centre, "north", 1))
    return folder


def listed(made: Federation) -> sqlite3.Connection:
    return sqlite3.connect(made.centre.path / centre.ENROLMENT, isolation_level=None)


def notes(made: Federation, part: str) -> list[str]:
    return [event.text for event in made.seen if isinstance(event, events.Note) and part in event.text]


def test_a_list_that_cannot_be_written_is_told_to_both_sides(made: Federation, invited: SiteFolder) -> None:
    with closing(listed(made)) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON sites BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END")
        with pytest.raises(NotAdmitted, match="cannot let this site in now") as error:
            hospital.join(invited.path, invited.path / "invite")
        assert "the invite stays good" in error.value.remedy
        assert len(notes(made, "A site cannot be let in yet (slot001): ")) == 1
        assert not made.serving._members()
        database.execute("DROP TRIGGER full")
    hospital.join(invited.path, invited.path / "invite")
    assert set(made.serving._members()) == {"north"}


def test_a_list_that_somebody_holds_keeps_only_the_one_waiting_who_joins(made: Federation, invited: SiteFolder) -> None:
    joining = threading.Thread(target=hospital.join, args=(invited.path, invited.path / "invite"))
    with closing(listed(made)) as database:
        database.execute("BEGIN IMMEDIATE")
        joining.start()
        until = time.monotonic() + 2
        while time.monotonic() < until:  # the connection's thread goes on
            made.serving._link.run(asyncio.sleep(0), 0.5)
            time.sleep(0.05)
        assert not made.serving._members()
        database.execute("COMMIT")
    joining.join(20)
    assert set(made.serving._members()) == {"north"}


def test_a_hub_that_cannot_be_told_of_a_new_site_is_named_once_and_told_later(made: Federation, invited: SiteFolder) -> None:
    blocked = made.centre.hub / "nats.conf.new"
    blocked.mkdir()
    joining = threading.Thread(target=hospital.join, args=(invited.path, invited.path / "invite"))
    joining.start()
    until = time.monotonic() + 10
    while not notes(made, "could not follow the list of sites yet") and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(1.2)
    assert len(notes(made, "could not follow the list of sites yet")) == 1
    blocked.rmdir()
    joining.join(20)
    assert SiteFolder(invited.path).membership.site == "north", "its own key was let in"


@pytest.mark.parametrize("error", [Unreachable("Nothing answers.", ""), StoreError("The hub could not make the stream.", "")])
def test_a_hub_that_refuses_for_a_moment_is_asked_again(
    made: Federation, invited: SiteFolder, monkeypatch: pytest.MonkeyPatch, error: WardroundError
) -> None:
    whole, failed = made.serving._link.api, list[str]()

    def api(subject: str, want: dict[str, Any] | None = None, timeout: float = 2.0) -> dict[str, Any]:
        if subject.startswith("$JS.API.STREAM.UPDATE.") and len(failed) < 2:
            failed.append(subject)
            raise error
        return whole(subject, want, timeout)

    monkeypatch.setattr(made.serving._link, "api", api)
    hospital.join(invited.path, invited.path / "invite")
    assert len(failed) == 2
    assert not notes(made, "A site cannot be let in yet")
    assert set(made.serving._members()) == {"north"}
