from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.combining.secure.exchange import task
from wardround.combining.secure.attempt import Attempt
from wardround.combining.secure.groups import Party
from wardround.combining.secure.session import begin
from wardround.combining.secure.words import read_adverts
from wardround.study.errors import WardroundError
from wardround.study.layout import Layout, Term
from wardround.study.task import Ask, Receipt, Refusal, Short, Update
from wardround.study.threshold import threshold

LAYOUT: Layout = (Term.count("n", (), 10, 50),)
RECEIPT = Receipt("0" * 64, 0, 1, "0" * 64, "", "0" * 64)


def advertised(checked: str) -> tuple[Attempt, list[Refusal]]:
    """Have one site for each letter give its keys, "y" having checked the last total and "n" not; return who is left out then."""
    names = [f"site{number:02d}" for number in range(len(checked))]
    attempt = Attempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in names], 3)
    for name, letter in zip(names, checked, strict=True):
        _, said = begin(task(name), Party(frozenset(names), 3), Ed25519PrivateKey.generate(), letter == "y")
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
