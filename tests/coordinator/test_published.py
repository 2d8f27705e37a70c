"""Plain sums whose totals go down in place of the model: the same study, fewer bytes, and a coordinator that cannot lead sites astray."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support import PHASES, Small, protocol, small
from wardround.combining.deflated import MARK
from wardround.engines.inprocess import InProcess
from wardround.record.envelope import CLOSING, sign
from wardround.site.accept import accept
from wardround.site.gate import Site, Work
from wardround.study.arrays import arrays_digest, from_bytes, to_bytes
from wardround.study.findings import FileRefused
from wardround.study.protocol import Protocol
from wardround.study.task import NOTHING, Refusal, RoundClosed, Task

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
"""The coordinator's, in `tests.support.small`."""

TOTALS: Mapping[str, Any] = {"quorum": 3, "down": "totals"}
QUANTISED: Mapping[str, Any] = {"kind": "quantised", "bits": 4}
WIDE = {"kind": "mlp", "hidden": [200, 50]}


def agreed(rounds: Mapping[str, Any] = TOTALS, **changes: Any) -> Protocol:
    return protocol(rounds=rounds, phases=[PHASES[0], PHASES[1], PHASES[3]], **changes)


def made(folder: Path, plan: Protocol, kind: type[InProcess] = InProcess) -> Small:
    folder.mkdir(exist_ok=True)
    return small(folder, plan, kind=kind, following=plan.follows)


def down(study: Small) -> int:
    return sum(row["bytes_down"] for row in study.store.history())


def test_sites_that_follow_totals_come_to_the_very_model_that_they_would_be_sent(tmp_path: Path) -> None:
    sent, followed = made(tmp_path / "sent", agreed({"quorum": 3})), made(tmp_path / "followed", agreed())
    assert followed.run()["train"].digest == sent.run()["train"].digest
    assert not followed.refused and not sent.refused
    initial = len(followed.store.supplies()[followed.protocol.initial["model"]])
    assert followed.store.history()[0]["bytes_down"] == 4 * initial, "once, and nothing else at first"


def test_totals_of_few_bits_are_a_fraction_of_the_model(tmp_path: Path) -> None:
    sent = made(tmp_path / "sent", agreed({"quorum": 3}, model=WIDE, codec=QUANTISED))
    followed = made(tmp_path / "followed", agreed(model=WIDE, codec=QUANTISED))
    assert followed.run()["train"].digest == sent.run()["train"].digest
    assert not followed.refused
    training = [[row for row in one.store.history() if row["phase"] == "train"] for one in (sent, followed)]
    assert training[1][2]["bytes_down"] < 0.4 * training[0][2]["bytes_down"]
    assert [row["bytes_up"] for row in training[0]] == [row["bytes_up"] for row in training[1]]


class Away(InProcess):
    """Lose every task of a training round for one site."""

    def send(self, tasks: Sequence[Task]) -> None:
        super().send([task for task in tasks if not (task.site == "site3" and task.phase == "train" and task.round < 2)])


def test_a_site_that_missed_rounds_gets_their_totals_and_goes_on(tmp_path: Path) -> None:
    study = made(tmp_path, agreed(codec=QUANTISED), Away)
    study.run()
    assert {(one.site, one.where, one.round) for one in study.refused} == {("site3", "deadline", 0), ("site3", "deadline", 1)}
    site = study.places["site3"].site
    assert site.state.answered("train") is not None and site.state.answered("test") is not None


class Left(InProcess):
    """Do without one site for some rounds, as if it had left and joined again."""

    asked = 0
    without = range(3, 6)

    def sites(self) -> tuple[str, ...]:
        self.asked += 1
        return tuple(site for site in super().sites() if site != "site3" or self.asked not in self.without)


class Late(Left):
    """Do without it from the first round on."""

    without = range(1, 3)


@pytest.mark.parametrize("kind", [Left, Late])
def test_a_site_that_left_and_came_back_gets_the_totals_that_it_lacks(tmp_path: Path, kind: type[Left]) -> None:
    study = made(tmp_path, agreed(codec=QUANTISED), kind)
    study.run()
    assert not study.refused
    assert study.places["site3"].site.state.answered("test") is not None


class Cut(InProcess):
    """Break down when the last training round is asked."""

    def send(self, tasks: Sequence[Task]) -> None:
        if (tasks[0].phase, tasks[0].round) == ("train", 2):
            raise KeyboardInterrupt
        super().send(tasks)


def test_a_coordinator_that_was_cut_goes_on_and_counts_the_end_once(tmp_path: Path) -> None:
    study, whole = made(tmp_path / "cut", agreed(), Cut), made(tmp_path / "whole", agreed())
    with pytest.raises(KeyboardInterrupt):
        study.run()
    study.store.close()
    again = made(tmp_path / "cut", agreed())
    assert again.run()["train"].digest == whole.run()["train"].digest
    assert not again.refused
    before = down(again)
    again.store.close()
    once_more = made(tmp_path / "cut", agreed())
    once_more.run()
    assert down(once_more) == before == down(whole)


def test_a_site_that_the_study_did_not_know_is_left_out_by_name(tmp_path: Path) -> None:
    study = made(tmp_path, agreed(), Late)
    assert isinstance(study.engine, Late)
    study.engine.without = range(1, 5)
    study.book._sites = {name: key for name, key in study.book._sites.items() if name != "site3"}
    study.run()
    assert {(one.site, one.where) for one in study.refused} == {("site3", "accept")}
    assert all(one.remedy for one in study.refused)


Lie = Callable[[Task], Task]


def resigned(task: Task, **changes: Any) -> RoundClosed:
    closing = replace(task.closed[-1], **changes)
    return replace(closing, signature=sign(KEY, CLOSING, closing.signed_part(task.protocol)))


