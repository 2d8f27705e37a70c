"""A hostile coordinator leads the true gates of a study astray: each attempt aborts, with signed evidence, and lays nobody bare.

The same attacks run against gates from which one check was taken out: then they succeed, so none of the tests passes by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system import attacks_on_rounds, attacks_on_sums
from tests.system.attacks import ATTACKS
from tests.system.coordinator_attacks import Attempt, Coordinator
from wardround.combining.secure import keys, session
from wardround.combining.secure.vouching import Behind
from wardround.record import note
from wardround.record.entries import Entry, decode
from wardround.record.merkle import Tree, leaf_hash
from wardround.site import accept, exchange, following
from wardround.site.gate import Site
from wardround.site.policy import HospitalPolicy
from wardround.site.sessions import Sessions


def evidence(site: Site) -> list[Entry]:
    """Return the entries of a site's log, held against its signed head."""
    head = note.Checkpoint.parse(note.open(site.log.checkpoint(), [site.log.signer.verifier]))
    lines = list(site.log.lines())
    assert (head.size, head.root) == (len(lines), Tree(leaf_hash(line) for line in lines).root().hex())
    return [decode(line) for line in lines]


def turn(entry: Entry) -> tuple[Any, ...]:
    return entry["phase"], entry["round"], entry["attempt"]


@dataclass(frozen=True)
class Verdict:
    """Say how an attack ended.

    Attributes:
        refused: sites with an entry in their signed logs that names the step.
        went_on: those of them that said more in the attempt in which they had refused.
        bare: sites whose own sums the coordinator has.
        misled: sites that worked on what does not follow from the protocol and the true totals.
    """

    refused: frozenset[str]
    went_on: frozenset[str]
    bare: frozenset[str]
    misled: frozenset[str]

    @property
    def fine(self) -> bool:
        return bool(self.refused) and not (self.went_on or self.bare or self.misled)


def judged(evil: Coordinator, reason: str) -> Verdict:
    """Return what an attack has come to, from the sites' logs and everything that was heard."""
    refused, went_on = set(), set()
    for name, site in evil.gates.items():
        entries = evidence(site)
        places = [place for place, one in enumerate(entries) if one["t"] == "refused" and re.search(reason, one["reason"])]
        if places:
            refused.add(name)
            left = [one for one in entries[places[0] :] if one["t"] == "egress" and turn(one) == turn(entries[places[0]])]
            went_on |= {name} if left else set()
    told = {task.site for task, reply in evil.refusals if re.search(reason, reply.reason)}
    assert refused == told
    return Verdict(*map(frozenset, (refused, went_on, evil.laid_bare(), evil.worked_on_what_it_should_not())))


def attacked(folder: Path, name: str) -> tuple[Coordinator, Verdict]:
    attack = ATTACKS[name]
    evil = Coordinator(folder, **attack.study)
    attack.move(evil)
    return evil, judged(evil, attack.reason)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_aborts_and_lays_nobody_bare(name: str, tmp_path: Path) -> None:
    evil, verdict = attacked(tmp_path, name)
    assert verdict.fine, verdict
    again = evil.sites if ATTACKS[name].again is None else ATTACKS[name].again
    if not again:
        return  # who has believed something false stays with it: the study ends, as with a coordinator that does not ask
    attempt = Attempt(evil, 9, again)
    total = attempt.to("open").total()
    assert sorted(attempt.truth) == [site for site in again if site in evil.gates]
    for term, value in total.integers.items():
        np.testing.assert_array_equal(value, sum(np.asarray(one[term], value.dtype) for one in attempt.truth.values()))
    assert not evil.laid_bare()
    assert not evil.worked_on_what_it_should_not()


def test_there_are_attacks_on_every_step() -> None:
    named = {found[1] for attack in ATTACKS.values() if (found := re.match(r"\^secure sum, (\w+):", attack.reason))}
    assert named == {"follow", "keys", "shares", "answer", "agree", "open"}
    assert {attack.move.__module__ for attack in ATTACKS.values()} == {attacks_on_rounds.__name__, attacks_on_sums.__name__}
    assert len(ATTACKS) >= 50


def test_an_honest_coordinator_is_not_refused_and_lays_nobody_bare(tmp_path: Path) -> None:
    evil = Coordinator(tmp_path)
    while evil.state.phase != "local":
        evil.close(Attempt(evil, 0, evil.sites[evil.state.round % 2 :]).to("open").total(), 0)
    assert len(evil.closings) > 3
    assert not evil.refusals
    assert not evil.laid_bare()
    assert not evil.worked_on_what_it_should_not()


