"""Say what is exchanged for one secure sum, and refuse whatever is not exactly that.

Five exchanges: `keys` (each site says which keys it will use, signed), `shares` (each seals shares of its secrets for every other site),
`answer` (each gives its masked sums), `agree` (each signs who is in the total), `open` (each reveals, of every other site, the one share
that takes its mask off). All are canonical JSON; what a site says travels and is logged like any update, what the coordinator passes on
stands in the site's next task.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from wardround.combining.secure import keys
from wardround.combining.secure.keys import KEY_BYTES, NONCE_BYTES
from wardround.combining.secure.shamir import PRIME, SHARE_BYTES
from wardround.combining.secure.wording import HEX32, HEX64, NAME, SHARE, SIGNED, Broken, exactly, items, name_at, read
from wardround.study.canonical import canonical, digest_json
from wardround.study.task import Stage, Task

STAGES: tuple[Stage, ...] = ("keys", "shares", "answer", "agree", "open")

_CHECKED = re.compile("yes|no|[0-9a-f]{64}").fullmatch
SEALED_BYTES = NONCE_BYTES + 2 * SHARE_BYTES + KEY_BYTES + 16


@dataclass(frozen=True)
class Advert:
    """Say which keys a site uses in one attempt.

    Attributes:
        site: its name.
        identity: its public signing key, 64 hex digits.
        channel: public key by which other sites seal shares for it.
        mask: public key of its masks with other sites.
        seed: commitment to the seed of its own mask.
        checked: "yes" if the site itself held the last total behind what is asked against its seal, or there was none; else "no".
            Where sums are in groups, in place of "yes" a digest of the closings that it followed (see `vouching.Behind`).
        signature: by its identity over all of it and the attempt, 128 hex digits.
    """

    site: str
    identity: str
    channel: str
    mask: str
    seed: str
    checked: str
    signature: str = ""

    def signed_part(self, bond: str) -> bytes:
        """Return the bytes that the site signs, bound to the attempt."""
        named = {name: value for name, value in asdict(self).items() if name != "signature"}
        return canonical({"kind": SIGNED, "bond": bond, "stage": "keys", **named})


@dataclass(frozen=True)
class Sealed:
    """Hold one site's shares for another, sealed, and the commitments by which anybody can check them once they are revealed.

    Attributes:
        text: sealed shares and the site's part of the common key, hex.
        seed: commitment to the share of its own mask's seed, 64 hex digits.
        key: commitment to the share of its mask key, 64 hex digits.
    """

    text: str
    seed: str
    key: str


@dataclass(frozen=True)
class Revealed:
    """Hold the shares that a site reveals, hex: of a site in the total that of its seed, of one that dropped out that of its mask key."""

    seed: Mapping[str, str]
    key: Mapping[str, str]


def genuine(advert: Advert, bond: str) -> None:
    """Check that the site itself signed an advert for this attempt.

    Raises:
        Broken: it did not.
    """
    if not keys.signed(advert.identity, advert.signed_part(bond), advert.signature):
        raise Broken.at("shares", f"the keys of site {advert.site} are not signed by it for this attempt")


def bond_of(task: Task) -> str:
    """Return the digest of what all messages of one attempt are bound to: study, protocol, turn, what is asked, and who is asked."""
    named = ("study", "protocol", "phase", "round", "attempt", "ask", "roster")
    return digest_json({"secure sum": 1, **{name: getattr(task, name) for name in named}})


def list_bond(bond: str, adverts: Mapping[str, Advert]) -> str:
    """Return the digest that binds an attempt to one list of adverts: who shares and masks with whom."""
    return digest_json({"bond": bond, "adverts": [asdict(adverts[site]) for site in sorted(adverts)]})


def agreement(bond: str, masking: Iterable[str], survivors: Iterable[str]) -> bytes:
    """Return the bytes that a site signs to say among whom it masked and who is in the total."""
    return canonical({"kind": SIGNED, "bond": bond, "stage": "agree", "masking": sorted(masking), "survivors": sorted(survivors)})


def read_roster(task: Task) -> tuple[str, ...]:
    """Return who is asked in a round, as the first task tells; its digest is bound into everything.

    Raises:
        Broken: it is not the list whose digest the task quotes, or this site is not in it.
    """
    names = items(task.stage, read(task.stage, task.relay, "roster"), list)
    if digest_json(names) != task.roster or names != sorted(set(map(str, names))) or task.site not in names:
        raise Broken.at(task.stage, "the list of sites is not the one that the task quotes, or this site is not in it")
    return tuple(name_at(task.stage, one) for one in names)


def read_adverts(stage: str, data: bytes) -> dict[str, Advert]:
    """Return adverts by site.

    Raises:
        Broken: malformed, or a site twice.
    """
    found: dict[str, Advert] = {}
    for one in items(stage, read(stage, data, "adverts"), list):
        shapes = {"site": NAME, **dict.fromkeys(("identity", "channel", "mask", "seed"), HEX32), "checked": _CHECKED, "signature": HEX64}
        advert = Advert(**exactly(stage, one, **shapes))
        if advert.site in found:
            raise Broken.at(stage, f"site {advert.site} is named twice")
        found[advert.site] = advert
    return found


def read_sealed(stage: str, data: bytes) -> dict[str, Sealed]:
    """Return sealed shares by site: for whom they are where a site says them, from whom where the coordinator passes them on."""
    found = items(stage, read(stage, data, "shares"), dict)
    shapes = {"text": re.compile(f"[0-9a-f]{{{2 * SEALED_BYTES}}}").fullmatch, "seed": HEX32, "key": HEX32}
    return {name_at(stage, site): Sealed(**exactly(stage, one, **shapes)) for site, one in found.items()}


def read_names(stage: str, data: bytes) -> frozenset[str]:
    """Return the names of the sites that are in the total."""
    names = items(stage, read(stage, data, "survivors"), list)
    if names != sorted(set(map(str, names))):
        raise Broken.at(stage, "the sites in the total are not named once each, in order")
    return frozenset(name_at(stage, one) for one in names)


def read_signatures(stage: str, data: bytes, key: str) -> dict[str, str]:
    """Return signatures by site."""
    found = items(stage, read(stage, data, key), dict)
    return {name_at(stage, site): exactly(stage, {"one": one}, one=HEX64)["one"] for site, one in found.items()}


def read_revealed(stage: str, data: bytes) -> Revealed:
    """Return what a site reveals."""
    both = []
    for key in ("seed", "key"):
        found = items(stage, read(stage, data, "seed", "key", take=key), dict)
        both.append({name_at(stage, site): exactly(stage, {"one": one}, one=SHARE)["one"] for site, one in found.items()})
        if any(int(value, 16) >= PRIME for value in both[-1].values()):
            raise Broken.at(stage, "a share is larger than any share can be")
    return Revealed(*both)
