from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import Small, protocol, small
from wardround.coordinator.rounds import plan
from wardround.record.envelope import CLOSING, sign
from wardround.site.accept import accept
from wardround.site.gate import Work
from wardround.site.keys import SiteKeys
from wardround.site.policy import Policy
from wardround.site.release import release
from wardround.site.state import SiteState
from wardround.study.streams import Stream
from wardround.study.task import NOTHING, Answer, Refusal, RoundClosed, State, Task, Update


@pytest.fixture
def study(tmp_path: Path) -> Small:
    return small(tmp_path)


def task_for(study: Small, site: str = "site0") -> Task:
    algorithm = study.protocol.algorithms[0]
    state = algorithm.begin(study.protocol, {}, Stream.public(0))
    assert isinstance(state, State)
    return next(task for task in plan(study.protocol, study.engine, study.book, state, 0, algorithm.ask(state)) if task.site == site)


def answered(study: Small, task: Task) -> tuple[Work, Answer, dict[str, np.ndarray]]:
    work = accept(study.places[task.site].site, task)
    assert isinstance(work, Work)
    answer, proposal = study.protocol.by_phase[task.phase].answer(work.task.body, study.places[task.site].data, {}, work.rng)
    return work, answer, dict(proposal or {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": "sha256:" + "0" * 64}, "another protocol"),
        ({"study": "other"}, "another study"),
        ({"site": "site1"}, "another site"),
        ({"ask": "sha256:" + "0" * 64}, "not what its header says"),
        ({"body": NOTHING}, "not what its header says"),
        ({"round": 5}, "no such round"),
        ({"phase": "steal"}, "no such phase"),
    ],
)
def test_a_task_that_differs_from_what_was_agreed_is_refused_and_logged(study: Small, change: dict[str, object], reason: str) -> None:
    site = study.places["site0"].site
    refused = accept(site, replace(task_for(study), **change))  # type: ignore[arg-type]
    assert isinstance(refused, Refusal) and reason in refused.reason and refused.where == "accept" and refused.remedy
    last = list(site.log.entries())[-1]
    assert last["t"] == "refused" and last["bytes"] == 0 and reason in last["reason"]


def test_a_protocol_that_was_not_approved_is_refused(study: Small) -> None:
    site = replace(study.places["site0"].site, policy=Policy(simulation=True))
    refused = accept(site, task_for(study))
    assert isinstance(refused, Refusal) and "not approved" in refused.reason


def test_an_expired_study_is_refused(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(parties={"expires": datetime.date(2020, 1, 1)}))
    refused = accept(study.places["site0"].site, task_for(study))
    assert isinstance(refused, Refusal) and "expired" in refused.reason


def test_counts_leave_a_hospital_in_plain_sums_only_where_the_protocol_says_so(tmp_path: Path) -> None:
    for counts in (False, True):
        (tmp_path / str(counts)).mkdir()
        study = small(tmp_path / str(counts), protocol(privacy={"counts": counts}))
        site = replace(study.places["site0"].site, policy=Policy(frozenset({study.protocol.digest}), simulation=False))
        assert isinstance(accept(site, task_for(study)), Work if counts else Refusal)


def test_another_ask_in_the_same_round_is_refused(study: Small) -> None:
    task = task_for(study)
    work, answer, proposal = answered(study, task)
    site = study.places["site0"].site
    assert isinstance(release(site, work, answer, proposal), Update)
    other = replace(task.body, options={"twice": True})
    refused = accept(site, replace(task, ask=other.digest, body=other))
    assert isinstance(refused, Refusal) and "another ask" in refused.reason


def test_the_very_same_task_again_is_answered_without_a_second_entry(study: Small) -> None:
    task, site = task_for(study), study.places["site0"].site
    work, answer, proposal = answered(study, task)
    first = release(site, work, answer, proposal)
    entries = site.log.head[0]
    again = accept(site, task)
    assert again == first and isinstance(again, Update) and again.body == first.body and site.log.head[0] == entries  # type: ignore[union-attr]