Patch = pytest.MonkeyPatch
Weaken = Callable[[Patch], object]


def _order(patch: Patch) -> None:
    patch.setattr(session, "pairwise", lambda stages: [(one, two) for one in stages for two in stages])
    patch.setattr(exchange, "_once", lambda *about: None)


def _loose(patch: Patch) -> None:
    for module in (session, exchange):
        patch.setattr(module, "bond_of", lambda task: f"{task.phase}{task.round}{task.attempt}")


def _blind(patch: Patch) -> None:
    patch.setattr(following.Following, "prepared", lambda self, task: task)
    patch.setattr(following.Following, "behind", lambda self, phase: Behind())


def _forgiving(patch: Patch) -> None:
    patch.setattr(exchange, "replace", lambda session, stage: session)


def _quorumless(patch: Patch) -> None:
    begin = session.begin
    patch.setattr(exchange, "begin", lambda task, party, *rest: begin(task, replace(party, quorum=0), *rest))


WEAKENED: dict[str, tuple[Weaken, str, str]] = {
    "threshold of two": (lambda patch: patch.setattr(session, "threshold", lambda sites, quorum: 2), "helpers_sign_two_totals", "bare"),
    "threshold of two, few sites": (lambda patch: patch.setattr(session, "threshold", lambda sites, quorum: 2), "low_threshold", "silent"),
    "no quorum": (_quorumless, "small_set", "bare"),
    "threshold of those who happen to be asked": (
        lambda patch: patch.setattr(exchange, "threshold", lambda sites, quorum: quorum),
        "two_totals_by_asking_fewer",
        "bare",
    ),
    "no memory of opened totals": (
        lambda patch: patch.setattr(Sessions, "opened", lambda self, phase, round_: None),
        "one_site_fewer_after_a_total",
        "bare",
    ),
    "steps in any order, and no memory of what was done": (_order, "double_unmask", "bare"),
    "keys unsigned": (lambda patch: patch.setattr(session, "genuine", lambda advert, bond: None), "key_swap", "bare"),
    "identities not remembered": (
        lambda patch: patch.setattr(Sessions, "meet", lambda self, identities: None),
        "everybody_else_is_the_coordinator",
        "bare",
    ),
    "any hospital accepted": (
        lambda patch: patch.setattr(HospitalPolicy, "_known", lambda self, task, window: None),
        "invented_hospitals",
        "bare",
    ),
    "agreements about nothing": (
        lambda patch: patch.setattr(session, "agreement", lambda *about: b""),
        "withheld_survivors",
        "silent",
    ),
    "keys bound to no list": (lambda patch: patch.setattr(session, "list_bond", lambda bond, adverts: bond), "overlapping_lists", "silent"),
    "keys bound to no roster and ask": (_loose, "roster_fork", "silent"),
    "signatures believed": (lambda patch: patch.setattr(keys, "signed", lambda *about: True), "a_helper_signs_for_another", "silent"),
    "an attempt begun twice": (
        lambda patch: patch.setattr(exchange, "_later", lambda *about: None),
        "same_attempt_after_a_restart",
        "silent",
    ),
    "no following": (_blind, "chosen_weights", "misled"),
    "any seal": (lambda patch: patch.setattr(following, "fits", lambda *about: True), "forged_total", "misled"),
    "nobody has to vouch": (
        lambda patch: patch.setattr(following.Following, "behind", lambda self, phase: Behind()),
        "round_that_never_took_place",
        "misled",
    ),
    "any closing": (lambda patch: patch.setattr(accept, "check", lambda *about: None), "closing_signed_by_another", "silent"),
    "an attempt goes on after a fault": (_forgiving, "few_signatures", "went_on"),
}
"""Checks that are taken out of the gates, one attack that then succeeds, and how: what the verdict says, or that it finds no refusal."""


@pytest.mark.parametrize("name", WEAKENED)
def test_the_suite_fails_for_weakened_gates(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    weaken, attack, harm = WEAKENED[name]
    weaken(monkeypatch)
    _, verdict = attacked(tmp_path, attack)
    assert not verdict.fine
    assert (verdict.refused == frozenset()) if harm == "silent" else getattr(verdict, harm), verdict
