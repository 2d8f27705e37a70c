"""What every engine must do; run on each implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.federated import federated_small, federation, open_protocol
from tests.support import Small, protocol, small
from wardround.coordinator.rounds import plan
from wardround.engines.inprocess import InProcess
from wardround.study.errors import QuorumNotMet
from wardround.study.interfaces import Engine
from wardround.study.streams import Stream
from wardround.study.task import Refusal, State, Task, Update


@pytest.fixture(params=["inprocess", "inprocess, two workers", "nats"])
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Small]:
    if request.param == "nats":
        with federation(tmp_path) as made:
            yield federated_small(made)
        return
    simulated = small(tmp_path, open_protocol(), workers=2 if "workers" in request.param else 0)
    yield simulated
    simulated.engine.close()


def asked(study: Small) -> list[Task]:
    algorithm = study.protocol.algorithms[0]
    state = algorithm.begin(study.protocol, {}, Stream.public(0))
    assert isinstance(state, State)
    return plan(study.protocol, study.engine, study.book, state, 0, algorithm.ask(state))


def answers(engine: Engine, tasks: list[Task]) -> dict[str, Update]:
    engine.send(tasks)
    found = list(engine.receive(60))
    assert all(isinstance(one, Update) for one in found)
    return {one.site: one for one in found if isinstance(one, Update)}


def test_sites_are_named_in_order(study: Small) -> None:
    assert study.engine.sites() == study.names


def test_each_site_answers_its_task_once(study: Small) -> None:
    tasks = asked(study)
    found = answers(study.engine, tasks)
    assert {(site, update.task) for site, update in found.items()} == {(task.site, task.digest) for task in tasks}
    assert list(study.engine.receive(0.1)) == []


def test_the_same_task_again_gives_the_same_bytes(study: Small) -> None:
    tasks = asked(study)
    first, again = answers(study.engine, tasks), answers(study.engine, tasks)
    assert {site: update.body for site, update in first.items()} == {site: update.body for site, update in again.items()}


def test_a_whole_study_has_the_same_digests_on_every_engine(study: Small, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = small(tmp_path / "plain", open_protocol()).run()
    assert {name: one.digest for name, one in study.run().items()} == {name: one.digest for name, one in plain.items()}


def test_workers_that_are_late_are_ended_and_their_sites_named(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(rounds={"quorum": 2, "due_seconds": 0.01, "attempts": 1}), workers=2)
    with pytest.raises(QuorumNotMet):
        study.run()
    study.engine.close()
    assert {(refused.site, refused.where) for refused in study.refused} == {(site, "deadline") for site in study.places}


def test_a_worker_that_dies_costs_its_site_one_round_and_no_more(tmp_path: Path) -> None:
    study = small(tmp_path, workers=1)
    assert isinstance(study.engine, InProcess)
    engine, tasks = study.engine, asked(study)
    engine.send(tasks)
    engine._pool._processes[0].kill()  # type: ignore[union-attr]
    found = list(engine.receive(60))
    engine.close()
    assert [isinstance(one, Update) for one in found] == [False, True, True, True]
    assert isinstance(found[0], Refusal) and "ended" in found[0].reason


def test_a_worker_that_died_while_idle_is_replaced(tmp_path: Path) -> None:
    study = small(tmp_path, workers=1)
    assert isinstance(study.engine, InProcess)
    answers(study.engine, asked(study))
    worker = study.engine._pool._processes[0]  # type: ignore[union-attr]
    worker.kill()
    worker.wait()
    done = study.run()
    study.engine.close()
    assert len({(refused.phase, refused.round) for refused in study.refused}) <= 1
    assert done["train"].model is not None
