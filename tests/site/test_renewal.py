"""A newer snapshot is taken between rounds: what was adopted stays, what was answered is not said again, and a hold answers nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.site.test_desk import Seat
from tests.support import protocol
from wardround.combining.secure.session import Session
from wardround.site.renewal import HOLDS, held, hold, stopped
from wardround.site.state import SiteState
from wardround.study.arrays import to_bytes
from wardround.study.task import NOTHING, Receipt, Refusal, RoundClosed, Task, Update

KEY = ("sha256:" + "0" * 64, "north")
TASK = Task("small", KEY[0], "train", 2, 0, "answer", "north", 60, "sha256:" + "1" * 64, "")
RECEIPT = Receipt("ab" * 32, 3, 4, "cd" * 32, "sha256:" + "2" * 64, "ef" * 32)


@pytest.fixture
def memory() -> SiteState:
    state = SiteState(sqlite3.connect(":memory:"), *KEY, "first")
    state.answer(TASK, Update(TASK.digest, "north", b"sums over a patient", {}, RECEIPT, "signed"), to_bytes({"own": np.arange(3.0)}))
    return state


def closing(round: int = 2) -> RoundClosed:
    return RoundClosed("train", round, 0, (RECEIPT.entry,), "total", "state")


def test_what_was_adopted_and_proposed_goes_over_to_the_newer_snapshot(memory: SiteState) -> None:
    memory.adopt(closing())
    memory.answer(replace(TASK, phase="local"), Update(TASK.digest, "north", b"", {}, RECEIPT, ""), to_bytes({"next": np.ones(1)}))
    moved = memory.move("second")
    assert np.array_equal(moved.mine()["train"]["own"], np.arange(3.0)) and list(memory.mine()) == []
    assert moved.adopt(replace(closing(), phase="local")) == RECEIPT.entry, "a closing that comes after the change is taken all the same"
    assert np.array_equal(moved.mine()["local"]["next"], np.ones(1))


def test_what_was_answered_on_the_older_rows_is_known_and_gone(memory: SiteState) -> None:
    found = memory.move("second").answered("train")
    assert found is not None and (found.round, found.ask, found.update.body) == (2, "", b"")
    assert b"sums over a patient" not in b"".join(line.encode() for line in memory._db.iterdump())


def test_what_is_remembered_goes_over_to_whatever_is_approved_next(memory: SiteState) -> None:
    memory.sessions.open("train", 2, frozenset({"north", "south"}))
    third = SiteState(memory._db, *KEY, "third")
    assert third.answered("train") is None
    third.gather()
    found = third.answered("train")
    assert found is not None and (found.round, found.update.body) == (2, b"")
    assert third.sessions.opened("train", 2) == frozenset({"north", "south"})


def test_an_answer_held_on_another_snapshot_is_worked_out_anew(tmp_path: Path) -> None:
    made = seat(tmp_path)
    made.journal.hold(made.task(), {"w": np.ones(2)}, None, "release", "older")
    assert isinstance(made.desk.settle(made.task()), Update) and made.worked == 1
    assert made.journal.held() == []


def test_a_total_that_was_opened_stays_opened(memory: SiteState) -> None:
    memory.sessions.open("train", 2, frozenset({"north", "south"}))
    moved = memory.move("second").sessions
    assert moved.opened("train", 2) == frozenset({"north", "south"}) and moved.last("train", Session.from_json) is None


def seat(tmp_path: Path) -> Seat:
    made = Seat(tmp_path)
    made.connection.commit()
    return made


def test_a_round_that_was_answered_is_not_answered_anew_on_the_newer_rows(tmp_path: Path) -> None:
    """The difference of two answers to one question would show who is in one of them only."""
    made = seat(tmp_path)
    first = made.desk.settle(made.task())
    assert isinstance(first, Update)
    made.desk._site = replace(made.site, state=made.site.state.move("second"))
    again = made.desk.settle(made.task(attempt=1))
    assert isinstance(again, Refusal) and made.worked == 1
    assert again.reason == "another ask was answered in this phase and round, or after it"


@pytest.mark.parametrize("why", HOLDS)
def test_a_hold_answers_nothing_says_nothing_of_a_patient_and_ends(tmp_path: Path, why: str) -> None:
    made = seat(tmp_path)
    hold(made.journal, why)
    found = made.desk.settle(made.task())
    assert isinstance(found, Refusal) and (found.where, found.again, made.worked) == ("accept", True, 0)
    assert found.reason == HOLDS[why].told and not any(word in found.reason for word in ("patient", "opt"))
    assert made.desk.settle(replace(made.task(), stage="close", body=NOTHING)) is None, "that the study has ended is heard all the same"
    hold(made.journal, why, on=False)
    assert stopped(made.journal) is None and isinstance(made.desk.settle(made.task(attempt=1)), Update)


def test_the_most_lasting_of_several_holds_is_told(tmp_path: Path) -> None:
    made = seat(tmp_path)
    for why in ("tables", "list"):
        hold(made.journal, why)
    assert held(made.journal) == HOLDS["tables"]


def test_what_was_worked_out_while_a_hold_came_is_thrown_away(tmp_path: Path) -> None:
    made = seat(tmp_path)
    answer = made.answer

    def and_then_hold(work):  # type: ignore[no-untyped-def]
        hold(made.journal, "changed")
        made.connection.commit()
        return answer(work)

    made.answer = and_then_hold
    assert isinstance(made.desk.settle(made.task()), Refusal)
    assert made.logged() == ["refused"]


def test_plans_keep_their_digest_and_rolling_is_part_of_it() -> None:
    secure: dict[str, Any] = {"rounds": {"quorum": 3, "combine": "secure"}, "privacy": {"counts": False}}
    frozen, rolling = protocol(**secure), protocol(data="rolling", **secure)
    assert b'"data"' not in frozen.canonical and frozen.digest == protocol(data="frozen", **secure).digest != rolling.digest
