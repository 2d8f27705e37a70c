"""Who may take part: slots, invites that are good once, and sites that are cut off."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wardround.coordinator.enrolment import Enrolment
from wardround.study.errors import NotAdmitted, StoreError

IDENTITY, OTHER = bytes(32), bytes([1]) * 32


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Enrolment]:
    made = Enrolment(tmp_path / "enrolment.sqlite")
    made.add_slots(["slot001", "slot002"], ["nobody1", "nobody2"])
    yield made
    made.close()


def admit(kept: Enrolment, number: str, site: str, slot: str, identity: bytes = IDENTITY, key: str = "own", now: float = 5) -> bool:
    with kept.change():
        return kept.admit(number, site, slot, identity, key, now)


def cut_off(kept: Enrolment, site: str, state: str = "revoked") -> None:
    with kept.change():
        kept.cut_off(site, state, "nobody")


def right(kept: Enrolment, slot: str) -> tuple[str, str]:
    return next((key, allowed) for name, key, allowed in kept.slots() if name == slot)


def test_slots_begin_with_keys_that_nobody_holds(kept: Enrolment) -> None:
    assert kept.slots() == [("slot001", "nobody1", "nothing"), ("slot002", "nobody2", "nothing")]


def test_an_invite_opens_its_slot_for_joining_and_for_nothing_else(kept: Enrolment) -> None:
    assert kept.invite("i1", "north", "admission", 10, 0) == "slot001"
    assert right(kept, "slot001") == ("admission", "join")
    assert right(kept, "slot002") == ("nobody2", "nothing")
    assert kept.sites() == []


def test_a_site_that_shows_its_invite_is_in_with_its_own_key(kept: Enrolment) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    assert admit(kept, "i1", "north", slot) is True
    site = kept.site("north")
    assert site is not None and (site.identity, site.key, site.slot, site.state) == (IDENTITY, "own", slot, "joined")
    assert right(kept, slot) == ("own", "site")
    assert [invite.used for invite in kept.invites()] == [True]


def test_the_same_keys_again_are_no_news_and_no_error(kept: Enrolment) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    admit(kept, "i1", "north", slot)
    assert admit(kept, "i1", "north", slot, now=99) is False


@pytest.mark.parametrize("change", [{"identity": OTHER}, {"key": "another"}])
def test_an_invite_is_good_once(kept: Enrolment, change: dict[str, object]) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    admit(kept, "i1", "north", slot)
    with pytest.raises(NotAdmitted, match="used already"):
        admit(kept, "i1", "north", slot, **change)  # type: ignore[arg-type]
    site = kept.site("north")
    assert site is not None and (site.identity, site.key) == (IDENTITY, "own")


def test_an_invite_expires(kept: Enrolment) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    with pytest.raises(NotAdmitted, match="expired"):
        admit(kept, "i1", "north", slot, now=10.1)
    assert kept.sites() == [] and right(kept, slot)[1] == "join"
    assert admit(kept, "i1", "north", slot, now=10)


@pytest.mark.parametrize(("number", "site", "slot"), [("i2", "north", "slot001"), ("i1", "south", "slot001"), ("i1", "north", "slot002")])
def test_an_invite_is_for_one_site_in_one_place(kept: Enrolment, number: str, site: str, slot: str) -> None:
    kept.invite("i1", "north", "admission", 10, 0)
    with pytest.raises(NotAdmitted, match="not known"):
        admit(kept, number, site, slot)
    assert kept.sites() == []


def test_a_newer_invite_takes_the_place_of_an_unused_one(kept: Enrolment) -> None:
    assert kept.invite("i1", "north", "first", 10, 0) == kept.invite("i2", "north", "second", 10, 0)
    assert right(kept, "slot001") == ("second", "join")
    with pytest.raises(NotAdmitted, match="newer one"):
        admit(kept, "i1", "north", "slot001")
    assert admit(kept, "i2", "north", "slot001")


def test_a_site_that_is_in_is_not_invited_again(kept: Enrolment) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    admit(kept, "i1", "north", slot)
    with pytest.raises(StoreError, match="has joined already"):
        kept.invite("i2", "north", "admission", 10, 0)
    assert right(kept, slot) == ("own", "site")


@pytest.mark.parametrize("state", ["revoked", "left"])
def test_a_site_that_is_cut_off_loses_its_key_and_its_invite(kept: Enrolment, state: str) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    admit(kept, "i1", "north", slot)
    cut_off(kept, "north", state)
    site = kept.site("north")
    assert site is not None and site.state == state
    assert right(kept, slot) == ("nobody", "nothing")
    with pytest.raises(NotAdmitted, match="used already"):
        admit(kept, "i1", "north", slot)
    assert right(kept, slot) == ("nobody", "nothing")


def test_a_site_that_was_cut_off_comes_back_under_another_name_and_in_another_place(kept: Enrolment) -> None:
    slot = kept.invite("i1", "north", "a", 10, 0)
    admit(kept, "i1", "north", slot)
    cut_off(kept, "north")
    with pytest.raises(StoreError, match="needs another name"):
        kept.invite("i2", "north", "b", 10, 0)
    assert kept.invite("i2", "north-2", "b", 10, 0) != slot


def test_an_invite_that_was_not_used_can_be_withdrawn(kept: Enrolment) -> None:
    kept.invite("i1", "north", "admission", 10, 0)
    with pytest.raises(StoreError, match="No site south"):
        cut_off(kept, "south")
    assert right(kept, "slot001") == ("admission", "join")
    cut_off(kept, "north")
    assert right(kept, "slot001")[1] == "nothing"
    with pytest.raises(NotAdmitted), kept.change():
        kept.admit("i1", "north", "slot001", b"i" * 32, "key", 1)


def test_places_run_out_and_expired_invites_give_theirs_back(kept: Enrolment) -> None:
    kept.invite("i1", "north", "a", 10, 0)
    kept.invite("i2", "south", "b", 20, 0)
    with pytest.raises(StoreError, match="no place left"):
        kept.invite("i3", "east", "c", 30, 10)
    assert kept.invite("i3", "east", "c", 30, 11) == "slot001"
    with pytest.raises(NotAdmitted):
        admit(kept, "i1", "north", "slot001", now=5)
    assert {one.site for one in kept.invites()} == {"east", "south"}


def test_a_place_of_a_site_that_left_is_not_given_to_another(kept: Enrolment) -> None:
    slot = kept.invite("i1", "north", "a", 10, 0)
    admit(kept, "i1", "north", slot)
    cut_off(kept, "north", "left")
    assert kept.invite("i2", "south", "b", 10, 0) != slot
    with pytest.raises(StoreError, match="no place left"):
        kept.invite("i3", "east", "c", 10, 0)


def test_a_change_that_fails_leaves_nothing(kept: Enrolment) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    with pytest.raises(ZeroDivisionError), kept.change():
        kept.admit("i1", "north", slot, IDENTITY, "own", 5)
        raise ZeroDivisionError
    assert kept.sites() == [] and right(kept, slot) == ("admission", "join")
    assert admit(kept, "i1", "north", slot)


def test_the_list_is_on_disk_and_for_this_user_only(kept: Enrolment, tmp_path: Path) -> None:
    slot = kept.invite("i1", "north", "admission", 10, 0)
    admit(kept, "i1", "north", slot)
    path = tmp_path / "enrolment.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Enrolment(path)
    assert (again.sites(), again.invites(), again.slots()) == (kept.sites(), kept.invites(), kept.slots())
    again.close()


def test_two_that_change_at_once_are_told_apart(kept: Enrolment, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "enrolment.sqlite", timeout=0, isolation_level=None)
    with kept.change(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(steps=st.lists(st.tuples(st.sampled_from(["invite", "admit", "cut"]), st.integers(0, 3), st.integers(0, 5)), max_size=25))
def test_whatever_happens_every_place_has_one_owner(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]) -> None:
    """No two sites share a slot; a slot has a site's right exactly when a site that is in owns it, with that site's key."""
    kept = Enrolment(tmp_path_factory.mktemp("enrolment") / "list.sqlite")
    kept.add_slots(["slot001", "slot002", "slot003"], ["n1", "n2", "n3"])
    given_out: list[tuple[str, str, str]] = []
    for now, (what, who, which) in enumerate(steps):
        site = f"site{who}"
        try:
            if what == "invite":
                slot = kept.invite(f"i{now}", site, f"admission{now}", now + which, now)
                given_out.append((f"i{now}", site, slot))
            elif what == "admit" and given_out:
                number, named, slot = given_out[which % len(given_out)]
                admit(kept, number, named, slot, bytes([who]) * 32, f"own{who}", now)
            elif what == "cut":
                cut_off(kept, site)
        except (NotAdmitted, StoreError):
            pass
        sites, slots = kept.sites(), {name: (key, allowed) for name, key, allowed in kept.slots()}
        assert len({one.slot for one in sites}) == len(sites)
        joined = {one.slot: one.key for one in sites if one.state == "joined"}
        assert {name: key for name, (key, allowed) in slots.items() if allowed == "site"} == joined
        out = {one.slot for one in kept.invites() if not one.used}
        assert {name for name, (_, allowed) in slots.items() if allowed == "join"} == out
    kept.close()
