"""Be one site in a sum of one message: for sites that are there for minutes a day, and for air gaps.

Each site masks its sums with three seeds and seals them for three *helpers*, sites that the signed protocol names; each seed is sealed for
two of the three. Then it is done. When all that come have come, the helpers agree on who is in the total, and each reveals the sum of what
the seeds of one class expand to, never a single seed. Nobody learns more than the total unless two helpers and the coordinator join hands.

What is given up against the five exchanges: the total carries no seal, so a coordinator, or a helper, that alters it is not found out here
(what is published stays within the limits); two helpers together with the coordinator see every site's sums, however many sites there are.

Source: the helper pattern of one-shot aggregation (replicated two-of-three sharing of seeds); X25519, HKDF and AES-GCM as in `keys`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.combining.secure import keys
from wardround.combining.secure.bodies import unpack_as
from wardround.combining.secure.keys import KEY_BYTES, NONCE_BYTES
from wardround.combining.secure.masks import Mask, add
from wardround.combining.secure.shamir import Entropy
from wardround.combining.secure.wording import HEX32, HEX64, SIGNED, Broken, exactly, items, name_at, read
from wardround.combining.secure.wording import NAME as SITE
from wardround.combining.secure.words import bond_of, read_signatures
from wardround.study.arrays import Arrays, Lazy, Specs
from wardround.study.canonical import canonical
from wardround.study.files import Data
from wardround.study.layout import Layout
from wardround.study.task import Stage, Task, Update
from wardround.study.threshold import LEAST

STAGES: tuple[Stage, ...] = ("keys", "answer", "agree", "open", "open")
HELPERS = 3
NAME = "parcel"
"""Name of the array in which a site's sealed seeds travel beside its masked sums."""

_TEXT = NONCE_BYTES + 2 * KEY_BYTES + 16
_HEAD = KEY_BYTES * (1 + HELPERS)
_SIGNED = KEY_BYTES + 64
PARCEL = _HEAD + _SIGNED + HELPERS * _TEXT
"""Bytes of a parcel: a one-time public key, a commitment to each seed, the site's identity and its signature over these, and for each
helper its two seeds, sealed."""


@dataclass(frozen=True)
class HelperKey:
    """Say by which key seeds are sealed for a helper in one attempt.

    Attributes:
        site: its name.
        identity: its public signing key, 64 hex digits.
        channel: the key, 64 hex digits.
        signature: by its identity over all of it and the attempt, 128 hex digits.
    """

    site: str
    identity: str
    channel: str
    signature: str = ""

    def signed_part(self, bond: str) -> bytes:
        """Return the bytes that the helper signs."""
        named = {name: getattr(self, name) for name in ("site", "identity", "channel")}
        return canonical({"kind": SIGNED, "bond": bond, "stage": "helper keys", **named})


