"""Be one site in one attempt of a secure sum: what the coordinator passes on goes in, what the site says comes out.

A session is a value. Each step gives the next one, which the gate keeps before it lets the reply out; so after a crash the same step gives
the same bytes, and no secret is ever revealed twice in different ways. Every parameter comes from the signed protocol; the coordinator's
word is held against signatures of the other sites.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.combining.secure import keys, shamir
from wardround.combining.secure.groups import Party
from wardround.combining.secure.masks import Mask
from wardround.combining.secure.shamir import PRIME, SHARE_BYTES, Entropy
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import (
    STAGES,
    Advert,
    Sealed,
    agreement,
    bond_of,
    genuine,
    list_bond,
    read_adverts,
    read_names,
    read_sealed,
    read_signatures,
)
from wardround.study.canonical import canonical
from wardround.study.task import Task
from wardround.study.threshold import threshold


@dataclass(frozen=True)
class Shares:
    """Hold one site's shares for this site, and its part of the common key; all hex."""

    seed: str
    key: str
    part: str


@dataclass(frozen=True)
class Session:
    """Hold what a site knows in one attempt.

    Attributes:
        bond: digest of what the attempt is about.
        site: own name.
        quorum: of the protocol.
        stage: last step that was done.
        channel: secret key by which others seal shares for this site, hex.
        mask: secret key of its masks with others, hex.
        seed: of its own mask, hex.
        part: of the common key, hex.
        adverts: keys of all sites; at first only its own.
        shares: by the site that they are shares of, this site's own among them.
        survivors: who is in the total, once agreed.
        group: who may mask with this site.
        number: of the group; -1 where all sites are one.
        everybody: who may be in the round.
        behind: who must vouch for the total behind what is asked.
    """

    bond: str
    site: str
    quorum: int
    stage: str
    channel: str = field(repr=False)
    mask: str = field(repr=False)
    seed: str = field(repr=False)
    part: str = field(repr=False)
    adverts: Mapping[str, Advert]
    shares: Mapping[str, Shares] = field(default_factory=dict, repr=False)
    survivors: frozenset[str] = frozenset()
    group: frozenset[str] = frozenset()
    number: int = -1
    everybody: frozenset[str] = frozenset()
    behind: Behind = field(default_factory=Behind)

    @property
    def listed(self) -> str:
        """Return the digest that binds the attempt to its list of adverts."""
        return list_bond(self.bond, self.adverts)

    @property
    def threshold(self) -> int:
        """Return how many sites must be in a total."""
        return threshold(len(self.adverts), self.quorum)

    def masks(self) -> list[Mask]:
        """Return the masks that this site adds to its sums: its own, and one with each site that shared."""
        bond = self.listed
        found = [Mask(keys.derived(bytes.fromhex(self.seed), bond, "self", self.site), 1)]
        for other in sorted(self.shares):
            if other != self.site:
                key = keys.agreed(bytes.fromhex(self.mask), bytes.fromhex(self.adverts[other].mask), bond, "mask", (self.site, other))
                found.append(Mask(key, 1 if self.site < other else -1))
        return found

    def common(self) -> bytes:
        """Return the key that the sites which shared have in common, and the coordinator does not."""
        parts = b"".join(bytes.fromhex(self.shares[site].part) for site in sorted(self.shares))
        return keys.derived(parts, self.listed, "common", *sorted(self.shares))

    def to_json(self) -> bytes:
        """Return what the gate keeps; it holds secrets."""
        named: dict[str, Any] = {
            name: getattr(self, name) for name in ("bond", "site", "quorum", "stage", "channel", "mask", "seed", "part", "number")
        }
        named |= {name: {site: asdict(one) for site, one in getattr(self, name).items()} for name in ("adverts", "shares")}
        named |= {name: sorted(getattr(self, name)) for name in ("survivors", "group", "everybody")}
        return canonical({**named, "behind": self.behind.described})

    @classmethod
    def from_json(cls, data: bytes) -> Session:
        """Return the session that `to_json` wrote."""
        found = json.loads(data)
        found["adverts"] = {site: Advert(**one) for site, one in found["adverts"].items()}
        found["shares"] = {site: Shares(**one) for site, one in found["shares"].items()}
        sets = {name: frozenset(found.get(name, ())) for name in ("survivors", "group", "everybody")}
        return cls(**{**found, **sets, "behind": Behind.of(found.get("behind", {"checked": True}))})


