from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.combining.secure import hostile
from tests.combining.secure.exchange import Exchange, parsed
from tests.combining.secure.hostile import BAD, GONE, ME, NAMES, OTHER, Json, played, step
from wardround.combining.secure import keys, shamir
from wardround.combining.secure.opening import Opening
from wardround.combining.secure.shamir import PRIME, SHARE_BYTES
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import genuine, read_adverts, read_revealed, read_sealed, read_signatures
from wardround.study.canonical import canonical

MALFORMED = "what was said is not well formed"
NOT_EACH = "it does not reveal one share for each site"


def revealed(exchange: Exchange, site: str = BAD) -> Json:
    """Return what a site reveals, to be altered: owner -> share, by "seed" and "key"."""
    return {what: dict(one) for what, one in parsed(exchange.said["open"][site]).items()}


def without(change: Callable[[Json, Exchange], object]) -> Callable[[Exchange], bytes]:
    """Return what `BAD` reveals, after a change in place."""

    def made(exchange: Exchange) -> bytes:
        found = revealed(exchange)
        change(found, exchange)
        return canonical(found)

    return made


def _share(exchange: Exchange, holder: str, what: str, owner: str) -> str:
    return str(getattr(exchange.sessions[holder].shares[owner], what))


def _false(owner: str) -> str:
    return f"its share of {owner} is not the one that was sealed for it"


CASES: dict[str, tuple[Callable[[Exchange], bytes], str]] = {
    "a seed share altered": (without(lambda r, e: r["seed"].update({ME: hostile.flipped(r["seed"][ME], 90)})), _false(ME)),
    "a key share altered": (without(lambda r, e: r["key"].update({GONE: hostile.flipped(r["key"][GONE], 90)})), _false(GONE)),
    "a seed share of noughts": (without(lambda r, e: r["seed"].update({ME: "00" * SHARE_BYTES})), _false(ME)),
    "that of another holder": (without(lambda r, e: r["seed"].update({ME: _share(e, OTHER, "seed", ME)})), _false(ME)),
    "that of another owner": (without(lambda r, e: r["seed"].update({ME: r["seed"][OTHER]})), _false(ME)),
    "the key share for the seed share": (without(lambda r, e: r["seed"].update({ME: _share(e, BAD, "key", ME)})), _false(ME)),
    "the seed share for the key share": (without(lambda r, e: r["key"].update({GONE: _share(e, BAD, "seed", GONE)})), _false(GONE)),
    "that of another attempt": (without(lambda r, e: r["seed"].update({ME: _share(played(attempt=1), BAD, "seed", OTHER)})), _false(ME)),
    "one missing": (without(lambda r, e: r["seed"].pop(ME)), NOT_EACH),
    "one too many": (without(lambda r, e: r["seed"].update({GONE: _share(e, BAD, "seed", GONE)})), NOT_EACH),
    "both of one site": (without(lambda r, e: r["key"].update({ME: _share(e, BAD, "key", ME)})), NOT_EACH),
    "for another set": (
        without(lambda r, e: (r["key"].update({ME: _share(e, BAD, "key", ME)}), r["seed"].pop(ME))),
        NOT_EACH,
    ),
    "of a stranger": (without(lambda r, e: r["seed"].update({"zug": r["seed"][ME]})), NOT_EACH),
    "nothing": (lambda e: canonical({"seed": {}, "key": {}}), NOT_EACH),
    "beyond the prime": (
        without(lambda r, e: r["seed"].update({ME: PRIME.to_bytes(SHARE_BYTES, "big").hex()})),
        "a share is larger than any share can be",
    ),
    "too long": (without(lambda r, e: r["seed"].update({ME: r["seed"][ME] + "00"})), MALFORMED),
    "in capitals": (without(lambda r, e: r["seed"].update({ME: r["seed"][ME].upper()})), MALFORMED),
    "a number": (without(lambda r, e: r["seed"].update({ME: 7})), MALFORMED),
    "a list": (without(lambda r, e: r.update(seed=[r["seed"][ME]])), MALFORMED),
    "by a path": (without(lambda r, e: r["seed"].update({"a/b": r["seed"][ME]})), MALFORMED),
    "seeds only": (without(lambda r, e: r.pop("key")), MALFORMED),
    "a key more": (without(lambda r, e: r.update(more={})), MALFORMED),
    "not canonical": (lambda e: e.said["open"][BAD] + b" ", MALFORMED),
    "no message": (lambda e: b"{", MALFORMED),
}


@pytest.mark.parametrize("case", CASES)
def test_false_shares_are_refused_where_they_are_revealed(case: str) -> None:
    exchange = played()
    made, reason = CASES[case]
    opening = exchange.opening()
    with pytest.raises(Broken) as found:
        opening.take(BAD, read_revealed("open", made(exchange)))
    assert found.value.message.startswith("secure sum, open: ") and reason in found.value.message


