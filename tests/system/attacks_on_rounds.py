"""List what a hostile coordinator tries with attempts, rounds, asks and published totals, each with the words of the refusal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.system.attacks import HELPED, OTHER, attack, closed, opened, stranger
from tests.system.coordinator_attacks import Attempt, Coordinator
from wardround.record.envelope import CLOSING, sign
from wardround.study.arrays import to_bytes
from wardround.study.task import State, Total

# attempts and rounds


@attack("^secure sum, keys: this attempt was begun before with another task, or a later one was")
def same_attempt_after_a_restart(evil: Coordinator) -> None:
    Attempt(evil, 0).to("shares")
    Attempt(evil, 0, evil.sites[:3], evil.sites[:3]).to("answer")


@attack("^secure sum, shares: this site has not begun this attempt")
def older_attempt_taken_up(evil: Coordinator) -> None:
    older = Attempt(evil, 0).step("keys")
    Attempt(evil, 1).step("keys")
    older.step("shares")


@attack("^secure sum, follow: train, round 9, is not what comes next")
def round_beyond_the_protocol(evil: Coordinator) -> None:
    closed(evil)
    Attempt(evil, 0, state=replace(evil.state, round=8)).to("answer")


@attack("^secure sum, follow: the protocol has no such phase")
def phase_beyond_the_protocol(evil: Coordinator) -> None:
    Attempt(evil, 0, phase="nothing").step("keys")


@attack("^secure sum, follow: moments has not come to its end")
def phase_skipped(evil: Coordinator) -> None:
    Attempt(evil, 0, **{**evil.pretended(evil.invented()), "closed": ()}).to("answer")


@attack("^secure sum, follow: train has not come to its end")
def training_skipped(evil: Coordinator) -> None:
    closed(evil)
    done = evil.protocol.by_phase["train"]
    state = replace(evil.state, phase="local")
    assert done.cut_short(evil.state) is None
    Attempt(evil, 0, phase="local", state=evil.state, round=state.round).step("keys")


@attack("^the task quotes another protocol than the one this site approved")
def altered_protocol(evil: Coordinator) -> None:
    Attempt(evil, 0, protocol=OTHER).to("answer")


@attack("^the task is for another study")
def another_study(evil: Coordinator) -> None:
    Attempt(evil, 0, study="other").to("answer")


# what is asked


def _chosen(evil: Coordinator) -> State:
    """Return the state that stands, with one parameter of the coordinator's choosing."""
    arrays = {name: np.array(value) for name, value in evil.state.arrays.items()}
    name = next(one for one in sorted(arrays) if one.startswith("params"))
    arrays[name].reshape(-1)[:1] += 1
    return replace(evil.state, arrays=arrays)


@attack("^secure sum, follow: what is asked does not follow from the protocol and the published totals")
def chosen_weights(evil: Coordinator) -> None:
    closed(evil)
    Attempt(evil, 0, state=_chosen(evil)).to("answer")


@attack("^secure sum, follow: what is asked does not follow from the protocol and the published totals")
def model_fork(evil: Coordinator) -> None:
    closed(evil)
    attempt, chosen = Attempt(evil, 0), _chosen(evil)
    attempt.step("keys", "site0", "site1").step("keys", "site2", "site3", state=chosen)
    attempt.step("shares", "site0", "site1").step("shares", "site2", "site3", state=chosen)


@attack("^secure sum, follow: what is asked does not follow from the protocol and the published totals")
def another_ask_in_another_attempt(evil: Coordinator) -> None:
    closed(evil)
    Attempt(evil, 0).to("open")
    Attempt(evil, 1, state=_chosen(evil)).to("answer")


@attack("^secure sum, follow: what is asked does not follow from the protocol and the published totals")
def ask_changed_before_the_answer(evil: Coordinator) -> None:
    closed(evil)
    Attempt(evil, 0).to("shares").step("answer", state=_chosen(evil))


@attack("^secure sum, follow: what is asked does not follow from the protocol and the published totals")
def layout_changed_before_the_answer(evil: Coordinator) -> None:
    Attempt(evil, 0).to("shares").step("answer", layout=OTHER)


@attack("^secure sum, follow: the initial parameters are not there, or not those of the protocol")
def initial_parameters_swapped(evil: Coordinator) -> None:
    other = {name: np.asarray(value) + 1 for name, value in evil.done["initial"].results.items()}
    Attempt(evil, 0, supplies={evil.protocol.initial["model"]: to_bytes(other)}).to("answer")


# what is published


