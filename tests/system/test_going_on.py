"""A hostile coordinator has a task refused before the step that it is of, and goes on with the same attempt as if nothing had been.

What does not follow from the rounds before, and whom a hospital's rule `sites` does not accept, is found before a gate opens its session.
So such a fault leaves no trace in it: the attempt goes on, though the refusal says that it is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system import window_attacks
from tests.system.attacks import OTHER, stranger
from tests.system.coordinator_attacks import Attempt, Coordinator
from tests.system.group_attacks import Divided, GroupedAttempt
from tests.system.test_malicious_coordinator import Verdict, evidence, judged, turn
from wardround.combining.secure.words import STAGES
from wardround.study.errors import PolicyRefused
from wardround.study.task import Stage

REASON = "^secure sum, follow: what is asked does not follow from the protocol and the published totals"
STRANGE = "^secure sum, agree: site site. with the fingerprint .* is not accepted by this hospital's rule sites"


def exchanges(folder: Path, stage: Stage) -> Verdict:
    """Have one of the five exchanges refused for what is asked, and then take it as it should be."""
    evil = Coordinator(folder)
    attempt = Attempt(evil, 0)
    for one in STAGES:
        if one == stage:
            attempt.step(one, layout=OTHER)
            assert not attempt.said[one]
        attempt.step(one)
    return judged(evil, REASON)


def one_message(folder: Path, reason: str) -> Verdict:
    """Have helpers refuse to agree, for what is asked or beside sites that were made up, and then ask them as it should be."""
    evil = window_attacks.Coordinator(folder, named=True)
    attempt = window_attacks.Attempt(evil, 0).begin().answer()
    if reason == STRANGE:
        attempt.agree(parcels={**attempt.parcels, **{name: attempt.puppet(name, stranger(name)) for name in ("site8", "site9")}})
    else:
        for helper in window_attacks.HELPING:
            attempt.say(helper, "agree", {"helpers": attempt.helpers(), "parcels": {}}, layout=OTHER)
    assert not attempt.signed
    attempt.agree().open().open(turn=2)
    refused, went_on = set(), set()
    for site, gate in evil.gates.items():
        entries = evidence(gate)
        places = [place for place, one in enumerate(entries) if one["t"] == "refused" and re.search(reason, one["reason"])]
        refused |= {site} if places else set()
        after = entries[places[0] :] if places else []
        went_on |= {site for one in after if one["t"] == "egress" and turn(one) == turn(after[0])}
    return Verdict(frozenset(refused), frozenset(went_on), frozenset(evil.laid_bare(["site2"])), frozenset())


@dataclass(frozen=True)
class Case:
    """Hold an attack, and which sites refuse."""

    attack: Callable[[Path], Verdict]
    refuse: tuple[str, ...]


def _exchange(stage: Stage) -> Case:
    return Case(lambda folder: exchanges(folder, stage), tuple(f"site{number}" for number in range(4)))


CASES: dict[str, Case] = {stage: _exchange(stage) for stage in STAGES[1:]}
CASES |= {
    "one message, what is asked": Case(lambda folder: one_message(folder, REASON), window_attacks.HELPING),
    "one message, strange sites": Case(lambda folder: one_message(folder, STRANGE), window_attacks.HELPING),
}
"""Before `keys` there is no attempt yet that could be over."""


@pytest.mark.parametrize("name", CASES)
def test_a_coordinator_that_goes_on_after_a_fault_learns_and_alters_nothing_by_it(name: str, tmp_path: Path) -> None:
    verdict = CASES[name].attack(tmp_path)
    assert verdict.refused == set(CASES[name].refuse)
    assert not verdict.bare
    assert not verdict.misled


@pytest.mark.parametrize("name", CASES)
def test_nobody_goes_on_after_a_fault(name: str, tmp_path: Path) -> None:
    assert not CASES[name].attack(tmp_path).went_on


def test_a_false_task_of_a_round_far_ahead_ends_nothing(tmp_path: Path) -> None:
    evil = window_attacks.Coordinator(tmp_path)
    for site in window_attacks.SITES:
        evil.say(evil.task(site, "answer", 0, {}, round=10**6))
    assert {refusal.site for _, refusal in evil.refusals} == set(window_attacks.SITES)
    evil.refusals.clear()
    attempt = window_attacks.Attempt(evil, 0).begin().answer()
    assert set(attempt.masked) == set(window_attacks.SITES)
    assert not evil.refusals


def test_the_first_list_of_sites_stands_also_where_rules_keep_a_site_from_taking_part(tmp_path: Path) -> None:
    evil = Divided(tmp_path, 20)
    site = evil.sites[0]
    policy = evil.gates[site].policy
    object.__setattr__(evil.gates[site], "policy", Closed())
    GroupedAttempt(evil, 0, [site], [*evil.sites[:19], "other"]).step("keys")
    object.__setattr__(evil.gates[site], "policy", policy)
    assert [refusal.kind for _, refusal in evil.refusals] == ["PolicyRefused"]
    evil.refusals.clear()
    attempt = GroupedAttempt(evil, 0).step("keys")
    assert set(attempt.said["keys"]) == set(evil.sites) - {site}
    assert [(refusal.site, refusal.reason) for _, refusal in evil.refusals] == [
        (site, "secure sum, keys: a site is asked that was not among those of the first round")
    ]


class Closed:
    """Forbid everything: what a hospital's rules do outside its hours."""

    def permit(self, *about: object) -> None:
        raise PolicyRefused("the site's rule hours forbids it", "Ask again later.")
