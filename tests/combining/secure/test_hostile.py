from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise, product

import pytest

from tests.combining.secure import hostile
from tests.combining.secure.exchange import Exchange, parsed
from tests.combining.secure.hostile import BAD, GONE, ME, NAMES, OTHER, STRANGER, Hostile, Json, played, step
from tests.combining.secure.test_keys import SMALL
from wardround.combining.secure.session import follow
from wardround.combining.secure.shamir import PRIME, SHARE_BYTES
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import STAGES
from wardround.study.canonical import canonical, digest

Cases = Mapping[str, tuple[Hostile, str]]
MALFORMED = "what was said is not well formed"
UNSIGNED = f"the keys of site {OTHER} are not signed by it for this attempt"
OWN = "this site's own keys are not in the list as it sent them"
ELSE = digest(b"something else")
HUGE = (PRIME + 5).to_bytes(SHARE_BYTES, "big").hex()


def refused(stage: str, reason: str, exchange: Exchange, message: bytes, known: Mapping[str, str] | None = None) -> None:
    """Hold that a step is refused for a reason, that its error names the step, and that it shows no secret."""
    with pytest.raises(Broken) as found:
        step(exchange, stage, message, known)
    assert found.value.message.startswith(f"secure sum, {stage}: ") and reason in found.value.message
    assert found.value.remedy and not re.search("[0-9a-f]{16}", str(found.value))


@pytest.mark.parametrize("stage", STAGES[1:])
def test_the_honest_message_is_answered(stage: str) -> None:
    exchange = played()
    known = {site: hostile.identity(exchange.signing[site]) for site in NAMES}
    reply = step(exchange, stage, exchange.passed(stage, ME), known)
    assert reply == b"" if stage == "answer" else parsed(reply).keys() == parsed(exchange.said[stage][ME]).keys()


