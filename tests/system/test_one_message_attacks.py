"""A hostile coordinator leads the true gates of a sum of one message astray: each attempt ends, with an entry that names the step.

Some of the attacks run against gates from which one check was taken out as well: then they succeed, so none of the tests passes by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.system.attacks import stranger
from tests.system.test_malicious_coordinator import evidence, turn
from tests.system.window_attacks import HELPING, SITES, Attempt, Coordinator, total_is_true
from wardround.combining.secure import keys, window
from wardround.combining.secure.window import agreement, commitments
from wardround.site import windows
from wardround.site.policy import HospitalPolicy
from wardround.study.canonical import digest_json

Move = Callable[[Coordinator], object]


@dataclass(frozen=True)
class Attack:
    """Hold an attack: what is done, the refusal's reason as a pattern, what the study is like, and who helps the coordinator."""

    move: Move
    reason: str
    study: Mapping[str, Any] = field(default_factory=dict)
    dishonest: tuple[str, ...] = ("site2",)


ATTACKS: dict[str, Attack] = {}


def attack(reason: str, **study: Any) -> Callable[[Move], Move]:
    """Note an attack under its function's name."""

    def noted(move: Move) -> Move:
        ATTACKS[move.__name__] = Attack(move, f"^secure sum, {reason}", study)
        return move

    return noted


def signing(evil: Coordinator, site: str) -> Ed25519PrivateKey:
    """Return a dishonest site's key."""
    return evil.gates[site].keys.signing


# keys and answers


@attack("keys: this site is no helper of this study")
def one_that_is_no_helper_begins(evil: Coordinator) -> None:
    Attempt(evil, 0).begin("site3")