def test_what_a_false_share_leaves_out_is_not_needed_to_open() -> None:
    exchange = Exchange(NAMES)
    exchange.play()
    honest = exchange.opening().masks()
    del exchange.said["open"][BAD]
    opening = exchange.opening()
    with pytest.raises(Broken, match="is not the one that was sealed"):
        opening.take(BAD, read_revealed("open", canonical({"seed": dict.fromkeys(NAMES, "00" * SHARE_BYTES), "key": {}})))
    assert opening.masks() == honest


def test_nothing_opens_with_one_revelation_too_few() -> None:
    exchange = played()
    exchange.said = {**exchange.said, "open": {site: said for site, said in exchange.said["open"].items() if site != BAD}}
    opening = exchange.opening()
    assert not opening.ready
    with pytest.raises(Broken, match=r"^secure sum, open: 3 sites reveal their shares, 4 are needed"):
        opening.masks()


def dealing(site: str, gone: bool, **other: Any) -> Opening:
    """Return the coordinator's side after a site shared other secrets than it advertised."""
    exchange = Exchange(NAMES)
    exchange.play(until="keys")
    exchange.sessions[site] = replace(exchange.sessions[site], **other)
    here = [one for one in NAMES if not (gone and one == site)]
    for stage, sites in (("shares", list(NAMES)), ("answer", here), ("agree", here), ("open", here)):
        for one, said in {one: exchange.passed(stage, one) for one in sites}.items():
            exchange.follow(stage, one, said)
    return exchange.opening()


@pytest.mark.parametrize("site", [NAMES[0], BAD, NAMES[-1]])
def test_a_dealer_of_another_seed_is_named(site: str) -> None:
    with pytest.raises(Broken, match=f"^secure sum, open: site {site} shared another seed than it advertised"):
        dealing(site, False, seed="77" * 32).masks()


@pytest.mark.parametrize("site", [NAMES[0], BAD, NAMES[-1]])
def test_a_dealer_of_another_key_is_named(site: str) -> None:
    with pytest.raises(Broken, match=f"^secure sum, open: site {site} shared another mask key than it advertised"):
        dealing(site, True, mask="77" * 32).masks()


def test_shares_of_which_no_secret_can_be_made_name_their_dealer() -> None:
    exchange = Exchange(NAMES)
    exchange.play(until="shares")
    halves = [shamir.split(bytes(32), 4, 5) for _ in NAMES]  # each site gets a share of another polynomial
    honest = exchange.sessions[BAD]
    sealed = {}
    for place, site in enumerate(NAMES):
        public = bytes.fromhex(honest.adverts[site].channel)
        secret = keys.agreed(bytes.fromhex(honest.channel), public, honest.listed, "channel", (BAD, site))
        seed = key = halves[place][place]
        text = keys.lock(secret, bytes(12), seed + key + bytes(32), canonical({"bond": honest.listed, "from": BAD, "to": site}))
        promised = [keys.commitment(honest.listed, what, BAD, site, value=seed) for what in ("seed share", "key share")]
        sealed[site] = {"text": text.hex(), "seed": promised[0], "key": promised[1]}
    exchange.said["shares"][BAD] = canonical({"shares": sealed})
    for stage in ("answer", "agree", "open"):
        for site, said in {site: exchange.passed(stage, site) for site in NAMES}.items():
            exchange.follow(stage, site, said)
    with pytest.raises(Broken, match=f"^secure sum, open: the shares that site {BAD} sealed do not belong together"):
        exchange.opening().masks()


def test_what_the_coordinator_reads_is_checked_as_strictly() -> None:
    exchange = played()
    for read, stage in ((read_adverts, "keys"), (read_sealed, "shares")):
        honest = exchange.said[stage][BAD]
        assert read(stage, honest)
        for message in (honest + b" ", honest[:-1], b"", b"[]", honest.replace(b"{", b'{"":0,', 1)):
            with pytest.raises(Broken, match=f"^secure sum, {stage}: {MALFORMED}"):
                read(stage, message)
    with pytest.raises(Broken, match=f"^secure sum, agree: {MALFORMED}"):
        read_signatures("agree", exchange.said["agree"][BAD], "signatures")


def test_an_advert_is_genuine_only_as_its_site_signed_it() -> None:
    exchange = played()
    honest = exchange.sessions[ME].adverts[BAD]
    genuine(honest, exchange.bond)
    for advert, bond in ((honest, played(attempt=1).bond), (replace(honest, mask="77" * 32), exchange.bond)):
        with pytest.raises(Broken, match=f"the keys of site {BAD} are not signed by it for this attempt"):
            genuine(advert, bond)


def test_a_site_that_dropped_out_reveals_nothing() -> None:
    exchange = played()
    exchange.before = {**exchange.before, ("open", GONE): exchange.sessions[GONE]}
    with pytest.raises(Broken, match=r"^secure sum, open: it came after the step 'shares'"):
        step(exchange, "open", exchange.passed("open", ME), site=GONE)
