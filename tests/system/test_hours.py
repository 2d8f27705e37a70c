"""A hospital whose rules close between two exchanges: it says no more that day, and a round whose sums are given closes without it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.engines.federated import federation, hospitals
from tests.engines.losing import digests
from tests.engines.test_nats import closed_now, entries, wrong
from tests.support import Small, small
from tests.system import test_one_message as one_message
from tests.system.secure_studies import SECOND, SEVEN, TINY, agreed, named, patients, ran, shorts
from tests.system.test_one_message import Watched
from tests.system.test_secure_federation import agreed as agreed_between_hospitals
from tests.system.test_secure_federation import in_process
from wardround.site.policy import HospitalPolicy, Policy
from wardround.site.rules import Rules
from wardround.study.task import Refusal, Task, Update

OPEN = Rules(
    purposes=("*",), models=("*",), sources=("*",), min_patients=1, rounds=9, hours="any", may_leave=("sums",), release="auto", sites=("*",)
)  # fmt: skip


def open_at(hours: str) -> Rules:
    return OPEN.model_copy(update={"hours": hours})


def policy(made: Small, rules: Rules) -> Policy:
    return HospitalPolicy(frozenset({made.protocol.digest}), rules=rules, source="table", patients=50)


def closing(folder: Path, combine: str, stage: str, sites: Sequence[str]) -> tuple[Small, list[Refusal]]:
    """Return a study in which some hospitals close their doors before an exchange of the second round, until the next attempt or round."""
    refused: list[Refusal] = []

    def asked(tasks: Sequence[Task]) -> None:
        first = tasks[0]
        turn, shut = (first.phase, first.round), open_at(closed_now())
        later = any(one in before for one in (task.digest for task in tasks))
        before.update(task.digest for task in tasks)
        for name in SEVEN:
            away = name in sites and turn == SECOND and first.attempt == 0 and first.stage in since and not later
            object.__setattr__(made.places[name].site, "policy", policy(made, shut if away else OPEN))

    def heard(reply: Update | Refusal) -> None:
        if isinstance(reply, Refusal):
            refused.append(reply)

    before: set[str] = set()  # what is asked again comes when their hours have begun
    since = {"agree": ("agree", "open"), "open": ("open",)}[stage]
    plan = agreed(phases=TINY) if combine == "secure" else one_message.agreed()
    folder.mkdir()
    made = small(folder, plan, patients(), wrap=lambda engine: Watched(engine, asked, heard), following=True)
    return made, refused


def refused_by_hours(found: Sequence[Refusal]) -> set[str]:
    assert all(one.reason.startswith("the site's rule hours forbids it") for one in found)
    return {one.site for one in found}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what seven sites come to with the plain sum."""
    return ran(tmp_path_factory.mktemp("calm") / "plain", "plain", phases=TINY)[0]


@pytest.mark.parametrize(
    ("combine", "stage", "sites"),
    [
        ("secure", "agree", SEVEN[5:]),
        ("secure", "open", SEVEN[:2]),
        ("one_message", "open", SEVEN[:1]),
        ("one_message", "open", SEVEN[2:3]),
    ],
)
def test_a_round_closes_without_those_whose_hours_are_over(
    combine: str, stage: str, sites: tuple[str, ...], tmp_path: Path, calm: dict[str, str]
) -> None:
    made, refused = closing(tmp_path / "study", combine, stage, sites)
    assert digests(made.run()) == calm
    assert refused_by_hours(refused) == set(sites)
    assert not shorts(made)
    assert not named(made), "their sums are in the total"
    assert next(one for one in made.book.closings if (one.phase, one.round) == SECOND).survivors == SEVEN


@pytest.mark.parametrize(
    ("combine", "stage", "sites"),
    [
        ("secure", "agree", SEVEN[4:]),
        ("secure", "open", SEVEN[:3]),
        ("one_message", "agree", SEVEN[:1]),
        ("one_message", "open", SEVEN[:2]),
    ],
)
def test_too_many_whose_hours_are_over_cost_an_attempt_and_are_named(
    combine: str, stage: str, sites: tuple[str, ...], tmp_path: Path, calm: dict[str, str]
) -> None:
    made, refused = closing(tmp_path / "study", combine, stage, sites)
    assert digests(made.run()) == calm
    assert refused_by_hours(refused) == set(sites)
    assert shorts(made) == [SECOND]
    assert named(made) == {(*SECOND, site) for site in sites}


def test_so_it_is_over_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an error's class nothing travels: the coordinator tells by the words."""
    with federation(tmp_path, agreed_between_hospitals("secure"), hospitals(5)) as made:
        engine, gate, send = made.serving.engine, made.gates["site3"], made.serving.engine.send
        rules = gate.folder.path / "policy.toml"

        def sent(tasks: Sequence[Task]) -> None:
            first = tasks[0]
            if (first.phase, first.round, first.stage) == ("train", 0, "agree"):
                restarted('"any"', f'"{closed_now()}"')
            elif (first.phase, first.round, first.stage) == ("train", 1, "keys"):
                restarted(f'"{closed_now()}"', '"any"')
            send(tasks)

        def restarted(old: str, new: str) -> None:
            gate.stop()
            assert f"hours = {old}" in rules.read_text()
            rules.write_text(rules.read_text().replace(f"hours = {old}", f"hours = {new}"))
            gate.start()
            until = time.monotonic() + 20
            while made.serving.presence.silent("site3") > 1 and time.monotonic() < until:
                time.sleep(0.05)

        monkeypatch.setattr(engine, "send", sent)
        result = made.serving.run()
        made.serving.wait_for_sites(10)
        found = [one for one in gate.said if "refused: the site's rule hours forbids it" in one]
        assert found == [one for one in gate.said if "refused" in one] and len(found) == 1
        assert not entries(made, "refusal") and not entries(made, "round_short")
        assert result["model_digest"] == in_process(tmp_path / "plain")
        assert not wrong(made.centre.path)