@attack("shares: a sum of one message has no such step")
def a_step_of_another_mode(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().say("site0", "shares", {"adverts": []})


@attack("keys: this attempt was begun before with another task")
def another_roster_in_the_same_attempt(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().begin("site0", roster=digest_json(["site0", "site9"]))


@attack("answer: the key of helper site1 is not signed by it for this attempt")
def a_helpers_key_is_swapped(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin()
    fake = attempt.fake("site1", stranger("site1"))
    attempt.answer(helpers=attempt.helpers(site1={**attempt.keys["site1"], "channel": fake["channel"]}))


@attack("answer: site site1 has another identity than before")
def a_helper_is_the_coordinator_later(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().answer()
    attempt = Attempt(evil, 1).begin()
    attempt.answer("site3", "site4", helpers=attempt.helpers(site1=attempt.fake("site1", stranger("site1"))))


@attack("answer: site site. with the fingerprint .* is not accepted by this hospital's rule sites", named=True)
def helpers_are_the_coordinator_at_first(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin()
    attempt.answer("site3", "site4", helpers=attempt.helpers(**{one: attempt.fake(one, stranger(one)) for one in ("site0", "site1")}))


@attack("answer: the helpers are not those that the protocol names")
def another_helper(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin()
    attempt.answer("site3", helpers=attempt.helpers(site1=None, site4=attempt.fake("site1", stranger("site4")) | {"site": "site4"}))


@attack("answer: the helpers are not those that the protocol names")
def two_helpers(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin()
    attempt.answer("site3", helpers=attempt.helpers(site1=None))


@attack("answer: the key of helper site0 is not signed by it for this attempt")
def keys_of_an_older_attempt(evil: Coordinator) -> None:
    older = Attempt(evil, 0).begin()
    attempt = Attempt(evil, 1).begin()
    attempt.answer("site3", helpers=attempt.helpers(site0=older.keys["site0"]))


@attack("answer: it came after the step 'answer'")
def answered_twice_with_other_keys(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    attempt.answer("site3", helpers=attempt.helpers(site2=attempt.fake("site2", signing(evil, "site2"))))


@attack("answer: this attempt is over, because of a false step in it")
def asked_once_more_after_a_fault(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin()
    attempt.answer("site3", helpers=attempt.helpers(site1=None)).answer("site3")


@attack("answer: this attempt is over; a later one was begun")
def an_older_attempt_again(evil: Coordinator) -> None:
    older = Attempt(evil, 0).begin().answer("site0", "site1")
    Attempt(evil, 1).begin().answer()
    older.answer("site3")


# agreeing


@attack("agree: this site is no helper of this attempt")
def one_that_is_no_helper_agrees(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    attempt.say("site3", "agree", {"helpers": attempt.helpers(), "parcels": {}})


@attack("agree: a total of 3 sites is to be opened; 4 are needed", quorum=4)
def fewer_than_the_quorum(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    attempt.agree(parcels={site: attempt.parcels[site] for site in ("site1", "site2", "site3")}).open().open(turn=2)


@attack("agree: site site. with the fingerprint .* is not accepted by this hospital's rule sites", named=True)
def invented_sites(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    made_up = {name: attempt.puppet(name, stranger(name)) for name in ("site8", "site9")}
    attempt.agree(parcels={"site3": attempt.parcels["site3"], **made_up}).open("site0", "site1").open("site0", "site1", turn=2)


@attack("agree: two names share one key")
def one_site_under_two_names(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    made_up = {name: attempt.puppet(name, stranger("site8")) for name in ("site8", "site9")}
    attempt.agree("site0", parcels={"site3": attempt.parcels["site3"], **made_up})


@attack("agree: site site4 has another identity than before")
def a_site_is_replaced(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().answer().agree()
    attempt = Attempt(evil, 1).begin().answer()
    attempt.agree(parcels={**attempt.parcels, "site4": attempt.puppet("site4", stranger("site4"))}).open()


@attack("agree: the parcel of site site. is not signed by it for this attempt")
def parcels_swapped(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    attempt.agree("site0", "site1", parcels={**attempt.parcels, "site3": attempt.parcels["site4"], "site4": attempt.parcels["site3"]})


@attack("agree: the parcel of site site3 is not what it sealed for this helper")
def a_parcel_altered(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    raw = attempt.parcels["site3"]
    attempt.agree("site0", "site1", parcels={**attempt.parcels, "site3": raw[:-150] + bytes(one ^ 1 for one in raw[-150:])})


@attack("agree: the parcel of site site3 is not signed by it for this attempt")
def a_parcel_of_an_older_attempt(evil: Coordinator) -> None:
    older = Attempt(evil, 0).begin().answer()
    attempt = Attempt(evil, 1).begin().answer()
    attempt.agree("site0", "site1", parcels={**attempt.parcels, "site3": older.parcels["site3"]})


@attack("agree: the helpers are not those that the protocol names")
def agreeing_beside_two_helpers(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer()
    attempt.agree("site0", helpers=attempt.helpers(site1=None))


@attack("agree: this site is no helper of this attempt, or has agreed to a total already")
def another_set_in_the_same_attempt(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer().agree().open()
    attempt.agree(parcels={site: one for site, one in attempt.parcels.items() if site != "site4"})
    attempt.told = dict.fromkeys(HELPING, frozenset(SITES))


@attack("agree: another total of this round was opened in an earlier attempt, with other sites in it")
def the_same_round_with_a_site_fewer(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().answer().agree().open()
    attempt = Attempt(evil, 1).begin().answer()
    attempt.agree(parcels={site: one for site, one in attempt.parcels.items() if site != "site4"}).open()


@attack("agree: what was said is not well formed")
def nonsense(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().answer().say("site0", "agree", {"parcels": []})


# opening


@attack("open: helper site. did not agree to the total that this helper agreed to")
def helpers_are_told_of_different_sets(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer().agree("site0")
    few = {site: one for site, one in attempt.parcels.items() if site != "site4"}
    attempt.agree("site1", parcels=few)
    both = {}
    for helper, parcels in (("site0", attempt.parcels), ("site1", few)):
        payload = agreement(attempt.bond, {site: commitments(one.hex()) for site, one in parcels.items()})
        both[helper] = {**attempt.signed, "site2": keys.sign(signing(evil, "site2"), payload)}
    attempt.open("site0", signatures=both["site0"]).open("site1", signatures=both["site1"], number=2)
    attempt.open("site0", signatures=both["site0"], number=2)


@attack("open: helper site2 did not agree to the total that this helper agreed to")
def a_signature_is_missing(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer().agree()
    attempt.open("site0", "site1", signatures={helper: attempt.signed[helper] for helper in ("site0", "site1")})


@attack("open: helper site. did not agree to the total that this helper agreed to")
def a_helper_signs_for_another(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer().agree("site0", "site2")
    attempt.open("site0", signatures={**attempt.signed, "site1": attempt.signed["site2"]}, number=2)


@attack("open: helper site. did not agree to the total that this helper agreed to")
def agreements_of_an_older_attempt(evil: Coordinator) -> None:
    older = Attempt(evil, 0).begin().answer().agree()
    Attempt(evil, 1).begin().answer().agree().open(signatures=older.signed)


@attack("open: this helper does not hold the seeds that are asked for")
def a_class_that_the_helper_does_not_hold(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().answer().agree().open("site0", number=0)


@attack("open: it came after the step 'answer'")
def opened_before_it_is_agreed(evil: Coordinator) -> None:
    Attempt(evil, 0).begin().answer().open("site0", signatures={})


@attack("open: this attempt is over, because of a false step in it")
def opened_after_a_fault(evil: Coordinator) -> None:
    attempt = Attempt(evil, 0).begin().answer().agree()
    attempt.open("site0", "site1", signatures={}).open("site0", "site1")


@dataclass(frozen=True)
class Verdict:
    """Say which sites refused with the reason, which of those went on in that attempt, and whose sums the coordinator has."""

    refused: frozenset[str]
    went_on: frozenset[str]
    bare: frozenset[str]


def attacked(folder: Path, name: str) -> tuple[Coordinator, Verdict]:
    """Run an attack and judge it from the sites' signed logs and all that was heard."""
    found = ATTACKS[name]
    evil = Coordinator(folder, **found.study)
    found.move(evil)
    refused, went_on = set(), set()
    for site, gate in evil.gates.items():
        entries = evidence(gate)
        places = [place for place, one in enumerate(entries) if one["t"] == "refused" and re.search(found.reason, one["reason"])]
        if places:
            refused.add(site)
            left = [one for one in entries[places[0] :] if one["t"] == "egress" and turn(one) == turn(entries[places[0]])]
            went_on |= {site} if left else set()
    assert refused == {task.site for task, reply in evil.refusals if re.search(found.reason, reply.reason)}
    return evil, Verdict(frozenset(refused), frozenset(went_on), frozenset(evil.laid_bare(found.dishonest)))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_lays_nobody_bare(name: str, tmp_path: Path) -> None:
    evil, verdict = attacked(tmp_path, name)
    assert verdict.refused, [reply.reason for _, reply in evil.refusals]
    assert not verdict.went_on
    assert not verdict.bare
    after = Attempt(evil, 9).begin().answer().agree().open()
    assert total_is_true(after), "an honest attempt is possible afterwards"
    assert not evil.laid_bare(["site2"])


def test_there_are_attacks_on_every_step() -> None:
    steps = {found[1] for one in ATTACKS.values() if (found := re.match(r"\^secure sum, (\w+):", one.reason))}
    assert steps == {"keys", "shares", "answer", "agree", "open"}
    assert len(ATTACKS) >= 30


@pytest.mark.parametrize("dishonest", [(), ("site2",), ("site0",), ("site3", "site4"), ("site1", "site3")])
def test_without_two_helpers_the_coordinator_has_nobodys_sums(dishonest: tuple[str, ...], tmp_path: Path) -> None:
    evil = Coordinator(tmp_path)
    assert total_is_true(Attempt(evil, 0).begin().answer().agree().open().open(turn=2))
    assert not evil.refusals
    assert not evil.laid_bare(dishonest)


@pytest.mark.parametrize("dishonest", [("site0", "site1"), ("site1", "site2")])
def test_with_two_helpers_it_has_them_all(dishonest: tuple[str, ...], tmp_path: Path) -> None:
    evil = Coordinator(tmp_path)
    Attempt(evil, 0).begin().answer()
    assert evil.laid_bare(dishonest) == set(SITES) - set(dishonest), "and it needs no total for that"


Patch = pytest.MonkeyPatch
NOTHING: Callable[..., None] = lambda *about: None  # noqa: E731
WEAKENED: dict[str, tuple[Callable[[Patch], object], str]] = {
    "keys unsigned": (lambda patch: patch.setattr(window, "genuine", NOTHING), "a_helpers_key_is_swapped"),
    "any hospital accepted": (lambda patch: patch.setattr(HospitalPolicy, "_known", lambda *about, **more: None), "invented_sites"),
    "any helper accepted": (
        lambda patch: patch.setattr(HospitalPolicy, "_known", lambda *about, **more: None),
        "helpers_are_the_coordinator_at_first",
    ),
    "totals not remembered": (lambda patch: patch.setattr(windows, "_only_total", NOTHING), "the_same_round_with_a_site_fewer"),
    "signatures believed": (lambda patch: patch.setattr(keys, "signed", lambda *about: True), "helpers_are_told_of_different_sets"),
    "identities not remembered": (lambda patch: patch.setattr(windows, "_hold_to_what_is_known", NOTHING), "a_site_is_replaced"),
}
"""Checks that are taken out of the gates, and an attack that is not refused for its reason then."""

MISLED = {"identities not remembered"}
"""Those by which no single site's sums come out all the same."""


@pytest.mark.parametrize("name", WEAKENED)
def test_the_suite_fails_for_weakened_gates(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    weaken, move = WEAKENED[name]
    weaken(monkeypatch)
    _, verdict = attacked(tmp_path, move)
    assert not verdict.refused
    assert bool(verdict.bare) == (name not in MISLED), verdict
