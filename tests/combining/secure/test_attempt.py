from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.combining.secure.exchange import Exchange, task
from wardround.combining.secure import keys
from wardround.combining.secure.attempt import Attempt
from wardround.combining.secure.bodies import masked_specs
from wardround.combining.secure.groups import Party
from wardround.combining.secure.masks import add
from wardround.combining.secure.session import begin
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import bond_of, read_adverts
from wardround.study.errors import WardroundError
from wardround.study.layout import Bits, Layout, Term, Wire
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


@pytest.mark.parametrize(("bits", "sites"), [(8, 10), (8, 50), (16, 10), (16, 50), (32, 50)])
def test_a_term_that_is_sized_for_so_many_sites_is_enough_for_them_and_not_for_twice_as_many(bits: Bits, sites: int) -> None:
    term = Term.sized("x", (), 1.0, sites, bits=bits)
    Attempt([task(f"s{number}", stage="answer", body=Ask({}, (term,))) for number in range(sites)], 3)
    with pytest.raises(WardroundError, match="may exceed the integers of 'x'"):
        Attempt([task(f"s{number}", stage="answer", body=Ask({}, (term,))) for number in range(2 * sites + 2)], 3)


@pytest.mark.parametrize("wire", ["int4", "float16", "bfloat16"])
def test_what_is_written_more_briefly_than_integers_cannot_be_masked(wire: Wire) -> None:
    term = Term("x", (), 16, 1.0, 1.0, wire=wire)
    with pytest.raises(WardroundError, match=rf"^'x' is to be written as {wire}, which masks cannot be put on") as found:
        Attempt([task(f"s{number}", stage="answer", body=Ask({}, (term,))) for number in range(3)], 3)
    assert "quantised" in found.value.remedy


@pytest.mark.parametrize("key", ["mask", "channel"])
def test_a_key_that_is_another_sites_leaves_the_second_out(key: str) -> None:
    """Else every gate would refuse the whole list."""
    names, signing = ("site0", "site1"), Ed25519PrivateKey.generate()
    attempt = Attempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in names], 3)
    said = [read_adverts("keys", begin(task(name), Party(frozenset(names), 3), signing, Behind())[1])[name] for name in names]
    copied = replace(said[1], **{key: said[0].mask})
    copied = replace(copied, signature=keys.sign(signing, copied.signed_part(bond_of(task("site1", stage="answer", body=Ask({}, LAYOUT))))))
    attempt.take("keys", Update("", "site0", b"", {}, RECEIPT, ""), {"site0": said[0]})
    with pytest.raises(Broken, match="its key is another site's too"):
        attempt.take("keys", Update("", "site1", b"", {}, RECEIPT, ""), {"site1": copied})
    attempt.take("keys", Update("", "site1", b"", {}, RECEIPT, ""), {"site1": said[1]})


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


def played(
    stage: Stage, away: tuple[str, ...], found: list[Refusal], silent: str = "", exchange: Exchange | None = None
) -> tuple[Attempt, list[Refusal]]:
    """Take seven sites through an attempt in which some say nothing at one exchange; return who is left out by what is said in place.

    Args:
        stage: of the exchange.
        away: who says nothing.
        found: what is said in place.
        silent: one of these who did not agree either.
        exchange: the sites.
    """
    exchange, left_out = exchange or Exchange(SEVEN), list[Refusal]()
    attempt = Attempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in SEVEN], 3)
    for one in attempt.stages:
        for asked in attempt.tasks(one):
            if one == "keys":
                exchange.begin([asked.site])
            elif (one == stage and asked.site in away) or (one == "agree" and asked.site == silent):
                continue
            else:
                exchange.follow(one, asked.site, asked.relay)
            said = masked(exchange, asked.site) if one == "answer" else attempt.read(one, LAYOUT, exchange.said[one][asked.site])
            attempt.take(one, Update("", asked.site, b"", {}, RECEIPT, ""), said)
        missing = [refusal for refusal in found if refusal.site == silent]
        left_out += attempt.end(one, [refusal for refusal in found if refusal not in missing] if one == stage else [])
        left_out += attempt.end(one, missing) if one == "agree" else []
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
def test_too_many_that_do_not_agree_open_nothing_and_are_named(why: str) -> None:
    found = refusals(SEVEN[4:], *AWAY[why])
    attempt, left_out = played("agree", SEVEN[4:], found)
    assert left_out == found
    assert not attempt.opening and not attempt.awaited
    assert attempt.outcome(3) == Short(4, 5, "4 sites were left for the secure sum, which opens with 5")


@pytest.mark.parametrize("fault", FAULTS)
def test_those_that_find_fault_before_a_total_is_opened_are_away_and_told_of(fault: str) -> None:
    """Gates judge what they help to open; else one hostile site could stop a study for ever."""
    away, found = refusals(SEVEN[5:6], *AWAY["hours"]), refusals(SEVEN[6:], *FAULTS[fault])
    attempt, left_out = played("agree", SEVEN[5:], away + found)
    assert not left_out and attempt.faults() == found
    total = attempt.outcome(0)
    assert isinstance(total, Total) and total.integers["n"] == 70 and total.proof[0] == SEVEN