@dataclass(frozen=True)
class Window:
    """Hold what a site knows in one attempt.

    Attributes:
        bond: digest of what the attempt is about.
        site: own name.
        helpers: as the protocol names them.
        quorum: of the protocol.
        stage: last step that was done.
        channel: a helper's secret key, hex; empty at other sites.
        seeds: of this site's masks, hex; empty before it has answered.
        parcel: the sealed seeds, hex.
        held: at a helper, each site's seeds by the number of their class, hex.
        listed: at a helper, what it signed.
        opened: at a helper, receipt and signature of each sum of a class that it revealed, by the digest of the task.
    """

    bond: str
    site: str
    helpers: tuple[str, ...]
    quorum: int
    stage: str
    channel: str = field(default="", repr=False)
    seeds: tuple[str, ...] = field(default=(), repr=False)
    parcel: str = ""
    held: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    listed: str = ""
    opened: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def group(self) -> frozenset[str]:
        """Return whose seeds this helper signed for."""
        return frozenset(self.held)

    def masks(self) -> list[Mask]:
        """Return the masks that this site adds to its sums."""
        return [Mask(keys.derived(bytes.fromhex(seed), self.bond, "class", self.site), 1) for seed in self.seeds]

    def revealed(self, number: int, layout: Layout) -> Lazy:
        """Return the sum of what all seeds of one class expand to, by name; made array by array."""
        masks = [
            Mask(keys.derived(bytes.fromhex(mine[str(number)]), self.bond, "class", site), 1) for site, mine in sorted(self.held.items())
        ]
        specs = sums_specs(layout)
        numbers = {name: at for at, name in enumerate(specs)}

        def made(name: str) -> np.ndarray:
            kind, shape = specs[name]
            value = np.zeros(shape, kind)
            add(masks, numbers[name], value)
            return value

        return Lazy(specs, made)

    def having_opened(self, update: Update) -> Window:
        """Return this attempt as it is after a sum was revealed: the same task gets the very same message."""
        return replace(self, opened={**self.opened, update.task: {"receipt": vars(update.receipt), "signature": update.signature}})

    def ended(self) -> Window:
        """Return this attempt as it is after a fault: over, and without its secrets."""
        return Window(self.bond, self.site, self.helpers, self.quorum, "over")

    def to_json(self) -> bytes:
        """Return what the gate keeps; it holds secrets."""
        return canonical(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Window:
        """Return the session that `to_json` wrote."""
        found = json.loads(data)
        return cls(**{**found, "helpers": tuple(found["helpers"]), "seeds": tuple(found["seeds"])})


def sums_specs(layout: Layout) -> Specs:
    """Return type and shape of each masked sum."""
    return {term.name: (np.dtype(f"uint{term.bits}"), term.shape) for term in layout}


def agreement(bond: str, parcels: Mapping[str, str]) -> bytes:
    """Return the bytes that a helper signs: whose seeds are in the total, each by its commitments."""
    return canonical({"kind": SIGNED, "bond": bond, "stage": "agree", "parcels": dict(parcels)})


def classes_of(helper: int) -> tuple[int, ...]:
    """Return the classes whose seeds a helper holds: all but the one of its own number."""
    return tuple(number for number in range(HELPERS) if number != helper)


def begin(
    task: Task, helpers: Sequence[str], quorum: int, signing: Ed25519PrivateKey, entropy: Entropy = secrets.token_bytes
) -> tuple[Window, bytes]:
    """Make a helper's key for an attempt, and return its signed advert.

    Raises:
        Broken: this site is no helper.
    """
    if task.site not in helpers:
        raise Broken.at("keys", "this site is no helper of this study")
    secret, bond = entropy(KEY_BYTES), bond_of(task)
    key = HelperKey(task.site, signing.public_key().public_bytes_raw().hex(), keys.public_of(secret).hex())
    key = replace(key, signature=keys.sign(signing, key.signed_part(bond)))
    return Window(bond, task.site, tuple(helpers), quorum, "keys", secret.hex()), canonical({"helpers": [asdict(key)]})


def read_helpers(stage: str, data: bytes, *beside: str) -> dict[str, HelperKey]:
    """Return helpers' keys by site; `beside` names what else is said with them.

    Raises:
        Broken: malformed, or a site twice.
    """
    found: dict[str, HelperKey] = {}
    for one in items(stage, read(stage, data, "helpers", *beside), list):
        shapes = {"site": SITE, "identity": HEX32, "channel": HEX32, "signature": HEX64}
        key = HelperKey(**exactly(stage, one, **shapes))
        if key.site in found:
            raise Broken.at(stage, f"site {key.site} is named twice")
        found[key.site] = key
    return found


def genuine(stage: str, key: HelperKey, bond: str) -> None:
    """Check that a helper itself signed its key for this attempt.

    Raises:
        Broken: it did not.
    """
    if not keys.signed(key.identity, key.signed_part(bond), key.signature):
        raise Broken.at(stage, f"the key of helper {key.site} is not signed by it for this attempt")


def answer(
    session: Window, said: bytes, signing: Ed25519PrivateKey, entropy: Entropy = secrets.token_bytes
) -> tuple[Window, dict[str, str]]:
    """Make the seeds of this site's masks and seal them for the helpers; return also the helpers' identities.

    Raises:
        Broken: the helpers are not those of the protocol, or a key is not genuine.
    """
    found = _helping("answer", session, read_helpers("answer", said))
    seeds, secret = [entropy(KEY_BYTES) for _ in range(HELPERS)], entropy(KEY_BYTES)
    parcel = keys.public_of(secret) + b"".join(_commitment(session.bond, session.site, number, seed) for number, seed in enumerate(seeds))
    signature = keys.sign(signing, _signed_part(session.bond, session.site, parcel))
    parcel += signing.public_key().public_bytes_raw() + bytes.fromhex(signature)
    for at, helper in enumerate(session.helpers):
        try:
            key = keys.agreed(secret, bytes.fromhex(found[helper].channel), session.bond, "helper", (session.site, helper))
        except ValueError:
            raise Broken.at("answer", f"the key of helper {helper} is no key") from None
        text = b"".join(seeds[number] for number in classes_of(at))
        parcel += keys.lock(key, entropy(NONCE_BYTES), text, _about(session.bond, session.site, helper))
    new = replace(session, stage="answer", seeds=tuple(seed.hex() for seed in seeds), parcel=parcel.hex())
    return new, {name: one.identity for name, one in found.items()}


def _helping(stage: str, session: Window, found: dict[str, HelperKey]) -> dict[str, HelperKey]:
    """Return helpers' keys that are those of the three helpers of the protocol, each signed by its own for this attempt."""
    if sorted(found) != sorted(session.helpers) or len({one.identity for one in found.values()}) < HELPERS:
        raise Broken.at(stage, "the helpers are not those that the protocol names")
    for one in found.values():
        genuine(stage, one, session.bond)
    return found


def passed_on(parcel: bytes, helper: int) -> str:
    """Return what of a parcel is passed on to one helper, hex: all but what is sealed for the others."""
    head = _HEAD + _SIGNED
    return (parcel[:head] + parcel[head + helper * _TEXT : head + (helper + 1) * _TEXT]).hex()


def commitments(parcel: str) -> str:
    """Return the commitments in a parcel, or in what is passed on of one, hex."""
    return parcel[2 * KEY_BYTES : 2 * _HEAD]


def signer(stage: str, bond: str, site: str, parcel: bytes) -> str:
    """Return the identity by which a site signed its parcel, or what is passed on of it, for this attempt.

    Raises:
        Broken: it did not.
    """
    identity, signature = parcel[_HEAD : _HEAD + KEY_BYTES].hex(), parcel[_HEAD + KEY_BYTES : _HEAD + _SIGNED].hex()
    if not keys.signed(identity, _signed_part(bond, site, parcel[:_HEAD]), signature):
        raise Broken.at(stage, f"the parcel of site {site} is not signed by it for this attempt")
    return identity


def identities(said: bytes) -> dict[str, str]:
    """Return the identities of the helpers, and of the sites whose parcels are passed on, by name; whether they signed, `agree` checks.

    Raises:
        Broken: malformed, or a helper has two.
    """
    found = {site: one.identity for site, one in read_helpers("agree", said, "parcels").items()}
    for site, one in _parcels(said).items():
        identity = _whole(site, one)[_HEAD : _HEAD + KEY_BYTES].hex()
        if found.setdefault(site, identity) != identity:
            raise Broken.at("agree", f"helper {site} has two identities")
    return found


def _parcels(said: bytes) -> dict[str, object]:
    found = items("agree", read("agree", said, "helpers", "parcels", take="parcels"), dict)
    return {name_at("agree", site): one for site, one in found.items()}


def _whole(site: str, parcel: object) -> bytes:
    """Return a parcel's bytes as they are passed on to one helper."""
    if not isinstance(parcel, str) or re.fullmatch(f"[0-9a-f]{{{2 * (_HEAD + _SIGNED + _TEXT)}}}", parcel) is None:
        raise Broken.at("agree", f"the parcel of site {site} is not well formed")
    return bytes.fromhex(parcel)


def _signed_part(bond: str, site: str, head: bytes) -> bytes:
    return canonical({"kind": SIGNED, "bond": bond, "stage": "parcel", "site": site, "head": head.hex()})


def agree(session: Window, said: bytes, signing: Ed25519PrivateKey) -> tuple[Window, bytes]:
    """Open the seeds that are for this helper, and sign whose they are; once.

    Raises:
        Broken: this site is no helper of this attempt, the sites are too few, or a parcel is not what it must be.
    """
    if not session.channel or session.listed:
        raise Broken.at("agree", "this site is no helper of this attempt, or has agreed to a total already")
    _helping("agree", session, read_helpers("agree", said, "parcels"))
    parcels, known = _parcels(said), identities(said)
    if len(set(known.values())) < len(known):
        raise Broken.at("agree", "two names share one key")
    if len(parcels) < max(session.quorum, LEAST):
        raise Broken.at("agree", f"a total of {len(parcels)} sites is to be opened; {max(session.quorum, LEAST)} are needed")
    own = session.helpers.index(session.site)
    held = {site: _opened(session, site, _whole(site, one), own) for site, one in parcels.items()}
    payload = agreement(session.bond, {site: commitments(str(one)) for site, one in parcels.items()})
    new = replace(session, stage="agree", held=held, listed=payload.decode())
    return new, canonical({"signature": {session.site: keys.sign(signing, payload)}})


def opening(session: Window, said: bytes, known: Mapping[str, str]) -> tuple[Window, int]:
    """Check that all three helpers signed the very total that this one signed; return the class that it is asked to reveal.

    Args:
        session: after the helper agreed.
        said: the signatures, and the number of a class.
        known: identities of sites by name, the helpers' among them.

    Raises:
        Broken: a signature is missing or not genuine, or the class is not one that this helper holds.
    """
    if not session.listed:
        raise Broken.at("open", f"it came after the step {session.stage!r}")
    given = read("open", said, "signatures", "class")
    signatures = read_signatures("open", canonical({"signatures": given}), "signatures")
    for helper in session.helpers:
        if helper not in known or not keys.signed(known[helper], session.listed.encode(), signatures.get(helper, "")):
            raise Broken.at("open", f"helper {helper} did not agree to the total that this helper agreed to")
    number = asked_class(said)
    if number not in classes_of(session.helpers.index(session.site)):
        raise Broken.at("open", "this helper does not hold the seeds that are asked for")
    return replace(session, stage="open"), number


def asked_class(said: bytes) -> int:
    """Return the number of the class that a helper is asked to reveal.

    Raises:
        Broken: malformed.
    """
    number = read("open", said, "signatures", "class", take="class")
    if type(number) is not int:
        raise Broken.at("open", "what was said is not well formed")
    return number


def _opened(session: Window, site: str, raw: bytes, own: int) -> dict[str, str]:
    """Return a site's seeds for this helper, by class, held against its signature and commitments."""
    signer("agree", session.bond, site, raw)
    try:
        key = keys.agreed(bytes.fromhex(session.channel), raw[:KEY_BYTES], session.bond, "helper", (site, session.site))
        text = keys.unlock(key, raw[_HEAD + _SIGNED :], _about(session.bond, site, session.site))
    except ValueError:
        raise Broken.at("agree", f"the parcel of site {site} is not what it sealed for this helper") from None
    found = {}
    for place, number in enumerate(classes_of(own)):
        seed = text[place * KEY_BYTES : (place + 1) * KEY_BYTES]
        start = KEY_BYTES * (1 + number)
        if raw[start : start + KEY_BYTES] != _commitment(session.bond, site, number, seed):
            raise Broken.at("agree", f"the seeds of site {site} are not those that it committed to")
        found[str(number)] = seed.hex()
    return found


def _commitment(bond: str, site: str, number: int, seed: bytes) -> bytes:
    return bytes.fromhex(keys.commitment(bond, "class seed", site, str(number), value=seed))


def _about(bond: str, sender: str, receiver: str) -> bytes:
    return canonical({"bond": bond, "from": sender, "to": receiver})


def answer_specs(layout: Layout) -> Specs:
    """Return type and shape of each array of an answer: the masked sums, and the parcel."""
    return {**sums_specs(layout), NAME: (np.dtype(np.uint8), (PARCEL,))}


def unpack(layout: Layout, body: Data, parcel: bool) -> Arrays:
    """Return the arrays of an answer, or of what a helper reveals.

    Raises:
        OutOfBounds: something is missing, unknown, or of another type or shape.
    """
    return unpack_as(answer_specs(layout) if parcel else sums_specs(layout), body)
