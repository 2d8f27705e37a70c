"""The coordinator's side of a sum of one message: who is away, who finds fault, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.combining.secure.exchange import task
from tests.combining.secure.one_message import HELPING, LAYOUT, NAMES, Sum
from tests.combining.secure.test_attempt import AWAY, FAULTS, RECEIPT, refusals
from wardround.combining.secure.attempt import NOBODY
from wardround.combining.secure.window import NAME
from wardround.combining.secure.window_attempt import WindowAttempt
from wardround.combining.secure.wording import Broken
from wardround.study.task import Ask, Refusal, Short, Task, Total, Update

MINE = {"x": np.arange(7, dtype=np.int32) % 2, "n": np.asarray(1)}


class Play:
    """Take five sites through an attempt in which some helpers refuse at one exchange.

    Args:
        found: what is said in place, by the number of the exchange, from 0; the fourth and the fifth open.
        strict: whether all of them must be asked.
        identities: that the sites joined with.

    Attributes:
        kept: what was to be kept before anything was opened.
        opened: what was revealed.
    """

    def __init__(self, found: Mapping[int, list[Refusal]], strict: bool = True, identities: Mapping[str, str] = NOBODY) -> None:
        self.sum, self.left_out = Sum(), list[Refusal]()
        self.opened: list[tuple[Update, Any]] = []
        self.attempt = WindowAttempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in NAMES], 3, HELPING, identities)
        for at, stage in enumerate(self.attempt.stages):
            asked = self.attempt.tasks(stage)
            here = found.get(at, [])
            assert not strict or {one.site for one in here} <= {one.site for one in asked}
            if at == 3:
                self.kept = (self.attempt.facts, {name: value.copy() for name, value in self.attempt.hidden.items()})
            for one in asked:
                if one.site not in {refusal.site for refusal in here}:
                    update, said = Update(one.digest, one.site, b"", {}, RECEIPT, ""), self.said(one)
                    self.attempt.take(stage, update, said)
                    self.opened += [(update, said)] if stage == "open" else []
            self.left_out += self.attempt.end(stage, here)

    def said(self, asked: Task) -> Any:
        """Return what a site says, as the coordinator reads it."""
        site = asked.site
        if asked.stage == "answer":
            hidden = self.sum.answer(site, MINE, asked.relay)
            return {**hidden, NAME: np.frombuffer(self.sum.parcels[site], np.uint8)}
        if asked.stage == "agree":
            self.sum.agree(site)
        if asked.stage == "open":
            return self.sum.open(site, self.attempt._asked[site])
        return self.attempt.read(asked.stage, LAYOUT, self.sum.said[asked.stage][site])


@pytest.mark.parametrize("why", AWAY)
@pytest.mark.parametrize("helper", HELPING)
def test_a_helper_whose_own_rules_keep_it_from_revealing_is_not_needed(helper: str, why: str) -> None:
    made = Play({3: refusals((helper,), *AWAY[why])})
    total = made.attempt.outcome(0)
    assert isinstance(total, Total)
    assert total.proof[0] == NAMES and not made.left_out
    assert np.array_equal(total.integers["x"], 5 * MINE["x"]) and total.integers["n"] == 5


@pytest.mark.parametrize("why", AWAY)
def test_a_helper_that_is_kept_from_agreeing_is_named(why: str) -> None:
    made = Play({2: refusals(HELPING[1:2], *AWAY[why])})
    assert made.left_out == refusals(HELPING[1:2], *AWAY[why])
    outcome = made.attempt.outcome(1)
    assert isinstance(outcome, Short)
    assert "found fault" not in outcome.why and "helper" in outcome.why and not made.attempt.awaited


@pytest.mark.parametrize("why", AWAY)
def test_a_total_that_one_helper_opens_waits_for_any_of_the_others(why: str) -> None:
    made = Play({3: refusals(HELPING[:2], *AWAY[why]), 4: refusals(HELPING[:1], *AWAY[why])})
    assert not made.left_out
    assert made.attempt.missed() == refusals(HELPING[:2], *AWAY[why])
    assert made.attempt.awaited == ["aarau", "basel"]
    assert made.attempt.waits().why == "two helpers must help to open the total; it waits for aarau or basel"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_helper_that_finds_fault_before_a_total_is_opened_ends_the_attempt(fault: str) -> None:
    found = refusals(HELPING[2:], *FAULTS[fault])
    made = Play({2: found})
    assert made.attempt.outcome(1) == Short(4, 3, "chur found fault with the secure sum or broke it, so nothing was opened")
    assert made.left_out == found


@pytest.mark.parametrize("fault", FAULTS)
def test_with_two_helpers_that_are_left_a_fault_of_the_third_undoes_nothing(fault: str) -> None:
    found = refusals(HELPING[2:], *FAULTS[fault])
    made = Play({3: found})
    assert isinstance(made.attempt.outcome(0), Total)
    assert not made.left_out and made.attempt.faults() == found


@pytest.mark.parametrize("fault", FAULTS)
def test_with_one_helper_that_is_left_a_total_is_given_up(fault: str) -> None:
    """At the last exchange one is asked only in place of another, which is away."""
    first, found = refusals(HELPING[:1], *FAULTS[fault]), refusals(HELPING[2:], *FAULTS[fault])
    made = Play({3: first, 4: found})
    assert not made.attempt.awaited
    assert made.attempt.give_up() == first + found
    assert made.attempt.outcome(2) == Short(3, 3, "fewer than two helpers were left to open the total")


@pytest.mark.parametrize("heard", [0, 1, 2])
def test_a_total_is_opened_with_what_was_kept(heard: int) -> None:
    """So many helpers' sums came before the coordinator was killed; the others are asked the same, byte for byte."""
    away = refusals(HELPING[heard:], *AWAY["silent"])
    made = Play({3: away, 4: away}, strict=False)
    first = made.attempt
    later = WindowAttempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in NAMES[1:]], 3, HELPING)
    later.restore(json.loads(json.dumps(made.kept[0])), made.kept[1])
    for update, said in made.opened:
        later.take("open", update, said)
    assert later.stages == ["open", "open"] and later._missing == first._missing
    for stage in later.stages:
        for one in later.tasks(stage):
            later.take(stage, Update(one.digest, one.site, b"", {}, RECEIPT, ""), made.sum.open(one.site, later._asked[one.site]))
        later.end(stage, [])
    total = later.outcome(0)
    assert isinstance(total, Total) and np.array_equal(total.integers["x"], 5 * MINE["x"])


@pytest.mark.parametrize("stage", ["keys", "answer"])
def test_what_is_signed_by_another_identity_than_the_site_joined_with_is_refused(stage: str) -> None:
    """Else every gate would refuse the whole list for it."""
    site = HELPING[0] if stage == "keys" else next(name for name in NAMES if name not in HELPING)
    with pytest.raises(Broken, match="signed by another identity than the site joined with"):
        Play({}, identities={site: "0" * 64})
    assert isinstance(Play({}, identities=Sum().known).attempt.outcome(0), Total)
