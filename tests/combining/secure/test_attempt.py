from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.combining.secure.exchange import Exchange, task
from wardround.combining.secure.attempt import Attempt
from wardround.combining.secure.bodies import masked_specs
from wardround.combining.secure.groups import Party
from wardround.combining.secure.masks import add
from wardround.combining.secure.session import begin
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import read_adverts
from wardround.study.errors import WardroundError
from wardround.study.layout import Layout, Term
from wardround.study.task import Ask, Receipt, Refusal, Short, Stage, Total, Update
from wardround.study.threshold import threshold

LAYOUT: Layout = (Term.count("n", (), 10, 50),)
RECEIPT = Receipt("0" * 64, 0, 1, "0" * 64, "", "0" * 64)


def advertised(checked: str) -> tuple[Attempt, list[Refusal]]:
    """Have one site for each letter give its keys, "y" having checked the last total and "n" not; return who is left out then."""
    names = [f"site{number:02d}" for number in range(len(checked))]
    attempt = Attempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in names], 3)
    for name, letter in zip(names, checked, strict=True):
        _, said = begin(task(name), Party(frozenset(names), 3), Ed25519PrivateKey.generate(), Behind(letter == "y"))
        attempt.take("keys", Update("", name, said, {}, RECEIPT, ""), read_adverts("keys", said))
    return attempt, attempt.end("keys", [])


@pytest.mark.parametrize(
    ("checked", "out"), [("yyyy", 0), ("yyyn", 0), ("yynn", 1), ("ynnnyy", 1), ("nyyynnn", 2), ("yyyynnnnnn", 3), ("yynnn", 2)]
)
def test_most_of_those_that_share_have_checked_the_last_total(checked: str, out: int) -> None:
    """No site works on otherwise; so the coordinator lets some of the others wait, and says so."""
    attempt, refusals = advertised(checked)
    assert len(refusals) == out
    assert all(checked[int(one.site[4:])] == "n" and one.again and one.reason.startswith("it had no part in the last") for one in refusals)
    asked = {one.site for one in attempt.tasks("shares")}
    assert asked.isdisjoint(one.site for one in refusals)
    assert len(asked) == len(checked) - out >= threshold(len(asked), 3)
    assert 2 * sum(checked[int(site[4:])] == "y" for site in asked) > len(asked)


@pytest.mark.parametrize("checked", ["nnnn", "ynnnnn"])
def test_with_too_few_that_have_checked_it_nothing_goes_on(checked: str) -> None:
    attempt, refusals = advertised(checked)
    assert attempt.tasks("shares") == []
    outcome = attempt.outcome(len(refusals))
    assert isinstance(outcome, Short)
    assert outcome.quorum == 3 and outcome.sites == sum(letter == "y" for letter in checked)
    assert "which opens with 3" in outcome.why


def test_sums_that_could_wrap_are_refused_before_anything_is_said() -> None:
    for narrow, count in ((Term("x", (), 32, 2.0**29, 1.0), 4), (Term("x", (), 64, 2.0**61, 1.0), 4)):
        Attempt([task(f"s{number}", stage="answer", body=Ask({}, (narrow,))) for number in range(count - 1)], 3)
        with pytest.raises(WardroundError, match=r"^The sums of 4 sites may exceed the integers of 'x'") as found:
            Attempt([task(f"s{number}", stage="answer", body=Ask({}, (narrow,))) for number in range(count)], 3)
        assert "bounds.sites" in found.value.remedy


SEVEN = tuple(f"site{number}" for number in range(7))
AWAY = {
    "hours": ("accept", "the site's rule hours forbids it: answers leave between 20:00-06:00 only"),
    "left": ("accept", "the hospital has refused the protocol, or left"),
    "silent": ("deadline", "no answer within 60 s"),
}
FAULTS = {
    "found by the site": ("accept", Broken.at("agree", "it is not in the total that it is to agree to").message),
    "found by the coordinator": ("admit", "it did not sign the total that stands"),
}


def refusals(sites: tuple[str, ...], where: str, reason: str) -> list[Refusal]:
    return [Refusal("", site, where, reason, "") for site in sites]  # type: ignore[arg-type]


def played(stage: Stage, away: tuple[str, ...], found: list[Refusal]) -> tuple[Attempt, list[Refusal]]:
    """Take seven sites through an attempt in which some say nothing at one exchange; return who is left out by what is said in place."""
    exchange, left_out = Exchange(SEVEN), list[Refusal]()
    attempt = Attempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in SEVEN], 3)
    for one in attempt.stages:
        for asked in attempt.tasks(one):
            if one == "keys":
                exchange.begin([asked.site])
            elif one == stage and asked.site in away:
                continue
            else:
                exchange.follow(one, asked.site, asked.relay)
            said = masked(exchange, asked.site) if one == "answer" else attempt.read(one, LAYOUT, exchange.said[one][asked.site])
            attempt.take(one, Update("", asked.site, b"", {}, RECEIPT, ""), said)
        left_out += attempt.end(one, found if one == stage else [])
    return attempt, left_out


def masked(exchange: Exchange, site: str) -> dict[str, np.ndarray]:
    """Return what a site gives that counts ten patients."""
    sums = {name: np.full(shape, 10 if name == "n" else 0, kind) for name, (kind, shape) in masked_specs(LAYOUT).items()}
    for number, value in enumerate(sums.values()):
        add(exchange.sessions[site].masks(), number, value)
    return sums


@pytest.mark.parametrize("why", AWAY)
@pytest.mark.parametrize("stage", ["agree", "open"])
def test_whom_its_own_rules_keep_from_opening_a_total_is_in_it_all_the_same(stage: Stage, why: str) -> None:
    attempt, left_out = played(stage, SEVEN[5:], refusals(SEVEN[5:], *AWAY[why]))
    total = attempt.outcome(0)
    assert isinstance(total, Total)
    assert total.integers["n"] == 70 and total.proof[0] == SEVEN
    assert not left_out, "a record says of those that it names that their sums are not in the total"


@pytest.mark.parametrize("why", AWAY)
@pytest.mark.parametrize("stage", ["agree", "open"])
def test_too_many_that_are_kept_by_their_own_rules_open_nothing_and_are_named(stage: Stage, why: str) -> None:
    found = refusals(SEVEN[4:], *AWAY[why])
    attempt, left_out = played(stage, SEVEN[4:], found)
    assert left_out == found
    assert attempt.outcome(3) == Short(4, 5, "4 sites were left for the secure sum, which opens with 5")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", ["agree", "open"])
def test_one_that_finds_fault_ends_the_attempt_whoever_else_is_away(stage: Stage, fault: str) -> None:
    away, found = refusals(SEVEN[5:6], *AWAY["hours"]), refusals(SEVEN[6:], *FAULTS[fault])
    attempt, left_out = played(stage, SEVEN[5:], away + found)
    assert left_out == found + away
    outcome = attempt.outcome(2)
    assert isinstance(outcome, Short)
    assert outcome.why == "site6 found fault with the secure sum or broke it, so nothing was opened"
