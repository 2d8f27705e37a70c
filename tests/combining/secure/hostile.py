"""Say what a hostile coordinator, or a hostile site, can put into the place of an honest message.

Five sites, of which the last shares but then gives no sums: four are in the total, and four is the threshold. The reader whom the message
is for is `ME`. Whoever is hostile has the keys of a site called `BAD` and may sign in its name.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.combining.secure.exchange import Exchange, parsed
from wardround.combining.secure import keys
from wardround.combining.secure.session import follow
from wardround.combining.secure.words import Advert, Sealed, agreement
from wardround.study.canonical import canonical

NAMES = ("aarau", "basel", "bern", "chur", "olten")
ME, BAD, OTHER, GONE = "basel", "bern", "aarau", "olten"
STRANGER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"stranger").digest())
"""A key that belongs to no site."""

Json = dict[str, Any]
Hostile = Callable[[Exchange], bytes]


@cache
def _played(changes: tuple[tuple[str, Any], ...], quorum: int) -> Exchange:
    exchange = Exchange(NAMES, quorum, dict(changes), fixed=True)
    exchange.play({"answer": [GONE]})
    return exchange


def played(quorum: int = 3, **changes: Any) -> Exchange:
    """Return an honest attempt, played to its end; `before` holds the sessions to take a step with."""
    return copy.copy(_played(tuple(changes.items()), quorum))


def said(exchange: Exchange, stage: str) -> Json:
    """Return the honest message for `ME`, to be altered."""
    found: Json = json.loads(exchange.passed(stage, ME))
    return found


def step(exchange: Exchange, stage: str, message: bytes, known: Mapping[str, str] | None = None, site: str = ME) -> bytes:
    """Have a site take a step that it takes for the first time."""
    return follow(exchange.before[stage, site], stage, message, exchange.signing[site], known or {})[1]


# keys -> shares: a list of adverts


def identity(key: Ed25519PrivateKey) -> str:
    """Return the public key by which a site is known, hex."""
    return key.public_key().public_bytes_raw().hex()


def signed(exchange: Exchange, site: str, /, signer: Ed25519PrivateKey | None = None, **changes: Any) -> Json:
    """Return a site's advert with changes, signed again."""
    advert = replace(exchange.sessions[ME].adverts[site], **changes)
    advert = replace(advert, signature=keys.sign(signer or exchange.signing[site], advert.signed_part(exchange.bond)))
    return asdict(advert)


def listed(exchange: Exchange, change: Mapping[str, Json | None], *more: Json) -> bytes:
    """Return the list of adverts with some changed, left out (None) or added."""
    kept = [change.get(one["site"], one) for one in said(exchange, "shares")["adverts"]]
    return canonical({"adverts": [one for one in kept if one is not None] + list(more)})


def swapped(site: str, /, **changes: Any) -> Hostile:
    """Change an advert and leave its signature."""
    return lambda exchange: listed(exchange, {site: asdict(replace(exchange.sessions[ME].adverts[site], **changes))})


def resigned(site: str, /, **changes: Any) -> Hostile:
    """Change an advert, as its own site could."""
    return lambda exchange: listed(exchange, {site: signed(exchange, site, **changes)})


def elsewhere(site: str = OTHER, /, **changes: Any) -> Hostile:
    """Put the genuine advert that a site made for another attempt into this one."""
    return lambda exchange: listed(exchange, {site: asdict(played(**changes).sessions[site].adverts[site])})


def edited(site: str, /, **changes: Any) -> Hostile:
    """Write something into an advert that is no advert's; None leaves a key out."""

    def made(exchange: Exchange) -> bytes:
        one = {**asdict(exchange.sessions[ME].adverts[site]), **changes}
        return listed(exchange, {site: {key: value for key, value in one.items() if value is not None}})

    return made


def copied(exchange: Exchange, name: str, key: str) -> Json:
    """Return the advert of a stranger who uses a key of `OTHER`, under a name."""
    theirs = asdict(exchange.sessions[ME].adverts[OTHER])[key]
    return signed(exchange, OTHER, signer=STRANGER, **{"site": name, "identity": identity(STRANGER), key: theirs})


# shares -> answer: sealed shares by owner


def dealt(exchange: Exchange, receiver: str = ME, **changes: Any) -> Json:
    """Return what `BAD` could seal for a site: its honest shares with changes, honestly locked and committed to."""
    session = exchange.sessions[BAD]
    bond, shares = session.listed, exchange.sessions[receiver].shares[BAD]
    seed, key = bytes.fromhex(changes.get("seed", shares.seed)), bytes.fromhex(changes.get("key", shares.key))
    public = bytes.fromhex(session.adverts[receiver].channel)
    secret = keys.agreed(bytes.fromhex(session.channel), public, changes.get("bond", bond), "channel", (BAD, receiver))
    about = canonical({"bond": bond, "from": BAD, "to": changes.get("to", receiver)})
    text = keys.lock(secret, b"n" * keys.NONCE_BYTES, seed + key + bytes.fromhex(shares.part), about)
    promised = [
        keys.commitment(bond, what, BAD, receiver, value=changes.get("promised", value))
        for what, value in (("seed share", seed), ("key share", key))
    ]
    return asdict(Sealed(text.hex(), *promised))


def passed(change: Callable[[Json, Exchange], Json | None]) -> Hostile:
    """Change sealed shares, by owner; what the change returns is put into the place of what `BAD` sealed."""

    def made(exchange: Exchange) -> bytes:
        shares = said(exchange, "answer")["shares"]
        new = change(shares, exchange)
        return canonical({"shares": shares if new is None else {**shares, BAD: new}})

    return made


def flipped(digits: str, place: int) -> str:
    """Return hex digits with one bit changed."""
    return digits[:place] + f"{int(digits[place], 16) ^ 1:x}" + digits[place + 1 :]


def forked(exchange: Exchange) -> Json:
    """Return what `BAD` seals for `ME` after it was shown a shorter list of adverts."""
    shorter = listed(exchange, {GONE: None})
    sealed: Json = parsed(step(exchange, "shares", shorter, site=BAD))["shares"][ME]
    return sealed


# answer -> agree: names; agree -> open: signatures


def names(*sites: Any) -> Hostile:
    """Name other sites than those in the total."""
    return lambda exchange: canonical({"survivors": list(sites)})


def agreed(exchange: Exchange, site: str, **changes: Any) -> str:
    """Return a site's signature under what was agreed, or under something else."""
    session = exchange.sessions[ME]
    named = {"bond": session.listed, "masking": session.shares, "survivors": session.survivors, **changes}
    return keys.sign(named.get("signer") or exchange.signing[site], agreement(named["bond"], named["masking"], named["survivors"]))


def signatures(change: Callable[[Exchange], Mapping[str, Any]]) -> Hostile:
    """Put other signatures into the place of the honest ones; None leaves one out."""

    def made(exchange: Exchange) -> bytes:
        found = {**said(exchange, "open")["signatures"], **change(exchange)}
        return canonical({"signatures": {site: one for site, one in found.items() if one is not None}})

    return made


def advert(exchange: Exchange, site: str) -> Advert:
    """Return a site's honest advert."""
    return exchange.sessions[ME].adverts[site]