LISTS: Cases = {
    "of another attempt": (hostile.elsewhere(attempt=1), UNSIGNED),
    "of another round": (hostile.elsewhere(round=4), UNSIGNED),
    "of another phase": (hostile.elsewhere(phase="test"), UNSIGNED),
    "of another study": (hostile.elsewhere(study="other"), UNSIGNED),
    "of another protocol": (hostile.elsewhere(protocol=ELSE), UNSIGNED),
    "of another ask": (hostile.elsewhere(ask=ELSE), UNSIGNED),
    "of another roster": (hostile.elsewhere(roster=ELSE), UNSIGNED),
    "channel key swapped": (hostile.swapped(OTHER, channel="77" * 32), UNSIGNED),
    "mask key swapped": (hostile.swapped(OTHER, mask="77" * 32), UNSIGNED),
    "commitment to the seed swapped": (hostile.swapped(OTHER, seed="77" * 32), UNSIGNED),
    "identity swapped": (hostile.swapped(OTHER, identity=hostile.identity(STRANGER)), UNSIGNED),
    "identity is no point": (hostile.swapped(OTHER, identity="ff" * 32), UNSIGNED),
    "renamed": (hostile.swapped(OTHER, site="zug"), "the keys of site zug are not signed by it for this attempt"),
    "signed by somebody else": (lambda e: hostile.listed(e, {OTHER: hostile.signed(e, OTHER, signer=STRANGER, mask="77" * 32)}), UNSIGNED),
    "signature of another step": (lambda e: hostile.listed(e, {OTHER: {**_advert(e), "signature": hostile.agreed(e, OTHER)}}), UNSIGNED),
    "signature altered": (lambda e: hostile.listed(e, {OTHER: _flipped(e)}), UNSIGNED),
    "own keys missing": (lambda e: hostile.listed(e, {ME: None}), OWN),
    "own channel key swapped": (hostile.swapped(ME, channel="77" * 32), OWN),
    "own mask key swapped": (hostile.swapped(ME, mask="77" * 32), OWN),
    "own signature altered": (hostile.swapped(ME, signature="77" * 64), OWN),
    "own keys of an earlier attempt": (hostile.elsewhere(ME, attempt=1), OWN),
    "own name on other keys": (lambda e: hostile.listed(e, {ME: {**_advert(e), "site": ME}}), OWN),
    "a site twice": (lambda e: hostile.listed(e, {}, _advert(e)), f"site {OTHER} is named twice"),
    "a site twice with two keys": (
        lambda e: hostile.listed(e, {}, hostile.signed(e, OTHER, mask="77" * 32)),
        f"site {OTHER} is named twice",
    ),
    "this site twice": (lambda e: hostile.listed(e, {}, _advert(e, ME)), f"site {ME} is named twice"),
    "two names, one identity": (
        lambda e: hostile.listed(e, {}, hostile.signed(e, BAD, site="zug", mask="77" * 32, channel="78" * 32)),
        "two names share one key",
    ),
    "two names, one mask key": (lambda e: hostile.listed(e, {}, hostile.copied(e, "zug", "mask")), "two names share one key"),
    "two sites": (lambda e: hostile.listed(e, dict.fromkeys(NAMES[2:])), "only 2 sites take part, 3 are needed"),
    "one site": (lambda e: hostile.listed(e, dict.fromkeys(set(NAMES) - {ME})), "only 1 sites take part, 3 are needed"),
    "no site": (lambda e: canonical({"adverts": []}), OWN),
    "a key more": (hostile.edited(OTHER, more="x"), MALFORMED),
    "a key less": (hostile.edited(OTHER, mask=None), MALFORMED),
    "a key that is a number": (hostile.edited(OTHER, mask=7), MALFORMED),
    "a key that is too long": (hostile.edited(OTHER, mask="77" * 33), MALFORMED),
    "a key that is too short": (hostile.edited(OTHER, channel="77" * 31), MALFORMED),
    "a key in capitals": (hostile.edited(OTHER, channel="AB" * 32), MALFORMED),
    "a key with a line end": (hostile.edited(OTHER, channel="7" * 64 + "\n"), MALFORMED),
    "a signature that is too short": (hostile.edited(OTHER, signature="77" * 63), MALFORMED),
    "a name that is a path": (hostile.edited(OTHER, site="../aarau"), MALFORMED),
    "a name that is too long": (hostile.edited(OTHER, site="a" * 65), MALFORMED),
    "no name": (hostile.edited(OTHER, site=""), MALFORMED),
    "an advert that is a list": (lambda e: canonical({"adverts": [list(_advert(e).values())]}), MALFORMED),
    "adverts by name": (lambda e: canonical({"adverts": {OTHER: _advert(e)}}), MALFORMED),
}


def _advert(exchange: Exchange, site: str = OTHER) -> Json:
    return hostile.signed(exchange, site)


def _flipped(exchange: Exchange) -> Json:
    one = _advert(exchange)
    return {**one, "signature": hostile.flipped(one["signature"], 70)}


@pytest.mark.parametrize("case", LISTS)
def test_a_false_list_of_keys_is_refused(case: str) -> None:
    made, reason = LISTS[case]
    refused("shares", reason, played(), made(played()))


@pytest.mark.parametrize("kind", ["channel", "mask"])
@pytest.mark.parametrize("point", SMALL)
def test_a_key_that_everybody_knows_is_refused(kind: str, point: str) -> None:
    refused("shares", f"the key of site {BAD} is no key", played(), hostile.resigned(BAD, **{kind: point})(played()))


def test_a_list_shorter_than_the_quorum_of_the_protocol_is_refused() -> None:
    exchange = played(quorum=4)
    step(exchange, "shares", hostile.listed(exchange, {GONE: None}))
    refused("shares", "only 3 sites take part, 4 are needed", exchange, hostile.listed(exchange, {GONE: None, OTHER: None}))


def test_most_sites_must_have_checked_the_last_total_themselves() -> None:
    exchange, unchecked = played(), {site: hostile.signed(played(), site, checked="no") for site in (OTHER, BAD, GONE)}
    step(exchange, "shares", hostile.listed(exchange, {site: unchecked[site] for site in (OTHER, BAD)}))
    reason = "2 of 5 sites checked the last total themselves, more than half are needed"
    refused("shares", reason, exchange, hostile.listed(exchange, unchecked))
    refused("shares", MALFORMED, exchange, hostile.resigned(OTHER, checked="perhaps")(exchange))


