"""Who is there: beats every two seconds, a lease of six, and one process a site."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.engines.presence import LEASE, Presence


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def presence(clock: Clock) -> Presence:
    return Presence(clock)


def test_a_site_is_here_for_a_lease_after_each_beat(presence: Presence, clock: Clock) -> None:
    assert not presence.here("north")
    assert presence.beat("north", "a", 1, 1) == "ok"
    clock.now += LEASE - 0.01
    assert presence.here("north") and presence.changes(["north"]) == []
    clock.now += 0.01
    assert not presence.here("north")


def test_lost_and_back_are_said_once_each(presence: Presence, clock: Clock) -> None:
    presence.beat("north", "a", 1, 1)
    presence.beat("south", "b", 2, 1)
    clock.now += 3
    presence.beat("south", "b", 2, 2)
    clock.now += 3
    assert presence.changes(["north", "south"]) == [("north", False)]
    assert presence.changes(["north", "south"]) == []
    assert presence.beat("north", "a", 1, 2) == "ok"
    assert presence.changes(["north", "south"]) == [("north", True)]
    assert presence.changes(["north", "south"]) == []


def test_a_lost_site_is_named_within_ten_seconds_also_when_it_was_never_heard(presence: Presence, clock: Clock) -> None:
    assert presence.changes(["north"]) == []
    assert presence.silent("north") == 0
    clock.now += LEASE
    assert presence.changes(["north"]) == [("north", False)]
    assert presence.silent("north") == LEASE < 10


def test_a_site_is_welcome_right_after_the_coordinator_started_again(presence: Presence, clock: Clock) -> None:
    """The coordinator looks for sites that it knows before they have beaten; that is no second process."""
    assert presence.changes(["north"]) == []
    clock.now += 0.5
    assert presence.beat("north", "a", 1, 17) == "ok"
    assert presence.here("north")


def test_the_process_that_started_last_stays_and_the_other_is_told_to_end(presence: Presence, clock: Clock) -> None:
    """It may have been started in place of one that died a moment ago, and must not wait for a lease to run out."""
    assert presence.beat("north", "a", 1, 1) == "ok"
    clock.now += 1
    assert presence.beat("north", "b", 2, 1) == "ok"
    assert presence.beat("north", "a", 1, 2) == "second"
    clock.now += 2
    assert presence.beat("north", "b", 2, 2) == "ok"


def test_after_a_lease_an_older_process_may_take_over(presence: Presence, clock: Clock) -> None:
    presence.beat("north", "b", 2, 9)
    clock.now += LEASE - 0.01
    assert presence.beat("north", "a", 1, 1) == "second"
    clock.now += 0.01
    assert presence.beat("north", "a", 1, 1) == "ok"


def test_a_look_changes_nothing(presence: Presence, clock: Clock) -> None:
    presence.beat("north", "a", 1, 1)
    clock.now += 5
    assert presence.beat("north", "", 0, 0) == "ok"
    assert presence.silent("north") == 5


def test_a_site_that_came_back_is_held_against_an_older_process_at_once(presence: Presence, clock: Clock) -> None:
    presence.beat("north", "b", 2, 1)
    clock.now += LEASE
    presence.changes(["north"])
    assert presence.beat("north", "b", 2, 2) == "ok"
    assert presence.beat("north", "a", 1, 1) == "second"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_old_beat_sent_again_keeps_nobody_alive(presence: Presence, clock: Clock, number: int) -> None:
    presence.beat("north", "a", 1, 2)
    clock.now += 5
    assert presence.beat("north", "a", 1, number) == "replay"
    assert presence.silent("north") == 5


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["beat", "look"]), st.sampled_from(["a", "b", "c"]), st.integers(1, 6), st.sampled_from([0.0, 0.5, 2.0, 6.5])
        ),
        max_size=40,
    )
)
def test_there_are_never_two_processes_within_a_lease(steps: list[tuple[str, str, int, float]]) -> None:
    clock = Clock()
    presence, last, at, number = Presence(clock), "", 0.0, 0
    for what, instance, sent, seconds in steps:
        clock.now += seconds
        if what == "look":
            presence.changes(["north"])
        elif presence.beat("north", instance, ord(instance), sent) == "ok":
            assert not last or instance >= last or clock.now - at >= LEASE
            assert instance != last or sent > number
            last, at, number = instance, clock.now, sent
            assert presence.here("north")
        elif last:
            assert presence.silent("north") == clock.now - at, "a beat that is not taken in changes nothing"