def begin(
    task: Task, party: Party, signing: Ed25519PrivateKey, behind: Behind, entropy: Entropy = secrets.token_bytes
) -> tuple[Session, bytes]:
    """Make fresh keys for an attempt, and return the signed advert of them.

    Args:
        task: of stage "keys".
        party: among whom this site masks.
        signing: the site's identity.
        behind: whether the site vouches for the last total behind what is asked, and who else must.
        entropy: a cryptographic generator.
    """
    channel, mask, seed, part = (entropy(keys.KEY_BYTES) for _ in range(4))
    bond = bond_of(task)
    publics = [keys.public_of(secret).hex() for secret in (channel, mask)]
    advert = Advert(
        task.site,
        signing.public_key().public_bytes_raw().hex(),
        publics[0],
        publics[1],
        keys.commitment(bond, "seed", task.site, value=seed),
        behind.says,
    )
    advert = replace(advert, signature=keys.sign(signing, advert.signed_part(bond)))
    secret = (channel.hex(), mask.hex(), seed.hex(), part.hex())
    session = Session(bond, task.site, party.quorum, "keys", *secret, {task.site: advert}, group=party.sites, number=party.number)
    session = replace(session, everybody=party.everybody or party.sites, behind=behind)
    return session, canonical({"adverts": [asdict(advert)]})


def follow(
    session: Session, stage: str, said: bytes, signing: Ed25519PrivateKey, known: Mapping[str, str], entropy: Entropy = secrets.token_bytes
) -> tuple[Session, bytes]:
    """Take the next step: hold what the coordinator passed on against everything known, and return what this site says.

    Args:
        session: as the step before left it.
        stage: of the task: "shares", "answer", "agree" or "open".
        said: what the coordinator passed on.
        signing: the site's identity.
        known: identities of sites that this site has met, by name; another identity for one of them is refused.
        entropy: a cryptographic generator.

    Returns:
        the session as it is now, and the reply; empty for "answer", where the masked sums are the reply.

    Raises:
        Broken: the step is out of order, or something in it is not what it must be; names the step.
    """
    if (session.stage, stage) not in list(pairwise(STAGES)):
        raise Broken.at(stage, f"it came after the step {session.stage!r}")
    steps = {"shares": _share, "answer": _take, "agree": _agree, "open": _open}
    new, reply = steps[stage](session, said, signing, known, entropy)
    return replace(new, stage=stage), reply


def _share(session: Session, said: bytes, signing: Ed25519PrivateKey, known: Mapping[str, str], entropy: Entropy) -> tuple[Session, bytes]:
    """Check everybody's adverts, and seal shares of this site's secrets for each site of its group."""
    everybody = read_adverts("shares", said)
    _genuine(session, everybody, known)
    adverts = {site: one for site, one in everybody.items() if site in session.group}
    session = replace(session, adverts=adverts)
    names, bond, least = sorted(adverts), session.listed, session.threshold
    if len(names) < least:
        raise Broken.at("shares", f"only {len(names)} sites take part, {least} are needed")
    if reason := session.behind.missing({site: one.checked for site, one in everybody.items()}):
        raise Broken.at("shares", reason)
    halves = [shamir.split(bytes.fromhex(secret), least, len(names), entropy) for secret in (session.seed, session.mask)]
    sealed = {}
    for other, seed, key in zip(names, *halves, strict=True):
        try:
            secret = keys.agreed(
                bytes.fromhex(session.channel), bytes.fromhex(adverts[other].channel), bond, "channel", (session.site, other)
            )
            # said here, where the site can be named: later, masking would fail
            keys.agreed(bytes.fromhex(session.mask), bytes.fromhex(adverts[other].mask), bond, "mask", (session.site, other))
        except ValueError:
            raise Broken.at("shares", f"the key of site {other} is no key") from None
        text = keys.lock(secret, entropy(keys.NONCE_BYTES), seed + key + bytes.fromhex(session.part), _about(bond, session.site, other))
        commitments = [
            keys.commitment(bond, what, session.site, other, value=value) for what, value in (("seed share", seed), ("key share", key))
        ]
        sealed[other] = asdict(Sealed(text.hex(), *commitments))
    return session, canonical({"shares": sealed})


