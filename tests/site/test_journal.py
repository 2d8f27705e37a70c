"""Tasks that came are answered once, newest first, and what waits for a person waits on disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.site.journal import Held, Journal


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(tmp_path / "site.sqlite")
    yield made
    made.close()


@pytest.fixture
def journal(connection: sqlite3.Connection) -> Journal:
    return Journal(connection)


def test_a_task_is_new_once(journal: Journal) -> None:
    assert journal.waiting() is None
    assert journal.put("t1", b"one") is True
    assert journal.put("t1", b"other bytes") is False
    assert journal.waiting() == ("t1", b"one")
    assert journal.waiting() == ("t1", b"one"), "it waits until it is settled"


def test_the_newest_task_is_taken_and_older_ones_are_passed_by(journal: Journal) -> None:
    for number in range(3):
        journal.put(f"t{number}", bytes([number]))
    assert journal.waiting() == ("t2", b"\x02")
    journal.settle("t2")
    assert journal.waiting() is None
    assert journal.count() == {"passed": 2, "settled": 1}


def test_a_settled_task_that_comes_again_is_answered_again(journal: Journal) -> None:
    journal.put("t1", b"one")
    journal.settle("t1")
    assert journal.waiting() is None
    assert journal.put("t1", b"one") is False
    journal.again("t1")
    assert journal.waiting() == ("t1", b"one")


def test_a_task_that_came_again_does_not_stop_a_newer_one(journal: Journal) -> None:
    journal.put("t1", b"one")
    journal.settle("t1")
    journal.put("t2", b"two")
    journal.again("t1")
    assert journal.waiting() == ("t2", b"two")


def test_messages_of_long_ago_are_forgotten_and_the_tasks_are_not(journal: Journal, connection: sqlite3.Connection) -> None:
    for number in range(20):
        journal.put(f"t{number}", b"x" * 100)
        journal.settle(f"t{number}")
    kept = connection.execute("SELECT count(*) FROM site_tasks WHERE message != x''").fetchone()[0]
    assert kept == 9
    assert journal.count() == {"settled": 20}
    assert journal.put("t0", b"x") is False
    journal.again("t0")
    assert journal.waiting() is None, "there is nothing left to answer it from"


def test_what_is_written_is_there_after_a_crash_once_it_was_committed(tmp_path: Path) -> None:
    first = sqlite3.connect(tmp_path / "one.sqlite")
    journal = Journal(first)
    journal.put("t1", b"one")
    journal.hold("t1", "train, round 1", b"sums", None)
    journal.put_meta("key", b"value")
    first.commit()
    journal.put("t2", b"two")
    journal.settle("t1")
    first.close()
    second = sqlite3.connect(tmp_path / "one.sqlite")
    again = Journal(second)
    assert again.waiting() == ("t1", b"one")
    assert again.held() == [Held("t1", "train, round 1", b"sums", None, "waiting")]
    assert again.meta("key") == b"value"
    second.close()


def test_an_answer_is_held_until_somebody_decides(journal: Journal) -> None:
    journal.hold("t1", "train, round 1", b"sums", b"mine")
    journal.hold("t1", "train, round 1", b"others", None)
    assert journal.held() == [Held("t1", "train, round 1", b"sums", b"mine", "waiting")]
    assert journal.decide("release") == 1
    assert journal.decide("refuse") == 0, "what was decided is not decided again"
    assert [held.decision for held in journal.held()] == ["release"]
    journal.settle("t1")
    assert journal.held() == []


def test_a_decision_is_about_what_waits_now(journal: Journal) -> None:
    journal.hold("t1", "a", b"1", None)
    journal.decide("refuse")
    journal.hold("t2", "b", b"2", None)
    assert {held.task: held.decision for held in journal.held()} == {"t1": "refuse", "t2": "waiting"}


def test_values_are_kept_by_name(journal: Journal) -> None:
    assert journal.meta("approval") is None
    journal.put_meta("approval", b"one")
    journal.put_meta("approval", b"two")
    journal.put_meta("refusal", b"")
    assert (journal.meta("approval"), journal.meta("refusal")) == (b"two", b"")


@given(st.lists(st.tuples(st.sampled_from(["put", "settle", "again", "look"]), st.integers(0, 12)), max_size=60))
def test_what_waits_is_always_the_newest_task_that_is_not_settled(steps: list[tuple[str, int]]) -> None:
    connection = sqlite3.connect(":memory:")
    journal, order, states = Journal(connection), list[str](), dict[str, str]()
    for what, number in steps:
        task = f"t{number}"
        if what == "put":
            assert journal.put(task, task.encode()) is (task not in states)
            if task not in states:
                order.append(task)
                states[task] = "waiting"
        elif what == "settle" and task in states:
            journal.settle(task)
            states[task] = "settled"
        elif what == "again" and task in order[-8:]:
            journal.again(task)
            states[task] = "waiting"
        elif what == "look":
            waiting = [task for task in order if states[task] == "waiting"]
            found = journal.waiting()
            assert found == ((waiting[-1], waiting[-1].encode()) if waiting else None)
            states |= {task: "passed" for task in waiting[:-1]}
        counted = {state: list(states.values()).count(state) for state in set(states.values())}
        assert journal.count() == counted
    connection.close()