def test_a_round_that_is_over_is_not_asked_again(study: Small) -> None:
    site = study.places["site0"].site
    train = replace(task_for(study), phase="train", round=2)
    work = accept(site, train)
    assert isinstance(work, Work)
    assert isinstance(release(site, work, answered(study, task_for(study))[1], None), Update)
    refused = accept(site, replace(train, round=1))
    assert isinstance(refused, Refusal) and "or after it" in refused.reason


def test_two_studies_at_one_site_remember_apart(study: Small) -> None:
    site, other = study.places["site0"].site, protocol(study="other")
    work, answer, _ = answered(study, task_for(study))
    release(site, work, answer, {"kept": np.ones(1)})
    apart = SiteState(study.store.connection, other.digest, site.name, "snapshot")
    assert site.state.answered("moments") is not None and apart.answered("moments") is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_the_gate_lets_out_nothing_beyond_its_bounds(study: Small, value: float) -> None:
    work, answer, _ = answered(study, task_for(study))
    site = study.places["site0"].site
    before = site.log.head
    for name in answer.sums:
        spoilt = Answer({**answer.sums, name: np.full(answer.sums[name].shape, value)})
        refused = release(site, work, spoilt, None)
        assert isinstance(refused, Refusal) and refused.where == "release" and name in refused.reason
    refused = release(site, work, Answer({"sum": answer.sums["sum"]}), None)
    assert isinstance(refused, Refusal)
    assert [entry["t"] for entry in site.log.entries()][before[0] :] == ["refused"] * (len(answer.sums) + 1)


def closing_for(study: Small, task: Task, receipts: tuple[str, ...], key: object) -> RoundClosed:
    closing = RoundClosed(task.phase, task.round, task.attempt, receipts, "sha256:" + "1" * 64, "sha256:" + "2" * 64)
    return replace(closing, signature=sign(key, CLOSING, closing.signed_part(study.protocol.digest)))  # type: ignore[arg-type]


def test_a_proposal_is_adopted_only_by_a_signed_closing_that_names_it(study: Small) -> None:
    task, site = task_for(study), study.places["site0"].site
    work, answer, _ = answered(study, task)
    proposal = {"kept": np.arange(3.0)}
    update = release(site, work, answer, proposal)
    assert isinstance(update, Update)
    key = study.book._key
    close = replace(task, stage="close", body=NOTHING)
    assert accept(site, replace(close, closed=(closing_for(study, task, ("0" * 64,), key),))) is None
    assert list(site.state.mine()) == []
    forged = accept(site, replace(close, closed=(closing_for(study, task, (update.receipt.entry,), SiteKeys.new().signing),)))
    assert isinstance(forged, Refusal) and "not signed" in forged.reason
    assert list(site.state.mine()) == []
    assert accept(site, replace(close, closed=(closing_for(study, task, (update.receipt.entry,), key),))) is None
    assert np.array_equal(site.state.mine()["moments"]["kept"], proposal["kept"])
    assert [entry["t"] for entry in site.log.entries()] == ["egress", "refused", "adopted"]


def test_private_numbers_differ_by_site_ask_and_round_but_not_by_attempt(study: Small) -> None:
    task = task_for(study)
    train = replace(task, phase="train")
    works = [accept(study.places["site0"].site, one) for one in (train, replace(train, attempt=1), replace(train, round=1))]
    works.append(accept(study.places["site1"].site, replace(task_for(study, "site1"), phase="train")))
    keys = [one.rng.key for one in works if isinstance(one, Work)]
    assert len(keys) == 4 and keys[0] == keys[1] and len(set(keys)) == 3


def test_keys_are_kept_whole_and_never_shown() -> None:
    keys = SiteKeys.new()
    again = SiteKeys.from_bytes(keys.to_bytes())
    assert again.to_bytes() == keys.to_bytes() and keys.private.key.hex() not in repr(keys)
