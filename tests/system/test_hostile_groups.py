"""A hostile coordinator leads the true gates of a study with sums in groups astray: each attempt aborts and lays nobody bare.

The same attacks run against gates from which one check was taken out: then they succeed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.attacks_on_groups import ATTACKS, closed, opened, without
from tests.system.coordinator_attacks import agreed
from tests.system.group_attacks import Divided, GroupedAttempt
from tests.system.test_malicious_coordinator import Verdict, judged
from wardround.combining.secure import session, vouching
from wardround.combining.secure.groups import Party, groups_of
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.words import read_roster
from wardround.site import following
from wardround.site.sessions import Sessions
from wardround.study.protocol import Protocol
from wardround.study.task import Task
from wardround.study.threshold import allies_in_groups

Patch = pytest.MonkeyPatch
Weaken = Callable[[Patch], object]


def attacked(folder: Path, name: str) -> Verdict:
    evil = Divided(folder, **ATTACKS[name].study)
    ATTACKS[name].move(evil)
    return judged(evil, ATTACKS[name].reason)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_aborts_and_lays_nobody_bare(name: str, tmp_path: Path) -> None:
    verdict = attacked(tmp_path, name)
    assert verdict.fine, verdict


def test_there_are_attacks_on_division_vouchers_and_totals() -> None:
    found = {step[1] for attack in ATTACKS.values() if (step := re.match(r"\^secure sum, (\w+):", attack.reason))}
    assert found == {"keys", "shares", "agree", "follow"}
    assert len(ATTACKS) >= 20


def test_an_honest_coordinator_is_not_refused_and_lays_nobody_bare(tmp_path: Path) -> None:
    """Also where a site stays away, and where it is one of a group's that vouch."""
    evil = Divided(tmp_path, helpers=("site13", "site14"))
    while evil.state.phase != "local":
        evil.close(opened(evil, 0, *without(evil, *evil.sites[evil.state.round : evil.state.round + 1])), 0)
    assert len(evil.closings) > 3
    assert not evil.refusals
    assert not evil.laid_bare()
    assert not evil.worked_on_what_it_should_not()


def in_one_group(sites: int, helpers: int) -> tuple[str, ...]:
    """Return the first sites of the largest group of the first round."""
    names = [f"site{number:02d}" for number in range(sites)]
    return max(groups_of(agreed(3, sites, "bucketed").digest, names), key=len)[:helpers]


def split(evil: Divided, helpers: tuple[str, ...]) -> None:
    """Have the helpers sign two totals of their group, each with half of the others: all of them, and all but the last."""
    attempt = GroupedAttempt(evil, 0).to("answer")
    group = attempt.group(helpers[0])
    honest = [site for site in group if site not in helpers]
    half = 2 * len(group) // 3 + 1 - len(helpers)
    first, second = honest[:half], honest[half:][:half]
    out = next(site for site in honest if site not in second)
    told = {**dict.fromkeys(first, group), **dict.fromkeys(second, tuple(site for site in group if site != out))}
    for site, survivors in told.items():
        attempt.step("agree", site, told={"survivors": list(survivors)})
    for one in (first, second):
        signed = {site: attempt.said["agree"][site] for site in one if site in attempt.said["agree"]}
        for site in one:
            signed |= attempt.puppet_signs(site, group, told[site])
        for site in one:
            here = {name: text for name, text in signed.items() if name in told[site] and name in group}
            attempt.step("open", site, told={"signatures": here})


@pytest.mark.parametrize(("sites", "helpers", "bare"), [(15, 2, False), (19, 2, False), (19, 3, True)])
def test_helpers_in_one_group_sign_two_totals_of_it(sites: int, helpers: int, bare: bool, tmp_path: Path) -> None:
    """As many as the study's page says that it withstands do not suffice; one more in a group of seven does."""
    names = in_one_group(sites, helpers)
    assert (helpers > allies_in_groups(sites)) == bare
    evil = Divided(tmp_path, sites, names)
    split(evil, names)
    assert bool(evil.laid_bare()) == bare
    assert bool(evil.refusals) != bare