@pytest.mark.parametrize("site", [OTHER, ME])
def test_another_identity_than_before_is_refused(site: str) -> None:
    exchange = played()
    known = {site: hostile.identity(STRANGER)}
    refused("shares", f"site {site} has another identity than before", exchange, exchange.adverts(), known)


def test_a_site_whose_identity_was_replaced_is_refused_though_it_signs() -> None:
    exchange = played()
    taken = hostile.signed(exchange, OTHER, signer=STRANGER, identity=hostile.identity(STRANGER))
    known = {OTHER: hostile.identity(exchange.signing[OTHER])}
    refused("shares", f"site {OTHER} has another identity than before", exchange, hostile.listed(exchange, {OTHER: taken}), known)


FALSE = f"the shares of site {BAD} are not what it sealed for this site in this attempt"
UNCOMMITTED = f"the shares of site {BAD} are not those that it committed to"
BEYOND = f"a share of site {BAD} is larger than any share can be"
FEW = "shares of 3 sites are passed on; 4 are needed"


def _of(exchange: Exchange, owner: str, receiver: str) -> Json:
    found: Json = parsed(exchange.said["shares"][owner])["shares"][receiver]
    return found


SEALED: Cases = {
    "those of another site": (hostile.passed(lambda s, e: s[OTHER]), FALSE),
    "those for another site": (hostile.passed(lambda s, e: _of(e, BAD, OTHER)), FALSE),
    "this site's own, sent back": (hostile.passed(lambda s, e: _of(e, ME, BAD)), FALSE),
    "two sites exchanged": (hostile.passed(lambda s, e: s.update({OTHER: s[BAD], BAD: s[OTHER]})), "are not what it sealed for this site"),
    "of another attempt": (hostile.passed(lambda s, e: _of(played(attempt=1), BAD, ME)), FALSE),
    "of another ask": (hostile.passed(lambda s, e: _of(played(ask=ELSE), BAD, ME)), FALSE),
    "of a site that was shown another list": (hostile.passed(lambda s, e: hostile.forked(e)), FALSE),
    "sealed under another bond": (hostile.passed(lambda s, e: hostile.dealt(e, bond="other")), FALSE),
    "sealed about another site": (hostile.passed(lambda s, e: hostile.dealt(e, to=OTHER)), FALSE),
    "nonce altered": (hostile.passed(lambda s, e: {**s[BAD], "text": hostile.flipped(s[BAD]["text"], 3)}), FALSE),
    "text altered": (hostile.passed(lambda s, e: {**s[BAD], "text": hostile.flipped(s[BAD]["text"], 100)}), FALSE),
    "tag altered": (hostile.passed(lambda s, e: {**s[BAD], "text": hostile.flipped(s[BAD]["text"], -1 % 384)}), FALSE),
    "text too short": (hostile.passed(lambda s, e: {**s[BAD], "text": s[BAD]["text"][:-2]}), MALFORMED),
    "text too long": (hostile.passed(lambda s, e: {**s[BAD], "text": s[BAD]["text"] + "00"}), MALFORMED),
    "seed commitment altered": (hostile.passed(lambda s, e: {**s[BAD], "seed": "77" * 32}), UNCOMMITTED),
    "key commitment altered": (hostile.passed(lambda s, e: {**s[BAD], "key": "77" * 32}), UNCOMMITTED),
    "commitments exchanged": (hostile.passed(lambda s, e: {**s[BAD], "seed": s[BAD]["key"], "key": s[BAD]["seed"]}), UNCOMMITTED),
    "committed to something else": (hostile.passed(lambda s, e: hostile.dealt(e, promised=b"x")), UNCOMMITTED),
    "commitment too short": (hostile.passed(lambda s, e: {**s[BAD], "seed": "77" * 31}), MALFORMED),
    "seed share beyond the prime": (hostile.passed(lambda s, e: hostile.dealt(e, seed=HUGE)), BEYOND),
    "key share beyond the prime": (hostile.passed(lambda s, e: hostile.dealt(e, key=HUGE)), BEYOND),
    "own missing": (hostile.passed(lambda s, e: s.pop(ME) and None), "this site's among them"),
    "own altered": (
        hostile.passed(lambda s, e: s.update({ME: {**s[ME], "text": hostile.flipped(s[ME]["text"], 99)}})),
        f"the shares of site {ME} are not what it sealed for this site in this attempt",
    ),
    "too few": (hostile.passed(lambda s, e: s.pop(OTHER) and s.pop(GONE) and None), FEW),
    "none": (lambda e: canonical({"shares": {}}), "shares of 0 sites are passed on"),
    "a stranger's": (hostile.passed(lambda s, e: s.update({"zug": s[BAD]})), "shares of 6 sites are passed on"),
    "a key more": (hostile.passed(lambda s, e: {**s[BAD], "more": "x"}), MALFORMED),
    "a key less": (hostile.passed(lambda s, e: {"text": s[BAD]["text"], "seed": s[BAD]["seed"]}), MALFORMED),
    "a number for a text": (hostile.passed(lambda s, e: {**s[BAD], "text": 7}), MALFORMED),
    "a name that is a path": (hostile.passed(lambda s, e: s.update({"a/b": s[BAD]})), MALFORMED),
    "a list": (lambda e: canonical({"shares": [_of(e, BAD, ME)]}), MALFORMED),
}


