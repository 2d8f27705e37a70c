"""The coordinator's side of a sum of one message: who is away, who finds fault, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.combining.secure.exchange import task
from tests.combining.secure.one_message import HELPING, LAYOUT, NAMES, Sum
from tests.combining.secure.test_attempt import AWAY, FAULTS, RECEIPT, refusals
from wardround.combining.secure.window import NAME
from wardround.combining.secure.window_attempt import WindowAttempt
from wardround.study.task import Ask, Refusal, Short, Task, Total, Update

MINE = {"x": np.arange(7, dtype=np.int32) % 2, "n": np.asarray(1)}


class Play:
    """Take five sites through an attempt in which some helpers refuse at one exchange.

    Args:
        found: what is said in place, by the number of the exchange, from 0; the fourth and the fifth open.
    """

    def __init__(self, found: Mapping[int, list[Refusal]]) -> None:
        self.sum, self.left_out = Sum(), list[Refusal]()
        self.attempt = WindowAttempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in NAMES], 3, HELPING)
        for at, stage in enumerate(self.attempt.stages):
            asked = self.attempt.tasks(stage)
            here = found.get(at, [])
            assert {one.site for one in here} <= {one.site for one in asked}
            for one in asked:
                if one.site not in {refusal.site for refusal in here}:
                    self.attempt.take(stage, Update("", one.site, b"", {}, RECEIPT, ""), self.said(one))
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
@pytest.mark.parametrize("gone", [{2: HELPING[1:2]}, {3: HELPING[:2], 4: HELPING[:1]}], ids=["agree", "open"])
def test_helpers_that_are_kept_by_their_own_rules_and_needed_are_named(gone: Mapping[int, tuple[str, ...]], why: str) -> None:
    made = Play({number: refusals(helpers, *AWAY[why]) for number, helpers in gone.items()})
    assert made.left_out == refusals(next(iter(gone.values())), *AWAY[why])
    outcome = made.attempt.outcome(len(made.left_out))
    assert isinstance(outcome, Short)
    assert "found fault" not in outcome.why and "helper" in outcome.why


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_helper_that_finds_fault_ends_the_attempt(number: int, fault: str) -> None:
    """At the last exchange one is asked only in place of another, which is away."""
    silent, found = refusals(HELPING[:1], *AWAY["silent"]), refusals(HELPING[2:], *FAULTS[fault])
    made = Play({3: silent, 4: found} if number == 4 else {number: found})
    assert made.attempt.outcome(1) == Short(4, 3, "chur found fault with the secure sum or broke it, so nothing was opened")
    assert made.left_out == (found + silent if number == 4 else found)