@pytest.mark.parametrize(("helpers", "bare"), [(2, False), (3, True)])
def test_helpers_in_one_group_take_their_own_sums_off_its_smallest_total(helpers: int, bare: bool, tmp_path: Path) -> None:
    names = in_one_group(15, helpers)
    evil = Divided(tmp_path, 15, names)
    last = next(one for one in evil.groups if names[0] in one)[-1]
    opened(evil, 0, *without(evil, last))
    assert not evil.refusals
    assert bool(evil.laid_bare()) == bare == (helpers > allies_in_groups(15))


def test_who_refused_another_list_goes_on_with_the_true_one(tmp_path: Path) -> None:
    evil = Divided(tmp_path, 16)
    closed(evil)
    GroupedAttempt(evil, 0, evil.sites[:15], evil.sites[:15]).to("open")
    assert {task.site for task, _ in evil.refusals} == set(evil.sites[:15])
    evil.close(opened(evil, 1), 1)
    closed(evil)
    assert len(evil.refusals) == 15


def _any_word(patch: Patch) -> None:
    after = Behind.after
    patch.setattr(Behind, "after", lambda self, *about: replace(after(self, *about), word="0" * 64))


def _small_groups(patch: Patch) -> None:
    patch.setattr(vouching, "LEAST", 2)


def _low(patch: Patch) -> None:
    """Open whatever a group's sites are asked to, down to three."""
    patch.setattr(session, "threshold", lambda sites, quorum: 3)


def _unnumbered(patch: Patch) -> None:
    patch.setattr(following, "numbered", lambda groups, seal: None)


def _any_list(protocol: Protocol, sessions: Sessions, task: Task) -> frozenset[str]:
    return frozenset(read_roster(task)) if task.stage == "keys" else sessions.roster()


def _divided_anew(patch: Patch) -> None:
    patch.setattr(following, "_first", _any_list)


def _small_in_other_groups(patch: Patch) -> None:
    parties = vouching.opened_groups
    patch.setattr(following, "opened_groups", lambda groups, survivors: parties([_least(one) for one in groups], survivors))


def _least(party: Party) -> Party:
    return replace(party, quorum=1)


WEAKENED: dict[str, tuple[Weaken, str, str]] = {
    "divided anew": (_divided_anew, "another_list_for_another_division", "silent"),
    "divided anew within a round": (_divided_anew, "the_same_round_in_other_groups", "silent"),
    "threshold of three": (_low, "total_of_three_of_a_group", "silent"),
    "nobody has to vouch": (lambda patch: patch.setattr(Behind, "missing", lambda *about: ""), "invented_total_of_another_group", "misled"),
    "who vouches for something else counts": (_any_word, "one_group_is_told_other_closings", "silent"),
    "vouchers unsigned": (lambda patch: patch.setattr(session, "genuine", lambda *about: None), "word_put_into_a_mouth", "misled"),
    "any identity": (lambda patch: patch.setattr(Sessions, "met", lambda self: {}), "strangers_vouch", "misled"),
    "any seal": (lambda patch: patch.setattr(following, "fits", lambda *about: True), "swapped_group_numbers", "silent"),
    "two groups suffice": (_small_groups, "two_groups_only", "silent"),
    "other groups of any size": (_small_in_other_groups, "another_group_of_three", "silent"),
    "any seals": (_unnumbered, "seal_of_a_group_left_out", "silent"),
}
"""Checks that are taken out of the gates, one attack that then succeeds, and how: what the verdict says, or that it finds no refusal."""


@pytest.mark.parametrize("name", WEAKENED)
def test_the_suite_fails_for_weakened_gates(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    weaken, attack, harm = WEAKENED[name]
    weaken(monkeypatch)
    verdict = attacked(tmp_path, attack)
    assert not verdict.fine
    assert (verdict.refused == frozenset()) if harm == "silent" else getattr(verdict, harm), verdict