@pytest.mark.parametrize("case", SEALED)
def test_false_shares_are_refused(case: str) -> None:
    made, reason = SEALED[case]
    refused("answer", reason, played(), made(played()))


def test_what_a_hostile_dealer_seals_is_otherwise_taken() -> None:
    step(played(), "answer", hostile.passed(lambda shares, exchange: hostile.dealt(exchange))(played()))


MISNAMED = "the sites in the total are not named once each, in order"
TOTALS: Cases = {
    "a stranger": (hostile.names(*NAMES[:4], "zug"), "a total of 5 sites is to be opened; 4 are needed"),
    "a stranger for a site": (hostile.names(OTHER, ME, BAD, "zug"), "a total of 4 sites is to be opened"),
    "without me": (hostile.names(OTHER, BAD, "chur", GONE), "4 are needed, this site among them"),
    "too few": (hostile.names(OTHER, ME, BAD), "a total of 3 sites is to be opened; 4 are needed"),
    "me alone": (hostile.names(ME), "a total of 1 sites is to be opened; 4 are needed"),
    "none": (hostile.names(), "a total of 0 sites is to be opened"),
    "in another order": (hostile.names(ME, OTHER, BAD, "chur"), MISNAMED),
    "one twice": (hostile.names(OTHER, ME, ME, BAD, "chur"), MISNAMED),
    "me four times": (hostile.names(ME, ME, ME, ME), MISNAMED),
    "numbers": (hostile.names(1, 2, 3, 4), MISNAMED),
    "lists": (hostile.names([OTHER], [ME], [BAD], ["chur"]), MISNAMED),
    "nothing": (hostile.names(None, OTHER, ME, BAD), MISNAMED),
    "a name that is a path": (hostile.names("a/b", ME, "chur", GONE), MALFORMED),
    "an empty name": (hostile.names("", *NAMES), MALFORMED),
    "a text": (lambda e: canonical({"survivors": "basel"}), MALFORMED),
    "by name": (lambda e: canonical({"survivors": dict.fromkeys(NAMES[:4], True)}), MALFORMED),
}


@pytest.mark.parametrize("case", TOTALS)
def test_a_false_total_is_not_agreed_to(case: str) -> None:
    made, reason = TOTALS[case]
    refused("agree", reason, played(), made(played()))


