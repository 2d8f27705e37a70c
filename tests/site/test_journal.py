"""Tasks that came are answered once, newest first, and what waits for a person waits on disk."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.site.journal import Held, Journal, asked
from wardround.study.arrays import Stored, from_bytes, keep, to_bytes
from wardround.study.files import LARGE, Kept
from wardround.study.task import Task

TASK = Task("small", "sha256:" + "1" * 64, "train", 0, 0, "answer", "site0", 60, "sha256:" + "2" * 64, "sha256:" + "3" * 64)
SUMS, MINE = {"w": np.array([-0.5, 2.0])}, {"w": np.ones(3)}
LARGE_SUMS = {"w": np.arange(LARGE // 8 + 1, dtype=np.float64)}


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
    journal.hold(TASK, SUMS, None)
    journal.put_meta("key", b"value")
    journal.note("the disk is old")
    first.commit()
    journal.put("t2", b"two")
    journal.settle("t1")
    first.close()
    second = sqlite3.connect(tmp_path / "one.sqlite")
    again = Journal(second)
    assert again.waiting() == ("t1", b"one")
    (held,) = again.held()
    assert held == Held(asked(TASK), TASK.digest, held.code, "train, round 1", to_bytes(SUMS), None, "waiting")
    assert again.meta("key") == b"value"
    assert [text for _, text in again.notes()] == ["the disk is old"]
    second.close()


def test_an_answer_is_held_until_somebody_decides_on_these_very_sums(journal: Journal) -> None:
    journal.hold(TASK, SUMS, MINE)
    (held,) = journal.held()
    assert (held.sums, held.proposal, held.decision) == (to_bytes(SUMS), to_bytes(MINE), "waiting")
    assert re.fullmatch("[0-9a-f]{12}", held.code)
    assert journal.decide("release", "0" * 12) is None and journal.held() == [held]
    assert journal.decide("release", held.code) == "train, round 1"
    assert journal.decide("refuse", held.code) is None, "what was decided is not decided again"
    assert [held.decision for held in journal.held()] == ["release"]


def test_other_sums_and_another_round_have_another_code(journal: Journal) -> None:
    codes = set()
    for task, sums in ((TASK, SUMS), (TASK, MINE), (replace(TASK, round=1), SUMS)):
        journal.hold(task, sums, None)
        codes.add(journal.renew(task).code)  # type: ignore[union-attr]
    assert len(codes) == 3


def test_another_attempt_finds_the_answer_and_shows_a_refused_one_again(journal: Journal) -> None:
    journal.hold(TASK, SUMS, None)
    code = journal.held()[0].code
    second = replace(TASK, attempt=1)
    found = journal.renew(second)
    assert found is not None and (found.code, found.decision, found.task) == (code, "waiting", second.digest)
    journal.decide("refuse", code)
    assert [journal.renew(task).decision for task in (second, replace(TASK, attempt=2))] == ["refuse", "waiting"]  # type: ignore[union-attr]
    journal.decide("release", code)
    assert journal.renew(replace(TASK, attempt=3)).decision == "release"  # type: ignore[union-attr]


def test_an_answer_to_something_else_is_forgotten(journal: Journal) -> None:
    journal.hold(TASK, SUMS, None)
    assert journal.renew(replace(TASK, round=1)) is None
    assert journal.held() == []


def test_a_large_answer_lies_in_a_file_and_a_small_one_does_not(connection: sqlite3.Connection, tmp_path: Path) -> None:
    journal = Journal(connection, tmp_path / "room")
    journal.hold(TASK, LARGE_SUMS, LARGE_SUMS)
    (held,) = journal.held()
    assert isinstance(held.sums, Kept) and isinstance(held.proposal, Kept) and held.sums.path != held.proposal.path
    assert journal.files() == {held.sums.path, held.proposal.path} == set((tmp_path / "room").iterdir())
    assert np.array_equal(from_bytes(held.sums)["w"], LARGE_SUMS["w"])
    size = connection.execute("SELECT sum(length(sums) + length(proposal)) FROM site_held").fetchone()[0]
    assert size < 1000
    assert held.code == _code_without_room(LARGE_SUMS)
    journal.hold(TASK, SUMS, None)
    assert journal.files() == set() and isinstance(journal.held()[0].sums, bytes)


def _code_without_room(sums: dict[str, np.ndarray]) -> str:
    with closing(sqlite3.connect(":memory:")) as connection:
        journal = Journal(connection)
        journal.hold(TASK, sums, None)
        return journal.held()[0].code


def test_what_a_worker_left_in_a_file_is_not_copied(connection: sqlite3.Connection, tmp_path: Path) -> None:
    path = keep(LARGE_SUMS, tmp_path / "one.answer").path
    journal = Journal(connection, tmp_path)
    journal.hold(TASK, Stored(path), None)
    assert journal.files() == {path} == set(tmp_path.glob("*.answer")) | set(tmp_path.glob("*.held"))


def test_an_answer_whose_file_is_gone_is_not_held(connection: sqlite3.Connection, tmp_path: Path) -> None:
    journal = Journal(connection, tmp_path / "room")
    journal.hold(TASK, LARGE_SUMS, None)
    for path in journal.files():
        path.unlink()
    assert journal.held() == [] and journal.renew(TASK) is None and journal.files() == set()


def test_only_the_last_hundred_notes_are_kept(journal: Journal) -> None:
    for number in range(130):
        journal.note(f"n{number}")
    assert [text for _, text in journal.notes()] == [f"n{number}" for number in range(129, 29, -1)]


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


def test_the_message_before_a_task_is_known_for_a_while(journal: Journal) -> None:
    for number in range(12):
        journal.put(f"t{number}", f"m{number}".encode())
        assert journal.before(f"t{number}") == (f"m{number - 1}".encode() if number else None)
        journal.settle(f"t{number}")
    assert journal.before("t1") is None, "it is forgotten with all but the last few"
    assert journal.before("unknown") is None
