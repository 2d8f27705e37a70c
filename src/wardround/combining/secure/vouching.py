"""Say who vouches for the total behind what is asked, and of which groups a published total may be.

A site can hold a total against its seal only where it was in it itself. So each says, signed, whether it did, and works on only if enough
others say so too: more than half of all where all are one sum; where sums are in groups, of each group so many that no coordinator whose
helpers the study withstands could have made its total up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wardround.combining.secure.groups import LEAST, Party
from wardround.combining.secure.seal import LENGTH
from wardround.combining.secure.wording import Broken
from wardround.study.canonical import digest_json
from wardround.study.task import RoundClosed

NO, YES = "no", "yes"

Vouchers = tuple[tuple[int, tuple[str, ...]], ...]
"""For each group of a closing: how many of its sites must vouch for its total, and those that are in it."""


@dataclass(frozen=True)
class Behind:
    """Say what stands behind a state at one site.

    Attributes:
        checked: whether this site itself held its part of the last total against the seal, or there was no total.
        word: by which sites say that they did: "yes"; where sums are in groups, a digest of all closings so far, so that nobody vouches for
            others than it has followed.
        groups: of the last closing, where sums are in groups.
    """

    checked: bool = True
    word: str = YES
    groups: Vouchers = ()

    @property
    def says(self) -> str:
        """Return what this site says of itself."""
        return self.word if self.checked else NO

    def after(self, closing: RoundClosed, checked: bool, groups: Vouchers, roster: Iterable[str] = ()) -> Behind:
        """Return what stands behind the state that a closing leads to; by which list of sites the groups are is part of the word."""
        if not groups:
            return Behind(checked)
        facts = {**closing.turn, "total": closing.total, "state": closing.state, "survivors": list(closing.survivors)}
        facts["roster"] = sorted(roster)
        return Behind(checked, digest_json({"before": self.word, **facts}).removeprefix("sha256:"), groups)

    def missing(self, said: Mapping[str, str]) -> str:
        """Return why those who vouch are too few; nothing where they suffice.

        Args:
            said: by site, what it says of itself.
        """
        vouching = {site for site, one in said.items() if one == self.word}
        if not self.groups and 2 * len(vouching) <= len(said):
            return f"{len(vouching)} of {len(said)} sites checked the last total themselves, more than half are needed: it may be invented"
        for needed, sites in self.groups:
            if (found := len(vouching.intersection(sites))) < needed:
                among = f"{found} of the {len(sites)} sites in the last total of one group ({', '.join(sites)})"
                return f"{among} say that they checked it, {needed} are needed: it may be invented"
        return ""

    @property
    def described(self) -> dict[str, Any]:
        """Return this as JSON values."""
        return {"checked": self.checked, "word": self.word, "groups": [[needed, list(sites)] for needed, sites in self.groups]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Behind:
        """Return what `described` gave."""
        groups = tuple((needed, tuple(sites)) for needed, sites in values.get("groups", ()))
        return cls(values["checked"], values.get("word", YES), groups)


def opened_groups(parties: Sequence[Party], survivors: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """Return who of each group is in a total that was published, by the group's number.

    Raises:
        Broken: it cannot be of these sites: too few of a group, too few groups, or a site that is in none.
    """
    found = {party.number: tuple(site for site in survivors if site in party.sites) for party in parties}
    found = {number: sites for number, sites in found.items() if sites}
    if sum(map(len, found.values())) != len(survivors):
        raise Broken.at("follow", "the published total is said to be of a site that belongs to no group")
    for party in parties:
        if 0 < len(found.get(party.number, ())) < party.quorum:
            said = f"group {party.number} is said to be opened with {len(found[party.number])} sites"
            raise Broken.at("follow", f"{said}, {party.quorum} are needed")
    if len(found) < LEAST:
        raise Broken.at("follow", f"{len(found)} groups are said to be opened, {LEAST} are needed")
    return found


def vouchers(parties: Sequence[Party], groups: Mapping[int, tuple[str, ...]]) -> Vouchers:
    """Return how many of each opened group must vouch: one fewer than must be in its total."""
    return tuple((party.quorum - 1, groups[party.number]) for party in parties if party.number in groups)


def numbered(groups: Mapping[int, tuple[str, ...]], seal: Sequence[str]) -> None:
    """Refuse seals that are not those of the groups, each whole and in order.

    Raises:
        Broken: they are not.
    """
    if [one.partition("/")[0] for one in seal] != [str(number) for number in sorted(groups) for _ in range(LENGTH)]:
        raise Broken.at("follow", "the published seals are not those of the groups that are said to be opened")