def test_a_site_that_did_not_share_is_in_no_total() -> None:
    exchange = Exchange(NAMES)
    exchange.play({"shares": [GONE]}, until="answer")
    message = canonical({"survivors": list(NAMES)})
    with pytest.raises(Broken, match="secure sum, agree: a total of 5 sites is to be opened"):
        exchange.follow("agree", ME, message)


def _disagrees(site: str) -> str:
    return f"site {site} did not agree to the total that this site agreed to"


AGREED: Cases = {
    "to a total with one more": (hostile.signatures(lambda e: {BAD: hostile.agreed(e, BAD, survivors=NAMES)}), _disagrees(BAD)),
    "to a total with another": (
        hostile.signatures(lambda e: {BAD: hostile.agreed(e, BAD, survivors=[OTHER, ME, BAD, GONE])}),
        _disagrees(BAD),
    ),
    "among fewer masks": (hostile.signatures(lambda e: {BAD: hostile.agreed(e, BAD, masking=NAMES[:4])}), _disagrees(BAD)),
    "masks and total exchanged": (
        hostile.signatures(lambda e: {BAD: hostile.agreed(e, BAD, masking=NAMES[:4], survivors=NAMES)}),
        _disagrees(BAD),
    ),
    "in another attempt": (hostile.signatures(lambda e: {OTHER: _agreement(played(attempt=1), OTHER)}), _disagrees(OTHER)),
    "in another round": (hostile.signatures(lambda e: {OTHER: _agreement(played(round=9), OTHER)}), _disagrees(OTHER)),
    "to another ask": (hostile.signatures(lambda e: {OTHER: _agreement(played(ask=ELSE), OTHER)}), _disagrees(OTHER)),
    "with the attempt, not its list of keys": (
        hostile.signatures(lambda e: {OTHER: hostile.agreed(e, OTHER, bond=e.bond)}),
        _disagrees(OTHER),
    ),
    "forged": (hostile.signatures(lambda e: {OTHER: hostile.agreed(e, OTHER, signer=STRANGER)}), _disagrees(OTHER)),
    "by another site": (hostile.signatures(lambda e: {OTHER: hostile.agreed(e, BAD)}), _disagrees(OTHER)),
    "nothing but noughts": (hostile.signatures(lambda e: {OTHER: "00" * 64}), _disagrees(OTHER)),
    "altered": (hostile.signatures(lambda e: {OTHER: hostile.flipped(_agreement(e, OTHER), 5)}), _disagrees(OTHER)),
    "own altered": (hostile.signatures(lambda e: {ME: hostile.flipped(_agreement(e, ME), 5)}), _disagrees(ME)),
    "its keys instead": (hostile.signatures(lambda e: {OTHER: hostile.advert(e, OTHER).signature}), _disagrees(OTHER)),
    "by too few": (hostile.signatures(lambda e: {OTHER: None}), "3 sites agreed to the total, 4 of those in it are needed"),
    "by me alone": (hostile.signatures(lambda e: dict.fromkeys(set(NAMES[:4]) - {ME})), "1 sites agreed to the total"),
    "by nobody": (lambda e: canonical({"signatures": {}}), "0 sites agreed to the total"),
    "by one outside the total for one in it": (
        hostile.signatures(lambda e: {OTHER: None, GONE: hostile.agreed(e, GONE)}),
        "4 sites agreed to the total, 4 of those in it are needed",
    ),
    "by one outside the total too": (hostile.signatures(lambda e: {GONE: hostile.agreed(e, GONE)}), "5 sites agreed to the total"),
    "by a stranger": (hostile.signatures(lambda e: {"zug": hostile.agreed(e, "zug", signer=STRANGER)}), "5 sites agreed to the total"),
    "in capitals": (hostile.signatures(lambda e: {OTHER: _agreement(e, OTHER).upper()}), MALFORMED),
    "too short": (hostile.signatures(lambda e: {OTHER: _agreement(e, OTHER)[:-2]}), MALFORMED),
    "a number": (hostile.signatures(lambda e: {OTHER: 7}), MALFORMED),
    "a list": (hostile.signatures(lambda e: {OTHER: [_agreement(e, OTHER)]}), MALFORMED),
    "by a path": (hostile.signatures(lambda e: {"a/b": _agreement(e, OTHER)}), MALFORMED),
    "without names": (lambda e: canonical({"signatures": [_agreement(e, site) for site in NAMES[:4]]}), MALFORMED),
}