@pytest.mark.parametrize("fault", FAULTS)
def test_too_many_that_find_fault_open_nothing_and_are_named(fault: str) -> None:
    found = refusals(SEVEN[4:], *FAULTS[fault])
    attempt, left_out = played("agree", SEVEN[4:], found)
    assert left_out == found and not attempt.opening
    assert attempt.outcome(3) == Short(4, 5, "4 sites were left for the secure sum, which opens with 5")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_found_while_a_total_is_opened_undoes_nothing(fault: str) -> None:
    """The others have helped and help to open no other, so an attempt that ended here would end the study."""
    found = refusals(SEVEN[6:], *FAULTS[fault])
    attempt, left_out = played("open", SEVEN[5:], refusals(SEVEN[5:6], *AWAY["silent"]) + found)
    assert not left_out and attempt.faults() == found
    total = attempt.outcome(0)
    assert isinstance(total, Total) and total.integers["n"] == 70


@pytest.mark.parametrize("why", AWAY)
def test_a_total_that_too_few_help_to_open_waits_for_all_that_are_in_it(why: str) -> None:
    """Also for who was away when it was agreed to; and it names them all."""
    found = refusals(SEVEN[4:], *AWAY[why])
    attempt, left_out = played("open", SEVEN[4:], found, silent="site6")
    assert not left_out
    assert attempt.awaited == ["site4", "site5", "site6"] and attempt.missed() == found
    reason = "1 more of those in the total must help to open it; it waits for site4, site5, site6"
    assert attempt.waits() == Short(4, 5, reason, stands=True)


def test_with_too_many_that_are_left_out_for_good_a_total_is_given_up_and_all_are_named() -> None:
    """Seven gave their sums and five must help; of the four that are missing two have found fault."""
    found = refusals(SEVEN[3:5], *FAULTS["found by the site"]) + refusals(SEVEN[5:], *AWAY["silent"])
    attempt, _ = played("open", SEVEN[3:], found)
    assert attempt.awaited == ["site5", "site6"]
    more = refusals(SEVEN[5:6], *FAULTS["found by the coordinator"])
    attempt.end("open", more)
    assert not attempt.awaited
    assert {one.site for one in attempt.give_up()} == set(SEVEN[3:])
    assert attempt.outcome(4) == Short(3, 5, "3 sites were left for the secure sum, which opens with 5")


@pytest.mark.parametrize("there", [SEVEN, (*SEVEN[:3], *SEVEN[4:])], ids=["all", "one has left"])
def test_a_total_is_opened_with_what_was_kept_and_those_that_come_back(there: tuple[str, ...]) -> None:
    """What is asked is the same, byte for byte: gates know it by that."""
    exchange = Exchange(SEVEN)
    first, _ = played("open", SEVEN[4:], refusals(SEVEN[4:], *AWAY["silent"]), silent="site6", exchange=exchange)
    asked = {one.site: one for one in first.tasks("open")}
    later = Attempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in there], 3, SEVEN)
    later.restore(json.loads(json.dumps(first.facts)), first.hidden)
    for site in SEVEN[:4]:
        later.take("open", Update("", site, b"", {}, RECEIPT, ""), later.read("open", LAYOUT, exchange.said["open"][site]))
    assert later.stages == ("agree", "open")
    agreeing = later.tasks("agree")
    assert [one.site for one in agreeing] == ["site6"]
    exchange.follow("agree", "site6", agreeing[0].relay)
    later.take("agree", Update("", "site6", b"", {}, RECEIPT, ""), later.read("agree", LAYOUT, exchange.said["agree"]["site6"]))
    opening = {one.site: one for one in later.tasks("open")}
    assert sorted(opening) == ["site4", "site5", "site6"]
    assert all(opening[site].digest == asked[site].digest for site in ("site4", "site5"))
    exchange.follow("open", "site6", opening["site6"].relay)
    later.take("open", Update("", "site6", b"", {}, RECEIPT, ""), later.read("open", LAYOUT, exchange.said["open"]["site6"]))
    total = later.outcome(0)
    assert isinstance(total, Total) and total.integers["n"] == 70 and total.proof[0] == SEVEN


def test_a_key_that_is_no_key_leaves_out_its_own_site_and_nobody_else() -> None:
    attempt = Attempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in SEVEN], 3)
    key = Ed25519PrivateKey.generate()
    _, said = begin(task("site6"), Party(frozenset(SEVEN), 3), key, Behind())
    true = read_adverts("keys", said)["site6"]
    for changed in (replace(true, mask="00" * 32), replace(true, channel="01" + "00" * 31)):
        signed = replace(changed, signature=keys.sign(key, changed.signed_part(bond_of(task("site6")))))
        with pytest.raises(Broken, match=r"^secure sum, keys: its key is no key"):
            attempt.take("keys", Update("", "site6", b"", {}, RECEIPT, ""), {"site6": signed})
    attempt.take("keys", Update("", "site6", b"", {}, RECEIPT, ""), {"site6": true})
