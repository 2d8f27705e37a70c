"""Take the masks off a total: the coordinator's arithmetic, which works for one set of sites and no other.

Shares that sites reveal are held against the commitments that were made when they were sealed, so a false one names the site that gave it.
"""

from __future__ import annotations

from collections.abc import Mapping

from wardround.combining.secure import keys, shamir
from wardround.combining.secure.masks import Mask
from wardround.combining.secure.wording import Broken
from wardround.combining.secure.words import Advert, Revealed, Sealed, list_bond


class Opening:
    """Collect revealed shares until the masks can be taken off.

    Args:
        bond: of the attempt.
        adverts: keys by site.
        sealed: shares, by the site that they are shares of and then by the site that holds them.
        survivors: who is in the total.
        threshold: how many sites must reveal.
    """

    def __init__(
        self,
        bond: str,
        adverts: Mapping[str, Advert],
        sealed: Mapping[str, Mapping[str, Sealed]],
        survivors: frozenset[str],
        threshold: int,
    ) -> None:
        """Begin with nothing revealed."""
        self._bond, self._listed, self._adverts, self._sealed = bond, list_bond(bond, adverts), adverts, sealed
        self._survivors, self.threshold = survivors, threshold
        self._points = {site: point for point, site in enumerate(sorted(adverts), start=1)}
        self.revealed: dict[str, Revealed] = {}

    @property
    def dropped(self) -> frozenset[str]:
        """Return who masked with the others and is not in the total."""
        return frozenset(self._sealed) - self._survivors

    @property
    def ready(self) -> bool:
        """Say whether enough sites have revealed."""
        return len(self.revealed) >= self.threshold

    def take(self, site: str, revealed: Revealed) -> Revealed:
        """Take in what a site reveals, and return it.

        Raises:
            Broken: it is not what the site holds.
        """
        if revealed.seed.keys() != self._survivors or revealed.key.keys() != self.dropped:
            raise Broken.at("open", "it does not reveal one share for each site")
        given = [("seed share", owner, value, self._sealed[owner][site].seed) for owner, value in revealed.seed.items()]
        given += [("key share", owner, value, self._sealed[owner][site].key) for owner, value in revealed.key.items()]
        for what, owner, value, committed in given:
            if keys.commitment(self._listed, what, owner, site, value=bytes.fromhex(value)) != committed:
                raise Broken.at("open", f"its share of {owner} is not the one that was sealed for it")
        self.revealed[site] = revealed
        return revealed

    def masks(self) -> list[Mask]:
        """Return what is to be added to the masked total to take every mask off.

        Raises:
            Broken: too few sites have revealed, or a site shared something else than it advertised; it is named.
        """
        if not self.ready:
            raise Broken.at("open", f"{len(self.revealed)} sites reveal their shares, {self.threshold} are needed")
        found = []
        for site in sorted(self._survivors):
            seed = self._joined(site, "seed")
            if keys.commitment(self._bond, "seed", site, value=seed) != self._adverts[site].seed:
                raise Broken.at("open", f"site {site} shared another seed than it advertised")
            found.append(Mask(keys.derived(seed, self._listed, "self", site), -1))
        for site in sorted(self.dropped):
            secret = self._joined(site, "key")
            if keys.public_of(secret).hex() != self._adverts[site].mask:
                raise Broken.at("open", f"site {site} shared another mask key than it advertised")
            for other in sorted(self._survivors):
                key = keys.agreed(secret, bytes.fromhex(self._adverts[other].mask), self._listed, "mask", (site, other))
                found.append(Mask(key, -1 if other < site else 1))
        return found

    def _joined(self, site: str, what: str) -> bytes:
        shares = {self._points[holder]: bytes.fromhex(getattr(said, what)[site]) for holder, said in self.revealed.items()}
        try:
            return shamir.join(shares)
        except ValueError:
            raise Broken.at("open", f"the shares that site {site} sealed do not belong together") from None