def _genuine(session: Session, adverts: Mapping[str, Advert], known: Mapping[str, str]) -> None:
    """Refuse a list of adverts that does not hold this site's own, or one that its site did not sign for this attempt."""
    if not adverts.keys() <= session.everybody:
        raise Broken.at("shares", "a site is in the list that does not belong to this site's round")
    if adverts.get(session.site) != session.adverts[session.site]:
        raise Broken.at("shares", "this site's own keys are not in the list as it sent them")
    identities, both = [one.identity for one in adverts.values()], [one.mask for one in adverts.values()]
    if len(set(identities)) < len(identities) or len(set(both)) < len(both):
        raise Broken.at("shares", "two names share one key")
    for site, advert in adverts.items():
        if known.get(site, advert.identity) != advert.identity:
            raise Broken.at("shares", f"site {site} has another identity than before")
        genuine(advert, session.bond)


def _take(session: Session, said: bytes, signing: Ed25519PrivateKey, known: Mapping[str, str], entropy: Entropy) -> tuple[Session, bytes]:
    """Open the shares that are for this site; with those who sent some it masks."""
    found, bond = read_sealed("answer", said), session.listed
    if session.site not in found or not found.keys() <= session.adverts.keys() or len(found) < session.threshold:
        raise Broken.at("answer", f"shares of {len(found)} sites are passed on; {session.threshold} are needed, this site's among them")
    shares = {}
    for other, sealed in found.items():
        public = bytes.fromhex(session.adverts[other].channel)
        try:
            secret = keys.agreed(bytes.fromhex(session.channel), public, bond, "channel", (session.site, other))
            text = keys.unlock(secret, bytes.fromhex(sealed.text), _about(bond, other, session.site))
        except ValueError:
            raise Broken.at("answer", f"the shares of site {other} are not what it sealed for this site in this attempt") from None
        seed, key, part = text[:SHARE_BYTES], text[SHARE_BYTES : 2 * SHARE_BYTES], text[2 * SHARE_BYTES :]
        if max(int.from_bytes(seed, "big"), int.from_bytes(key, "big")) >= PRIME:
            raise Broken.at("answer", f"a share of site {other} is larger than any share can be")
        commitments = [
            keys.commitment(bond, what, other, session.site, value=value) for what, value in (("seed share", seed), ("key share", key))
        ]
        if commitments != [sealed.seed, sealed.key]:
            raise Broken.at("answer", f"the shares of site {other} are not those that it committed to")
        shares[other] = Shares(seed.hex(), key.hex(), part.hex())
    return replace(session, shares=shares), b""


def _agree(session: Session, said: bytes, signing: Ed25519PrivateKey, known: Mapping[str, str], entropy: Entropy) -> tuple[Session, bytes]:
    """Sign who is in the total; once."""
    survivors = read_names("agree", said)
    if session.site not in survivors or not survivors <= session.shares.keys() or len(survivors) < session.threshold:
        reason = f"a total of {len(survivors)} sites is to be opened; {session.threshold} are needed, this site among them"
        raise Broken.at("agree", reason)
    signature = keys.sign(signing, agreement(session.listed, session.shares, survivors))
    return replace(session, survivors=survivors), canonical({"signature": {session.site: signature}})


def _open(session: Session, said: bytes, signing: Ed25519PrivateKey, known: Mapping[str, str], entropy: Entropy) -> tuple[Session, bytes]:
    """Reveal one share for each other site, if enough sites signed the very total that this site signed."""
    signatures = read_signatures("open", said, "signatures")
    if not signatures.keys() <= session.survivors or len(signatures) < session.threshold:
        raise Broken.at("open", f"{len(signatures)} sites agreed to the total, {session.threshold} of those in it are needed")
    payload = agreement(session.listed, session.shares, session.survivors)
    for site, signature in signatures.items():
        if not keys.signed(session.adverts[site].identity, payload, signature):
            raise Broken.at("open", f"site {site} did not agree to the total that this site agreed to")
    seeds = {site: session.shares[site].seed for site in session.survivors}
    dropped = {site: one.key for site, one in session.shares.items() if site not in session.survivors}
    return session, canonical({"seed": seeds, "key": dropped})


def _about(bond: str, sender: str, receiver: str) -> bytes:
    return canonical({"bond": bond, "from": sender, "to": receiver})
