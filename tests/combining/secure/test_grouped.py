"""One attempt in groups, message by message: everybody's keys are shown to all, shares stay within the group, nothing is asked in vain."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.combining.secure.exchange import task
from wardround.combining.secure import keys
from wardround.combining.secure.grouped import GroupAttempt, Together
from wardround.combining.secure.groups import groups_of, parties
from wardround.combining.secure.session import Session, begin, follow
from wardround.combining.secure.vouching import Behind, Vouchers
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import Advert, bond_of, read_adverts
from wardround.study.canonical import canonical, digest
from wardround.study.layout import Layout, Term
from wardround.study.task import Ask, Receipt, Stage, Update

NAMES = tuple(f"site{number:02d}" for number in range(16))
PARTIES = parties(groups_of(digest(b"protocol"), NAMES))
LAYOUT: Layout = (Term.count("n", (), 10, 50),)
RECEIPT = Receipt("0" * 64, 0, 1, "0" * 64, "", "0" * 64)
SIGNING = {name: Ed25519PrivateKey.generate() for name in NAMES}
BEHIND: Vouchers = tuple((party.quorum - 1, tuple(sorted(party.sites))) for party in PARTIES)
WORD = "ab" * 32
ME = min(PARTIES[0].sites)
FOREIGN = min(PARTIES[1].sites)


def members(number: int) -> list[str]:
    return sorted(PARTIES[number].sites)


class Played:
    """Hold an attempt whose sites have given their keys, as far as they are here."""

    def __init__(self, away: Collection[str] = (), silent: Collection[str] = (), behind: Vouchers = BEHIND) -> None:
        self.together = Together(NAMES, behind, 9)
        self.sessions: dict[str, Session] = {}
        for party in PARTIES:
            attempt = GroupAttempt([task(name, stage="answer", body=Ask({}, LAYOUT)) for name in sorted(party.sites)], party, self.together)
            attempt.tasks("keys")
            for name in sorted(party.sites - set(away)):
                whole = replace(party, everybody=frozenset(NAMES))
                self.sessions[name], said = begin(task(name), whole, SIGNING[name], Behind(name not in silent, WORD, behind))
                attempt.take("keys", Update("", name, said, {}, RECEIPT, ""), read_adverts("keys", said))
            attempt.end("keys", [])

    def asked(self, stage: Stage) -> dict[str, Any]:
        """Return what is passed on in an exchange, by site."""
        found = [one for attempt in self.together.attempts for one in attempt.tasks(stage)]
        return {one.site: json.loads(one.relay) for one in found}

    def share(self, site: str, adverts: list[Any], known: dict[str, str] | None = None) -> dict[str, Any]:
        """Have a site take the second step."""
        _, said = follow(self.sessions[site], "shares", canonical({"adverts": adverts}), SIGNING[site], known or {})
        found: dict[str, Any] = json.loads(said)["shares"]
        return found


def test_everybody_sees_all_keys_and_shares_with_its_group_only() -> None:
    played = Played()
    asked = played.asked("shares")
    assert sorted(asked) == list(NAMES)
    assert all([one["site"] for one in told["adverts"]] == list(NAMES) for told in asked.values())
    for number, party in enumerate(PARTIES):
        assert set(played.share(members(number)[0], asked[members(number)[0]]["adverts"])) == party.sites


def test_a_group_that_is_too_small_is_left_and_its_sites_still_vouch() -> None:
    twenty = Played(away=members(0)[:1])
    assert set(twenty.asked("shares")) == set(NAMES) - set(members(0)[:1])
    short = Played(away=members(0)[:2], silent=members(0)[:2])
    assert [bool(attempt.over) for attempt in short.together.attempts] == [len(members(0)) - 2 < PARTIES[0].quorum, False, False]
    assert len(short.together.adverts) == 14


def test_with_two_groups_left_nobody_is_asked_on() -> None:
    played = Played(away=members(1)[:3], behind=())
    assert played.asked("shares") == {}
    assert played.together.why == "2 groups were left, and 3 are needed"
    assert {attempt.over for attempt in played.together.attempts} >= {played.together.why}


def test_without_the_word_of_a_group_nobody_is_asked_on() -> None:
    spare = len(members(2)) - PARTIES[2].quorum + 1
    assert Played(silent=members(2)[:spare]).asked("shares")
    played = Played(silent=members(2)[: spare + 1])
    assert played.asked("shares") == {}
    assert f"sites in the last total of one group ({', '.join(members(2))}) say that they checked it" in played.together.why


@pytest.mark.parametrize("silent", [0, 1])
def test_a_site_refuses_what_the_coordinator_would_not_ask(silent: int) -> None:
    spare = len(members(2)) - PARTIES[2].quorum + 1
    played = Played(silent=members(2)[: spare + silent])
    adverts = [asdict(one) for _, one in sorted(played.together.adverts.items())]
    if not silent:
        assert played.share(ME, adverts)
        return
    with pytest.raises(Broken, match=r"^secure sum, shares: . of the . sites in the last total of one group"):
        played.share(ME, adverts)


def signed(played: Played, whose: str, key: Ed25519PrivateKey, **changes: str) -> dict[str, str]:
    """Return the advert of a site of another group with changes, signed by somebody."""
    advert = replace(played.together.adverts[whose], identity=key.public_key().public_bytes_raw().hex(), **changes)
    made: Advert = replace(advert, signature=keys.sign(key, advert.signed_part(bond_of(task(whose)))))
    return asdict(made)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("unsigned", f"the keys of site {FOREIGN} are not signed by it for this attempt"),
        ("stranger", f"site {FOREIGN} has another identity than before"),
        ("twice", f"site {FOREIGN} is named twice"),
        ("unknown", "a site is in the list that does not belong to this site's round"),
        ("mine", "two names share one key"),
    ],
)
def test_the_keys_of_other_groups_are_held_against_the_same_rules(case: str, reason: str) -> None:
    """They vouch, so they count as much as those that share."""
    played = Played()
    honest = {site: asdict(one) for site, one in played.together.adverts.items()}
    known = {site: one["identity"] for site, one in honest.items()}
    other = Ed25519PrivateKey.generate()
    changed: dict[str, list[dict[str, str]]] = {
        "unsigned": [{**honest[FOREIGN], "checked": "no"}],
        "stranger": [signed(played, FOREIGN, other)],
        "twice": [honest[FOREIGN], honest[FOREIGN]],
        "unknown": [honest[FOREIGN], signed(played, FOREIGN, other, site="site99")],
        "mine": [signed(played, FOREIGN, SIGNING[ME])],
    }
    adverts = [one for site, one in honest.items() if site != FOREIGN] + changed[case]
    with pytest.raises(Broken, match=f"^secure sum, shares: {reason}"):
        played.share(ME, adverts, known if case == "stranger" else {})


def test_a_session_in_a_group_is_read_as_it_was_written() -> None:
    for session in Played().sessions.values():
        assert Session.from_json(session.to_json()) == session