def _agreement(exchange: Exchange, site: str) -> str:
    return str(parsed(exchange.said["agree"][site])["signature"][site])


@pytest.mark.parametrize("case", AGREED)
def test_nothing_is_revealed_on_false_agreements(case: str) -> None:
    made, reason = AGREED[case]
    refused("open", reason, played(), made(played()))


RAW: Mapping[str, bytes] = {
    "nothing": b"",
    "cut off": b'{"adverts":[',
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "an empty object": b"{}",
    "no text": b"\xff\xfe\x00",
    "half a character": b'{"adverts":"\\ud800"}',
    "very deep": b"[" * 100_000 + b"]" * 100_000,
    "a number of a million digits": b'{"adverts":' + b"9" * 1_000_000 + b"}",
    "a number beyond 2^53": b'{"adverts":9007199254740993}',
    "no number": b'{"adverts":NaN}',
    "beyond all numbers": b'{"adverts":1e999}',
}


@pytest.mark.parametrize("stage", STAGES[1:])
@pytest.mark.parametrize("case", RAW)
def test_bytes_that_are_no_message_are_refused(stage: str, case: str) -> None:
    key = {"shares": b"adverts", "answer": b"shares", "agree": b"survivors", "open": b"signatures"}[stage]
    refused(stage, MALFORMED, played(), RAW[case].replace(b"adverts", key))


@pytest.mark.parametrize("stage", STAGES[1:])
def test_the_same_message_written_otherwise_is_refused(stage: str) -> None:
    exchange = played()
    honest = exchange.passed(stage, ME)
    named = parsed(honest)
    [(key, value)] = named.items()
    other = [
        honest + b" ",
        b"\xef\xbb\xbf" + honest,
        honest.decode().encode("utf-16"),
        json.dumps(named).encode(),
        b"{" + honest[1:-1] + b"," + honest[1:],
        honest.replace(b"aarau", b"\\u0061arau"),
        canonical({**named, "more": 1}),
        canonical({key + "s": value}),
        canonical({"said": named}),
        canonical({key: None}),
        canonical({key: value, "survivors" if key != "survivors" else "shares": []}),
    ]
    for message in other:
        assert message != honest
        refused(stage, MALFORMED, exchange, message)


@pytest.mark.parametrize(("done", "stage"), sorted(set(product(STAGES, [*STAGES, "close", "", "Open"])) - set(pairwise(STAGES))))
def test_no_step_comes_twice_or_out_of_order(done: str, stage: str) -> None:
    exchange = played()
    after = exchange.sessions[ME] if done == "open" else exchange.before[STAGES[STAGES.index(done) + 1], ME]
    assert after.stage == done
    message = exchange.passed(stage, ME) if stage in STAGES[1:] else exchange.adverts()
    with pytest.raises(Broken, match=f"^secure sum, {stage}: it came after the step '{done}'"):
        follow(after, stage, message, exchange.signing[ME], {})


def test_a_site_agrees_to_one_total_only() -> None:
    exchange = Exchange(NAMES)
    exchange.play(until="agree")
    for names in (NAMES, NAMES[:4]):
        with pytest.raises(Broken, match=r"^secure sum, agree: it came after the step 'agree'"):
            exchange.follow("agree", ME, canonical({"survivors": list(names)}))


def test_a_refused_step_leaves_the_session_as_it_was() -> None:
    exchange = played()
    for stage, cases in (("shares", LISTS), ("answer", SEALED), ("agree", TOTALS), ("open", AGREED)):
        kept = exchange.before[stage, ME].to_json()
        for made, reason in cases.values():
            refused(stage, reason, exchange, made(exchange))
        assert exchange.before[stage, ME].to_json() == kept
