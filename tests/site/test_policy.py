"""What a coordinator says about the sums it asks for is not believed: the site's own algorithm says which they are."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.combining.secure.exchange import Exchange
from tests.site.test_rules import rules
from tests.support import protocol, small
from wardround.combining.secure.wording import Broken
from wardround.engines.inprocess import InProcess
from wardround.record.note import fingerprint
from wardround.site.policy import HospitalPolicy
from wardround.study.arrays import Arrays, Stored, keep
from wardround.study.errors import PolicyRefused
from wardround.study.layout import Term
from wardround.study.protocol import Protocol
from wardround.study.task import NOTHING, Ask, Task

NOON = datetime.datetime(2026, 11, 20, 12, 0)
LIE = "asks for other sums than the protocol's algorithm"


class Recording(InProcess):
    """Keep every task that was sent to one site."""

    def send(self, tasks: Sequence[Task]) -> None:
        """Note it, and carry it."""
        vars(self).setdefault("sent", []).extend(task for task in tasks if task.site == "site0" and task.stage == "answer")
        super().send(tasks)


def asked(folder: Path, agreed: Protocol) -> list[Task]:
    """Return every task of a whole study, as its coordinator asks them."""
    study = small(folder, agreed, kind=Recording)
    study.run()
    study.store.close()
    return list(vars(study.engine)["sent"])


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Protocol, list[Task]]:
    """Return a study with a grid and a refit, so with every kind of ask that there is, and its tasks."""
    agreed = protocol(privacy={"counts": True}, evaluation={"tune": {"learning_rate": [0.05, 0.1]}, "refit": True})
    return agreed, asked(tmp_path_factory.mktemp("tuned"), agreed)


def permit(agreed: Protocol, task: Task, **changes: Any) -> None:
    """Hold a task against the rules of a hospital that allows all but what is changed."""
    HospitalPolicy(frozenset({agreed.digest}), rules=rules(**changes), source="table", patients=60).permit(agreed, task, NOON)


def with_body(task: Task, **changes: Any) -> Task:
    """Return a task whose header names what it now asks, as a lying coordinator would write it."""
    body = replace(task.body, **changes)
    return replace(task, body=body, ask=body.digest)


def test_everything_that_an_honest_coordinator_asks_is_permitted(tuned: tuple[Protocol, list[Task]]) -> None:
    agreed, tasks = tuned
    assert {task.phase for task in tasks} == {"moments", "train.0", "train.1", "train", "local", "test"}
    for task in tasks:
        permit(agreed, task)
        permit(agreed, replace(task, body=Ask.from_wire(task.body.wire)))  # as it comes over a line


def test_a_count_that_is_called_a_sum_is_refused(tuned: tuple[Protocol, list[Task]]) -> None:
    """The hospital lets no counts leave; a coordinator that labels them otherwise gets none either."""
    agreed, tasks = tuned
    quiet = protocol(evaluation={"tune": {"learning_rate": [0.05, 0.1]}, "refit": True})
    lies = 0
    for task in tasks:
        if any(term.kind == "count" and term.shape for term in task.body.layout):
            lie = with_body(task, layout=tuple(replace(term, kind="sum") for term in task.body.layout))
            lies += 1
            with pytest.raises(PolicyRefused, match=LIE):
                permit(agreed, lie, may_leave=["sums"])
            with pytest.raises(PolicyRefused, match=LIE):
                permit(quiet, lie)
    assert lies >= 2


def changed(term: Term) -> list[Term]:
    return [
        replace(term, limit=2 * np.asarray(term.limit)),
        replace(term, step=np.asarray(term.step) / 2),
        replace(term, bits=32 if term.bits == 64 else 64),
        replace(term, name=f"{term.name}x"),
        replace(term, shape=(*term.shape, 1)),
        replace(term, per=None if term.per else "examples"),
    ]


def test_any_other_layout_is_refused(tuned: tuple[Protocol, list[Task]]) -> None:
    agreed, tasks = tuned
    firsts = {task.phase: task for task in reversed(tasks)}.values()
    for task in firsts:
        layout = task.body.layout
        lies = [(one, *layout[1:]) for one in changed(layout[0])]
        lies += [layout[1:], (*layout, Term.count("patients", (), 10, 3)), ()]
        for lie in lies:
            with pytest.raises(PolicyRefused, match=LIE):
                permit(agreed, with_body(task, layout=lie))


@pytest.mark.parametrize(
    "options",
    [{}, {"choice": 7}, {"choice": "x"}, {"choice": None}, {"train": False}, {"roles": ["train", "validation", "test"]}, {"replicates": 2}],
)
def test_other_options_than_the_algorithm_gives_are_refused(tuned: tuple[Protocol, list[Task]], options: dict[str, Any]) -> None:
    """Such as to train on test rows; whatever they are, the gate goes on."""
    agreed, tasks = tuned
    for task in tasks:
        if task.body.options:
            lie = with_body(task, options={**task.body.options, **options} if options else {})
            if lie.body.options != task.body.options:
                with pytest.raises(PolicyRefused, match=LIE):
                    permit(agreed, lie)


@pytest.mark.parametrize("arrays", [{}, {"params/other": np.zeros(3, dtype=np.float32)}])
def test_arrays_of_another_model_are_refused(tuned: tuple[Protocol, list[Task]], arrays: Arrays) -> None:
    agreed, tasks = tuned
    for task in tasks:
        if task.body.options.get("train"):
            with pytest.raises(PolicyRefused, match=LIE):
                permit(agreed, with_body(task, arrays=arrays))


def test_the_last_round_only_validates(tuned: tuple[Protocol, list[Task]]) -> None:
    """A round that should not train is not made to train by asking the ask of another."""
    agreed, tasks = tuned
    rounds = [task for task in tasks if task.phase == "train.0"]
    with pytest.raises(PolicyRefused, match=LIE):
        permit(agreed, replace(rounds[0], round=rounds[-1].round))


def test_a_large_ask_is_judged_without_reading_it(tuned: tuple[Protocol, list[Task]], tmp_path: Path) -> None:
    agreed, tasks = tuned
    task = next(task for task in tasks if task.phase == "train.0")
    stored = Stored(keep(task.body.arrays, tmp_path / "ask", task.body.head).path)
    (tmp_path / "ask").unlink()
    permit(agreed, replace(task, body=replace(task.body, arrays=stored)))


def test_a_site_that_the_hospital_does_not_know_ends_the_sum_before_any_share_is_sealed() -> None:
    """A coordinator that invents hospitals, or puts a key of its own under a known name, gets no share."""
    agreed = protocol(rounds={"quorum": 3, "combine": "secure"})
    task = Task(agreed.study, agreed.digest, "train", 0, 0, "keys", "site0", 60, NOTHING.digest, "sha256:" + "0" * 64, body=NOTHING)
    exchange = Exchange(("site0", "south", "west"))
    exchange.begin(exchange.names)
    prints = {name: fingerprint(key.public_key().public_bytes_raw().hex()) for name, key in exchange.signing.items()}
    shares = replace(task, stage="shares", relay=exchange.adverts())
    permit(agreed, shares, sites=["*"])
    both = [f"{name} {prints[name]}" for name in ("south", "west")]
    permit(agreed, shares, sites=both)
    for known, stranger in ((both[:1], "west"), (both[1:], "south"), ([f"west {prints['south']}", both[0]], "west")):
        with pytest.raises(Broken, match=f"secure sum, shares: site {stranger} with the fingerprint {prints[stranger]} is not accepted"):
            permit(agreed, shares, sites=known)
