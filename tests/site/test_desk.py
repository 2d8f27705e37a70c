"""A task is settled once: worked out once, durable before it may be sent, and held where a person wants to look."""

from __future__ import annotations

import datetime
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.site.test_rules import rules
from tests.support import Small, small
from wardround.coordinator.rounds import plan
from wardround.record.log import Log
from wardround.site.approval import refuse
from wardround.site.desk import Desk, Waits
from wardround.site.gate import Work
from wardround.site.journal import Journal
from wardround.site.policy import HospitalPolicy
from wardround.site.state import SiteState
from wardround.study.arrays import from_bytes
from wardround.study.errors import DataError, Unreachable, VerificationError
from wardround.study.interfaces import Reply
from wardround.study.streams import Stream
from wardround.study.task import NOTHING, Answer, Refusal, State, Task, Update


class Seat:
    """A desk at site0 with a worker that counts, over a database that a second connection looks into."""

    def __init__(self, folder: Path, release: str = "auto", hours: str = "any") -> None:
        self.study = small(folder)
        self.now = datetime.datetime(2026, 11, 21, 12, 0)
        self.database = folder / "site.sqlite"
        self.connection = sqlite3.connect(self.database, timeout=0)
        self.connection.execute("PRAGMA journal_mode = WAL")
        made = self.study.places["site0"].site
        memory = SiteState(self.connection, made.protocol.digest, "site0", "snapshot")
        self.site = replace(made, state=memory, log=Log(self.connection, "site0", made.log.signer, made.protocol.study))
        self.journal = Journal(self.connection)
        self.connection.commit()
        self.worked = 0
        self.answer: Callable[[Work], Reply] = self._answer
        self.rules = rules(release=release, hours=hours)
        self.desk = Desk(self.site, self.journal, self.connection, self._work, self.rules, lambda: self.now)

    def _work(self, work: Work) -> Reply:
        self.worked += 1
        return self.answer(work)

    def _answer(self, work: Work) -> Reply:
        return self.study.protocol.by_phase[work.task.phase].answer(work.task.body, self.study.places["site0"].data, {}, work.rng)

    def task(self, attempt: int = 0) -> Task:
        return task_of(self.study, attempt)

    def decide(self, decision: str) -> None:
        assert self.journal.decide(decision, self.journal.held()[0].code) == "moments, round 1"

    def waits(self, task: Task) -> str:
        found = self.desk.settle(task)
        assert isinstance(found, Waits)
        return found.why

    def on_disk(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as other:
            return other.execute(query).fetchall()

    def logged(self) -> list[str]:
        return [entry["t"] for entry in self.site.log.entries()]


def task_of(study: Small, attempt: int) -> Task:
    algorithm = study.protocol.algorithms[0]
    state = algorithm.begin(study.protocol, {}, Stream.public(0))
    assert isinstance(state, State)
    return next(one for one in plan(study.protocol, study.engine, study.book, state, attempt, algorithm.ask(state)) if one.site == "site0")


@pytest.fixture
def seats(tmp_path: Path) -> Iterator[Callable[..., Seat]]:
    """Return what makes desks, by what their rules hold."""
    made: list[Seat] = []

    def make(release: str = "auto", hours: str = "any") -> Seat:
        (tmp_path / str(len(made))).mkdir()
        made.append(Seat(tmp_path / str(len(made)), release, hours))
        return made[-1]

    yield make
    for one in made:
        one.connection.close()
        one.study.store.close()


@pytest.fixture
def seat(seats: Callable[..., Seat]) -> Seat:
    return seats()


def test_what_is_let_out_is_on_disk_before_it_can_be_sent(seat: Seat) -> None:
    update = seat.desk.settle(seat.task())
    assert isinstance(update, Update)
    assert seat.on_disk("SELECT body FROM site_answered WHERE site = 'site0'") == [(update.body,)]
    assert seat.logged() == ["egress"]


def test_a_task_that_comes_again_gives_the_same_bytes_and_is_not_worked_out_twice(seat: Seat) -> None:
    first = seat.desk.settle(seat.task())
    assert seat.desk.settle(seat.task()) == first
    assert seat.worked == 1
    assert seat.logged() == ["egress"]


def test_a_later_attempt_sends_the_same_sums_under_a_new_receipt(seat: Seat) -> None:
    first, second = seat.desk.settle(seat.task()), seat.desk.settle(seat.task(1))
    assert isinstance(first, Update) and isinstance(second, Update)
    assert seat.worked == 1
    assert first.body == second.body and first.task != second.task
    assert first.receipt.entry != second.receipt.entry
    assert seat.logged() == ["egress", "egress"]


def test_a_worker_that_crashes_leaves_nothing_and_the_task_can_come_again(seat: Seat) -> None:
    def crash(work: Work) -> Reply:
        raise KeyboardInterrupt

    working, seat.answer = seat.answer, crash
    with pytest.raises(KeyboardInterrupt):
        seat.desk.settle(seat.task())
    assert seat.logged() == []
    seat.answer = working
    assert isinstance(seat.desk.settle(seat.task()), Update)


def test_a_disk_that_refuses_lets_nothing_out(seat: Seat) -> None:
    """The other connection holds the database, as a full disk would: the log forgets the entry that could not be saved."""
    other = sqlite3.connect(seat.database, isolation_level=None)
    working = seat.answer

    def slow(work: Work) -> Reply:
        other.execute("BEGIN IMMEDIATE")
        return working(work)

    seat.answer = slow
    with pytest.raises(sqlite3.OperationalError):
        seat.desk.settle(seat.task())
    other.execute("ROLLBACK")
    other.close()
    assert seat.logged() == []
    seat.answer = working
    assert isinstance(seat.desk.settle(seat.task()), Update)
    assert seat.logged() == ["egress"]


def test_what_could_be_written_only_in_part_is_not_written(seat: Seat) -> None:
    """The log has its entry already when the answer itself cannot be kept."""
    seat.connection.execute("CREATE TRIGGER full BEFORE INSERT ON site_answered BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.DatabaseError, match="full"):
        seat.desk.settle(seat.task())
    assert seat.logged() == []
    seat.connection.execute("DROP TRIGGER full")
    assert isinstance(seat.desk.settle(seat.task()), Update)
    assert seat.logged() == ["egress"]


def test_a_worker_that_refuses_is_a_refusal_in_the_log(seat: Seat) -> None:
    seat.answer = lambda work: Refusal("", "site0", "answer", "scores are not finite", "Look.", again=True)
    found = seat.desk.settle(seat.task())
    assert isinstance(found, Refusal)
    assert (found.where, found.reason, found.again, found.task) == ("answer", "scores are not finite", True, seat.task().digest)
    assert seat.logged() == ["refused"]


@pytest.mark.parametrize("raised", [False, True])
def test_of_a_workers_error_only_its_class_and_remedy_leave(seat: Seat, raised: bool) -> None:
    error = DataError("creatinine of case 4711 is not finite", "Look at the units.")

    def fail(work: Work) -> Reply:
        if raised:
            raise error
        return Refusal.of("site0", error)

    seat.answer = fail
    found = seat.desk.settle(seat.task())
    assert isinstance(found, Refusal)
    assert (found.where, found.reason, found.remedy) == ("answer", "the worker failed (DataError)", "Look at the units.")
    assert [entry["reason"] for entry in seat.site.log.entries()] == ["the worker failed (DataError)"]
    assert seat.on_disk("SELECT text FROM site_notes") == [("moments, round 1: DataError: creatinine of case 4711 is not finite",)]


def test_a_workers_class_name_carries_nothing_else(seat: Seat) -> None:
    seat.answer = lambda work: Refusal("", "site0", "answer", "secret", "Look.", kind="case 4711: 1.2, 3.4")
    found = seat.desk.settle(seat.task())
    assert isinstance(found, Refusal) and found.reason == "the worker failed (an error)"
    assert "4711" in seat.on_disk("SELECT text FROM site_notes")[0][0] and "4711" not in json.dumps(list(seat.site.log.entries()))


def test_sums_beyond_their_limit_do_not_leave(seat: Seat) -> None:
    def huge(work: Work) -> Reply:
        return Answer({term.name: np.full(term.shape, 1e30) for term in work.task.body.layout}), None

    seat.answer = huge
    found = seat.desk.settle(seat.task())
    assert isinstance(found, Refusal) and found.where == "release"
    assert seat.logged() == ["refused"]


def test_a_task_that_could_not_be_read_is_refused_and_may_come_again(seat: Seat) -> None:
    found = seat.desk.refuse(seat.task(), VerificationError("A part is not what its name says.", "Report it."))
    assert (found.where, found.again) == ("accept", True)
    assert seat.logged() == ["refused"] and seat.worked == 0


@pytest.mark.parametrize("release", ["first-round", "every"])
def test_an_answer_waits_until_a_person_lets_it_out(seats: Callable[..., Seat], release: str) -> None:
    seat = seats(release)
    task = seat.task()
    code = seat.waits(task).partition("site approve --held ")[2][:12]
    assert code in seat.waits(task) and seat.worked == 1
    assert seat.logged() == [] and seat.on_disk("SELECT decision FROM site_held") == [("waiting",)]
    shown = from_bytes(seat.journal.held()[0].sums)
    assert code == seat.journal.held()[0].code
    seat.decide("release")
    update = seat.desk.settle(task)
    assert isinstance(update, Update) and seat.worked == 1
    assert set(from_bytes(update.body)) == set(shown)


def test_what_a_person_lets_out_is_what_nobody_held(seats: Callable[..., Seat]) -> None:
    """Holding changes no bit of what leaves."""
    held, free = seats("every"), seats()
    held.desk.settle(held.task())
    held.decide("release")
    late, now = held.desk.settle(held.task()), free.desk.settle(free.task())
    assert isinstance(late, Update) and isinstance(now, Update)
    assert late.body == now.body


def test_an_answer_that_a_person_refuses_does_not_leave(seats: Callable[..., Seat]) -> None:
    seat = seats("every")
    seat.desk.settle(seat.task())
    seat.decide("refuse")
    found = seat.desk.settle(seat.task())
    assert isinstance(found, Refusal) and found.where == "release" and "a person" in found.reason
    assert seat.logged() == ["refused"] and seat.worked == 1
    assert seat.on_disk("SELECT count(*) FROM site_answered") == [(0,)]


@pytest.mark.parametrize(("release", "waits"), [("first-round", False), ("every", True)])
def test_after_the_first_answer_only_every_goes_on_holding(seats: Callable[..., Seat], release: str, waits: bool) -> None:
    seat = seats(release)
    first, later = seat.task(), replace(seat.task(), phase="test")
    seat.desk.settle(first)
    seat.decide("release")
    assert isinstance(seat.desk.settle(first), Update)
    seat.journal.settle(first.digest)
    seat.answer = lambda work: (Answer({term.name: np.zeros(term.shape) for term in work.task.body.layout}), None)
    found = seat.desk.settle(later)
    assert isinstance(found, Waits if waits else Update)


def test_a_closing_asks_for_no_answer_and_waits_for_nobody(seats: Callable[..., Seat]) -> None:
    seat = seats("every")
    assert seat.desk.settle(replace(seat.task(), stage="close")) is None
    assert seat.worked == 0 and seat.journal.held() == []


NIGHT, NOON, HOURS = datetime.datetime(2026, 11, 21, 23, 0), datetime.datetime(2026, 11, 21, 12, 0), "20:00-06:00"


@pytest.mark.parametrize("release", ["auto", "every"])
def test_an_answer_that_is_ready_outside_the_hours_leaves_when_they_come(seats: Callable[..., Seat], release: str) -> None:
    """The worker goes on past six in the morning; in the evening the same sums leave, whichever attempt asks."""
    late, free = seats(release, HOURS), seats()
    late.now = NOON
    if release == "every":
        assert "person's look" in late.waits(late.task())
        late.decide("release")
    for attempt in (0, 0, 1, 2):
        assert HOURS in late.waits(late.task(attempt))
    assert late.worked == 1 and late.logged() == []
    late.now = NIGHT
    update, now = late.desk.settle(late.task(2)), free.desk.settle(free.task(2))
    assert isinstance(update, Update) and isinstance(now, Update)
    assert update.body == now.body and update.task == late.task(2).digest
    assert late.worked == 1 and late.logged() == ["egress"]


def test_an_answer_that_could_not_be_sent_in_time_is_not_refused_but_waits_for_the_hours(seats: Callable[..., Seat]) -> None:
    """The hub was away until the hours were over, so the task is settled again: its stored answer waits."""
    seat = seats("auto", HOURS)
    seat.now = NIGHT
    first = seat.desk.settle(seat.task())
    seat.now = NOON
    assert HOURS in seat.waits(seat.task()) and HOURS in seat.waits(seat.task(1))
    seat.now = NIGHT
    assert seat.desk.settle(seat.task()) == first
    assert seat.worked == 1 and seat.logged() == ["egress"]


def test_a_task_that_nothing_was_worked_out_for_is_refused_outside_the_hours(seats: Callable[..., Seat]) -> None:
    """Real rules, real clock: closed for this hour and the next."""
    now = datetime.datetime.now()
    seat = seats("auto", f"{now + datetime.timedelta(hours=2):%H:%M}-{now + datetime.timedelta(hours=3):%H:%M}")
    seat.now = now
    policy = HospitalPolicy(frozenset({seat.site.protocol.digest}), True, rules=seat.rules, source="table", patients=60)
    seat.desk._site = replace(seat.site, policy=policy)
    refusal = seat.desk.settle(seat.task())
    assert isinstance(refusal, Refusal) and refusal.where == "accept" and "hours" in refusal.reason
    assert seat.worked == 0


def test_what_is_asked_is_not_fetched_while_its_answer_waits(seats: Callable[..., Seat]) -> None:
    seat, fetched = seats("every"), []

    def whole(task: Task) -> Task:
        fetched.append(task.digest)
        return seat.task()

    for _ in range(3):
        assert isinstance(seat.desk.settle(replace(seat.task(), body=NOTHING), whole), Waits)
    assert fetched == [seat.task().digest]


def test_what_cannot_be_fetched_is_told_to_the_caller_and_nothing_is_open(seat: Seat) -> None:
    def away(task: Task) -> Task:
        raise Unreachable("The hub does not answer.", "Wait.")

    with pytest.raises(Unreachable):
        seat.desk.settle(seat.task(), away)
    assert not seat.connection.in_transaction and seat.logged() == []


def test_an_answer_that_a_person_refused_is_shown_again_when_it_is_asked_again(seats: Callable[..., Seat]) -> None:
    seat = seats("every")
    seat.desk.settle(seat.task())
    seat.decide("refuse")
    for _ in range(2):
        assert isinstance(seat.desk.settle(seat.task()), Refusal), "also after a crash before it was sent"
    assert "person's look" in seat.waits(seat.task(1))
    seat.decide("release")
    assert isinstance(seat.desk.settle(seat.task(1)), Update) and seat.worked == 1


def test_a_protocol_that_is_refused_while_the_worker_works_gets_no_answer(seat: Seat) -> None:
    """A person refuses it in a process of its own, which writes into the same log."""
    working = seat.answer

    def slow(work: Work) -> Reply:
        with closing(sqlite3.connect(seat.database)) as other:
            log = Log(other, "site0", seat.site.log.signer, seat.site.protocol.study)
            refuse(Journal(other), log, "site0", seat.site.protocol.digest, "no")
            other.commit()
        return working(work)

    seat.answer = slow
    found = seat.desk.settle(seat.task())
    assert isinstance(found, Refusal) and "has refused the protocol" in found.reason
    assert seat.logged() == ["declined", "refused"]