@attack("^secure sum, follow: the published total is not what the sites' sums came to")
def forged_total(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(evil.forged(opened(evil)))).to("answer")


@attack("^secure sum, follow: the published total is not what the sites' sums came to")
def total_of_another_round(evil: Coordinator) -> None:
    closed(evil)
    older, total = closed(evil), opened(evil)
    replayed = Total(older.layout, older.integers, older.sums, 4, (), (*total.proof[:2], older.proof[2]))
    Attempt(evil, 0, **evil.pretended(replayed)).to("answer")


@attack("^secure sum, follow: the published total does not carry the signatures of enough sites that are in it")
def agreements_of_another_round(evil: Coordinator) -> None:
    closed(evil)
    older, total = closed(evil), opened(evil)
    Attempt(evil, 0, **evil.pretended(total, agreed=older.proof[1])).to("answer")


@attack("^secure sum, follow: the published total is said to be of other sites than this site agreed to")
def total_said_to_be_of_fewer(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(opened(evil), survivors=evil.sites[:3])).to("answer")


@attack("^secure sum, follow: the published total is said to be of sites that it cannot be of")
def total_said_to_hold_a_site_twice(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(opened(evil), survivors=(*evil.sites, "site3"))).to("answer")


@attack("^secure sum, follow: the closings cannot be followed")
def seal_that_is_no_number(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(opened(evil), seal=("zz",) * 6)).to("answer")


@attack("^secure sum, follow: the published total is not the one of the closing")
def total_withheld(evil: Coordinator) -> None:
    Attempt(evil, 0, **{**evil.pretended(opened(evil)), "supplies": evil.supplies}).to("answer")


@attack("^secure sum, follow: the total of .* is beyond what 4 sites may send together")
def total_beyond_its_limits(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(evil.forged(opened(evil), 2**62))).to("answer")


@attack("^secure sum, follow: the coordinator went on from another state than the published total gives")
def another_state_than_advance_gives(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(opened(evil), state=OTHER)).to("answer")


@attack("^secure sum, follow: the protocol has no such phase")
def closing_of_an_unknown_phase(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(opened(evil), phase="nothing")).to("answer")


@attack("^a closing is not signed by the study's coordinator")
def closing_signed_by_another(evil: Coordinator) -> None:
    made = evil.pretended(opened(evil))
    last = made["closed"][-1]
    false = replace(last, signature=sign(stranger("coordinator"), CLOSING, last.signed_part(evil.protocol.digest)))
    Attempt(evil, 0, **{**made, "closed": (false,)}).to("answer")


@attack("^secure sum, follow: train, round 2, is not what comes next")
def closing_left_out(evil: Coordinator) -> None:
    closed(evil)
    closed(evil)
    Attempt(evil, 0, closed=evil.closings[:1]).to("answer")


@attack("^secure sum, follow: round 1 of train is left out")
def closing_of_a_later_round_only(evil: Coordinator) -> None:
    closed(evil)
    closed(evil)
    Attempt(evil, 0, **{**(made := evil.pretended(evil.invented())), "closed": (made["closed"][0], made["closed"][-1])}).to("answer")


NOBODY_CHECKED = "^secure sum, shares: 0 of 4 sites checked the last total themselves, more than half are needed"


@attack(NOBODY_CHECKED, again=())
def round_that_never_took_place(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(evil.invented())).to("answer")


@attack(NOBODY_CHECKED, again=())
def forged_total_under_another_attempt(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(evil.forged(opened(evil)), 5)).to("answer")


@attack(NOBODY_CHECKED, again=())
def forged_total_once_the_attempt_is_forgotten(evil: Coordinator) -> None:
    total = opened(evil)
    Attempt(evil, 1).step("keys")
    Attempt(evil, 0, **evil.pretended(evil.forged(total))).to("answer")


@attack("^secure sum, shares: 2 of 7 sites checked the last total themselves, more than half are needed", again=(), **HELPED)
def helpers_vouch_for_an_invented_total(evil: Coordinator) -> None:
    Attempt(evil, 0, **evil.pretended(evil.invented())).to("answer")


@attack("^secure sum, shares: the keys of site site. are not signed by it for this attempt", again=("site0", "site1", "site2"))
def another_total_for_the_absent(evil: Coordinator) -> None:
    total = opened(evil, 0, "site0", "site1", "site2")
    fork = evil.pretended(evil.forged(total))
    evil.close(total, 0)
    attempt = Attempt(evil, 0).step("keys", "site0", "site1", "site2").step("keys", "site3", **fork)
    attempt.step("shares", "site0", "site1", "site2").step("shares", "site3", **fork)