def other_total(task: Task, change: Callable[[dict[str, np.ndarray]], None]) -> Task:
    """Publish an altered total under its own digest, signed."""
    assert task.supplies is not None
    sums = {name: np.array(value) for name, value in from_bytes(task.supplies[task.closed[-1].total]).items()}
    change(sums)
    name = arrays_digest(sums)
    return replace(task, closed=(*task.closed[:-1], resigned(task, total=name)), supplies={**task.supplies, name: to_bytes(sums)})


def nudged(sums: dict[str, np.ndarray]) -> None:
    name = next(name for name in sums if name.startswith("update/"))
    sums[name].reshape(-1)[0] += 1000


def enormous(sums: dict[str, np.ndarray]) -> None:
    name = next(name for name in sums if name.startswith("update/"))
    sums[name][...] = np.iinfo(sums[name].dtype).max


def bereft(sums: dict[str, np.ndarray]) -> None:
    del sums["examples"]


def swapped(task: Task) -> Task:
    """Send bytes that are not those of the digest."""
    assert task.supplies is not None
    name = task.closed[-1].total
    return replace(task, supplies={**task.supplies, name: bytes(reversed(bytes(task.supplies[name])))})  # type: ignore[arg-type]


def burst(task: Task) -> Task:
    data = to_bytes({MARK: np.frombuffer(zlib.compress(bytes(2**26)), np.uint8)}, MARK)
    return replace(task, supplies={**(task.supplies or {}), task.closed[-1].total: data})


LIES: dict[str, tuple[Lie, str]] = {
    "a total with one other number": (lambda task: other_total(task, nudged), "another state than the published total gives"),
    "a total beyond all limits": (lambda task: other_total(task, enormous), "beyond what 4 sites may send"),
    "a total without one sum": (lambda task: other_total(task, bereft), "other names"),
    "bytes that are not the total": (swapped, "not a safetensors file"),
    "bytes that swell": (burst, "longer than what was asked for"),
    "no total": (lambda task: replace(task, supplies={}), "not the one of the closing"),
    "a state that does not follow": (
        lambda task: replace(task, closed=(*task.closed[:-1], resigned(task, state=task.ask))),
        "another state than the published total gives",
    ),
    "too few sites": (
        lambda task: replace(task, closed=(*task.closed[:-1], resigned(task, receipts=task.closed[-1].receipts[:2]))),
        "of sites that it cannot be of",
    ),
    "one site twice": (
        lambda task: replace(task, closed=(*task.closed[:-1], resigned(task, receipts=(task.closed[-1].receipts[0],) * 4))),
        "of sites that it cannot be of",
    ),
    "an unsigned closing": (
        lambda task: replace(task, closed=(*task.closed[:-1], replace(task.closed[-1], signature="00" * 64))), "not signed by the study's"
    ),
    "a round left out": (lambda task: replace(task, closed=()), "is not what comes next"),
    "another layout": (lambda task: replace(task, layout=task.ask), "does not follow from the protocol and the published totals"),
    "another ask": (lambda task: replace(task, ask=task.closed[-1].state), "does not follow from the protocol and the published totals"),
}  # fmt: skip


class Asking(InProcess):
    """Stop when the second training round is asked, with its tasks."""

    asked: Sequence[Task] = ()

    def send(self, tasks: Sequence[Task]) -> None:
        if (tasks[0].phase, tasks[0].round) == ("train", 1):
            self.asked = tasks
            raise KeyboardInterrupt
        super().send(tasks)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Task]:
    """Return a site that has followed a study, and the honest task that comes next."""
    study = made(tmp_path_factory.mktemp("asked"), agreed(), Asking)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert isinstance(study.engine, Asking)
    return study.places["site1"].site, study.engine.asked[1]


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_coordinator_is_refused(lie: str, asked: tuple[Site, Task]) -> None:
    (tell, why), (site, task) = LIES[lie], asked
    refused = accept(site, tell(task))
    assert isinstance(refused, Refusal)
    assert (refused.site, refused.where) == ("site1", "accept") and why in refused.reason


def test_after_all_lies_the_truth_is_believed(asked: tuple[Site, Task]) -> None:
    site, task = asked
    for tell, _ in LIES.values():
        accept(site, tell(task))
    work = accept(site, replace(task, body=NOTHING))
    assert isinstance(work, Work) and work.task.body.digest == task.ask, "it works out itself what it is asked"


def test_two_hospitals_are_not_given_each_others_sums() -> None:
    with pytest.raises(FileRefused) as found:
        agreed({"quorum": 2, "down": "totals"})
    assert "of two hospitals each takes its own sums off the total" in str(found.value)


def test_no_totals_go_down_of_what_publishes_none() -> None:
    with pytest.raises(FileRefused) as found:
        agreed({"quorum": 5, "down": "totals", "combine": "trimmed_mean", "hostile": 1})
    assert "no total is published" in str(found.value)


def test_a_plan_that_says_nothing_of_it_keeps_its_digest() -> None:
    assert "down" not in agreed({"quorum": 3}).model_dump(mode="json")["rounds"]
    assert agreed().model_dump(mode="json")["rounds"]["down"] == "totals"


def test_secure_sums_of_few_bits_go_down_deflated_too(tmp_path: Path) -> None:
    study = made(tmp_path, agreed({"quorum": 3, "combine": "secure"}, model=WIDE, codec=QUANTISED))
    model = len(to_bytes(study.run()["train"].model or {}))
    assert not study.refused
    training = [row for row in study.store.history() if row["phase"] == "train"]
    assert training[2]["bytes_down"] < 0.6 * 4 * model, "with all that is passed on in the exchanges"
    assert training[2]["bytes_up"] < 0.6 * 4 * model
