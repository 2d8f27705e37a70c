"""Be the coordinator in one attempt of a secure sum among one set of sites: what to ask next, what to make of each reply, what it came to.

It speaks to nobody: `driving.drive` carries what it asks and brings what is said. Sites that drop out before they have given their masked
sums are left out; from then on the total stands, and it opens with a threshold of those who are in it. Whoever does not help then, be it
silent, kept from it by its own rules, or because it found fault or said what is false, is away: gates judge the total, and one hostile
site must not be able to stop it. People are told of faults.

Once it is asked to be opened there is no way back: sites that helped help to open no other total of the round. So the same is asked again
later, of all that are in it, until enough have helped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from wardround.combining.fixedpoint import check_total, decoded
from wardround.combining.secure import keys
from wardround.combining.secure.bodies import masked_specs, unpack_masked
from wardround.combining.secure.masks import add
from wardround.combining.secure.opening import Opening
from wardround.combining.secure.seal import NAME
from wardround.combining.secure.wording import Broken, finds_fault
from wardround.combining.secure.words import (
    STAGES,
    Advert,
    Revealed,
    Sealed,
    agreement,
    bond_of,
    genuine,
    list_bond,
    read_adverts,
    read_revealed,
    read_sealed,
    read_signatures,
)
from wardround.combining.written import OutOfBounds
from wardround.study.arrays import Arrays
from wardround.study.canonical import canonical
from wardround.study.errors import WardroundError
from wardround.study.files import Data, blocks
from wardround.study.layout import Layout
from wardround.study.task import NOTHING, Refusal, Short, Stage, Task, Total, Update
from wardround.study.threshold import threshold

EXCHANGE_SECONDS = 60.0
"""Seconds that a site's gate has, at most, for an exchange that asks no work of it."""

_UNVOUCHED = "it had no part in the last total, and so few sites that had one are here that not all others can take their word for it"
_WAITS = (
    "Nothing is to be done here: it is asked again in the next round. If no round closes, see that those come back that were in the last."
)

RESERVED = ("seal", "parcel")
NOBODY: Mapping[str, str] = {}
Relays = Mapping[str, Mapping[str, Any]]
"""By site: what is passed on to it."""


_READ: Mapping[Stage, Callable[[Stage, bytes], Any]] = {"keys": read_adverts, "shares": read_sealed, "open": read_revealed}


class Attempt:
    """Hold one attempt.

    Args:
        tasks: of stage "answer", one a site that is asked.
        quorum: fewest of them in a total.
        roster: names of all sites of the study's first round; none: these are all.
        about: a task of the round, where none of these sites is asked.
        identities: with which key each site joined, as far as it is known.
    """

    stages: Sequence[Stage] = STAGES

    def __init__(
        self,
        tasks: Sequence[Task],
        quorum: int,
        roster: Sequence[str] = (),
        about: Task | None = None,
        identities: Mapping[str, str] = NOBODY,
    ) -> None:
        """Begin with everybody.

        Raises:
            WardroundError: the sums of so many sites may exceed their integers.
        """
        self.over = ""
        self._tasks, self._quorum, self.asked = {task.site: task for task in tasks}, quorum, len(tasks)
        self._roster, self._identities = roster or list(self._tasks), identities
        about = about or tasks[0]
        self.layout, self._bond = about.body.layout, bond_of(about)
        insist(tasks or [about])
        self._receipts: dict[str, list[str]] = {site: [] for site in self._tasks}
        self._adverts: dict[str, Advert] = {}
        self._sealed: dict[str, dict[str, Sealed]] = {}
        self._hidden = {name: np.zeros(shape, kind) for name, (kind, shape) in masked_specs(self.layout).items()}
        self._survivors: set[str] = set()
        self._agreements: dict[str, str] = {}
        self._signatures: Mapping[str, str] = {}
        self._opening: Opening | None = None
        self._missed: dict[str, Refusal] = {}
        self._faulty: set[str] = set()

    @property
    def least(self) -> int:
        """Return how many sites it takes."""
        return threshold(len(self._adverts), self._quorum)

    def tasks(self, stage: Stage) -> list[Task]:
        """Return the tasks of one exchange: who is asked, and what is passed on; none when the attempt is over."""
        if self.over:
            return []
        relays = self._relays(stage)
        return [
            staged(task, stage, relays[site], stage == "answer", stage == "keys") for site, task in self._tasks.items() if site in relays
        ]

    def take(self, stage: Stage, update: Update, said: Any) -> None:
        """Take in what a site says.

        Raises:
            Broken: it is not what the site must say.
        """
        steps: dict[Stage, Callable[[str, Any], None]] = {
            "keys": self._advertised,
            "shares": self._shared,
            "answer": self._answered,
            "agree": self._agreed,
            "open": self._revealed,
        }
        steps[stage](update.site, said)
        self._receipts[update.site].append(update.receipt.entry)

    def read(self, stage: Stage, layout: Layout, body: Data) -> Any:
        """Return what a message of an exchange holds."""
        if stage == "answer":
            return unpack_masked(layout, body)
        data = b"".join(blocks(body))
        return read_signatures(stage, data, "signature") if stage == "agree" else _READ[stage](stage, data)

    def end(self, stage: Stage, refusals: Sequence[Refusal]) -> list[Refusal]:
        """Close an exchange; return the refusals that leave their sites out."""
        late = stage in ("agree", "open")  # the total stands: who is away now is in it, and is named only if it cannot be opened
        found = [*refusals, *(self._unvouched() if stage == "keys" else ())]
        for one in refusals if late else ():
            self._missed[one.site] = one
            if finds_fault(one):
                self.fault(one)
        if self._opening is not None:
            return []
        here = len(self._here(stage))
        if not self.over and here < self.least:
            self.over = f"{here} sites were left for the secure sum, which opens with {self.least}"
        return found if self.over or not late else []

    def fault(self, refusal: Refusal) -> None:
        """Take in who found fault while the total stood, or said what is false; it is asked nothing more in this attempt."""
        self._missed[refusal.site] = refusal
        self._faulty.add(refusal.site)

    @property
    def opening(self) -> bool:
        """Say whether the total was asked to be opened."""
        return self._opening is not None

    @property
    def ready(self) -> bool:
        """Say whether enough have helped to open it."""
        return self._opening is not None and self._opening.ready

    @property
    def given(self) -> int:
        """Return how many sites have given their masked sums."""
        return len(self._survivors)

    @property
    def names(self) -> frozenset[str]:
        """Return who was asked when the attempt began."""
        return frozenset(self._receipts)

    @property
    def survivors(self) -> frozenset[str]:
        """Return who is in the total."""
        return frozenset(self._survivors)

    @property
    def awaited(self) -> list[str]:
        """Return who can still help to open the total; nobody where it is ready, or where too few are left for it ever to be."""
        if self._opening is None or self.over or self.ready:
            return []
        left = sorted((self._survivors & self._tasks.keys()) - self._opening.revealed.keys() - self._faulty)
        return left if len(left) + len(self._opening.revealed) >= self.least else []

    def waits(self) -> Short:
        """Return that the total stands, and whom it waits for."""
        here = len(self._opening.revealed) if self._opening else 0
        more, who = self.least - here, ", ".join(self.awaited)
        return Short(here, self.least, f"{more} more of those in the total must help to open it; it waits for {who}", stands=True)

    def missed(self) -> list[Refusal]:
        """Return why those that are in the total have not helped to open it."""
        helped = self._opening.revealed if self._opening else {}
        return [one for site, one in sorted(self._missed.items()) if site not in helped]

    def faults(self) -> list[Refusal]:
        """Return who found fault when the total was opened, or revealed what is false, and is in it all the same."""
        return [one for one in self.missed() if one.site in self._faulty]

    def give_up(self) -> list[Refusal]:
        """End the attempt, if too few have helped to open its total; return why they did not."""
        if self._opening is None or self.over or self.ready:
            return []
        self.over = f"{len(self._opening.revealed)} sites were left for the secure sum, which opens with {self.least}"
        return self.missed()

    @property
    def facts(self) -> dict[str, Any]:
        """Return, as JSON values, what is to be kept beside the masked sums before the total is asked to be opened."""
        sealed = {owner: {site: asdict(one) for site, one in held.items()} for owner, held in self._sealed.items()}
        named = {"asked": self.asked, "over": self.over, "survivors": sorted(self._survivors), "receipts": self._receipts}
        named |= {"agreements": self._agreements, "missed": [asdict(one) for one in self._missed.values()]}
        return {**named, "adverts": {site: asdict(one) for site, one in self._adverts.items()}, "sealed": sealed}

    @property
    def hidden(self) -> Arrays:
        """Return the masked total."""
        return self._hidden

    def restore(self, facts: Mapping[str, Any], hidden: Arrays) -> None:
        """Go on from where the total was asked to be opened."""
        self.asked, self.over, self._survivors = facts["asked"], facts["over"], set(facts["survivors"])
        self._receipts = facts["receipts"]
        self._adverts = {site: Advert(**one) for site, one in facts["adverts"].items()}
        self._sealed = {owner: {site: Sealed(**one) for site, one in held.items()} for owner, held in facts["sealed"].items()}
        self._hidden = {name: np.array(hidden[name]) for name in self._hidden}
        self._agreements, self._missed = facts["agreements"], {one["site"]: Refusal(**one) for one in facts["missed"]}
        self._faulty = {site for site, one in self._missed.items() if finds_fault(one)}
        self.stages = STAGES[STAGES.index("agree") :]
        if not self.over:
            self._open()

    def outcome(self, refused: int) -> Total | Short:
        """Return the opened total, held against what its sites may send; or why there is none.

        Args:
            refused: how many of its sites are left out by a refusal.
        """
        try:
            if self.over or self._opening is None:
                return Short(self.asked - refused, self.least, self.over)
            masks = self._opening.masks()
            for number, name in enumerate(self._hidden):
                add(masks, number, self._hidden[name])
            return self._total()
        except (Broken, OutOfBounds) as error:
            return Short(self.asked - refused, self.least, error.message)

    def _unvouched(self) -> list[Refusal]:
        """Leave sites out that did not check the last total, until most of those left did: no site works on otherwise."""
        others = [site for site, one in sorted(self._adverts.items()) if one.checked != "yes"]
        out = others[max(len(self._adverts) - len(others) - 1, 0) :]
        for site in out:
            del self._adverts[site]
        return [Refusal(self._tasks[site].digest, site, "admit", _UNVOUCHED, _WAITS, again=True) for site in out]

    def _here(self, stage: Stage) -> Collection[str]:
        """Return who has given what an exchange asks."""
        if stage == "open":
            return self._opening.revealed if self._opening else ()
        each: dict[Stage, Collection[str]] = {"keys": self._adverts, "shares": self._sealed, "answer": self._survivors}
        return each.get(stage, self._agreements)

    def _relays(self, stage: Stage) -> Relays:
        if stage == "keys":
            return _to_all(self._tasks, "roster", sorted(self._roster))
        if stage == "shares":
            return _to_all(self._adverts, "adverts", [asdict(self._adverts[site]) for site in sorted(self._adverts)])
        if stage == "answer":
            return {site: {"shares": {owner: asdict(held[site]) for owner, held in self._sealed.items()}} for site in self._sealed}
        if stage == "agree":
            return _to_all(self._survivors - self._agreements.keys() - self._faulty, "survivors", sorted(self._survivors))
        opening = self._opening or self._open()
        left = self._agreements.keys() - opening.revealed.keys() - self._faulty
        return _to_all(left, "signatures", self._signatures)

    def _open(self) -> Opening:
        """Begin to open the total; with which signatures it is asked stays as it is: gates know a task by what it says."""
        self._signatures = dict(self._agreements)
        self._opening = Opening(self._bond, self._adverts, self._sealed, frozenset(self._survivors), self.least)
        return self._opening

    def _advertised(self, site: str, said: Mapping[str, Advert]) -> None:
        if said.keys() != {site}:
            raise Broken.at("keys", "it gives other keys than its own")
        mine = said[site]
        genuine(mine, self._bond)
        # else every other site would refuse the whole list
        if not all(keys.usable(bytes.fromhex(one)) for one in (mine.channel, mine.mask)):
            raise Broken.at("keys", "its key is no key")
        if mine.identity != self._identities.get(site, mine.identity):
            raise Broken.at("keys", "its keys are signed by another identity than it joined with")
        if {mine.channel, mine.mask} & {key for one in self._listed.values() for key in (one.channel, one.mask)}:
            raise Broken.at("keys", "its key is another site's too")
        self._adverts[site] = mine

    @property
    def _listed(self) -> Mapping[str, Advert]:
        """Return the keys that sites will be shown, by site."""
        return self._adverts

    def _shared(self, site: str, said: dict[str, Sealed]) -> None:
        if said.keys() != self._adverts.keys():
            raise Broken.at("shares", "it does not share with each site")
        self._sealed[site] = said

    def _answered(self, site: str, said: Mapping[str, np.ndarray]) -> None:
        for name, value in said.items():
            self._hidden[name] += value
        self._survivors.add(site)

    def _agreed(self, site: str, said: Mapping[str, str]) -> None:
        payload = agreement(list_bond(self._bond, self._adverts), self._sealed, self._survivors)
        if said.keys() != {site} or not keys.signed(self._adverts[site].identity, payload, said[site]):
            raise Broken.at("agree", "it did not sign the total that stands")
        self._agreements[site] = said[site]

    def _revealed(self, site: str, said: Revealed) -> None:
        assert self._opening is not None
        self._opening.take(site, said)

    def _total(self) -> Total:
        integers = {term.name: self._hidden[term.name].view(f"int{term.bits}") for term in self.layout}
        check_total(self.layout, integers, len(self._survivors))
        receipts = sorted(entry for site in self._survivors for entry in self._receipts[site])
        proof = (tuple(sorted(self._survivors)), self._agreements, tuple(f"{one:x}" for one in self._hidden[NAME].tolist()))
        return Total(self.layout, integers, decoded(self.layout, integers), len(self._survivors), tuple(receipts), proof)


def _to_all(sites: Iterable[str], what: str, said: Any) -> Relays:
    return {site: {what: said} for site in sites}


def staged(task: Task, stage: Stage, relay: Mapping[str, Any], asks: bool, first: bool) -> Task:
    """Return the task of one exchange.

    Args:
        task: of stage "answer", whole.
        stage: of the exchange.
        relay: what is passed on.
        asks: whether it brings what is asked, and leaves the time for it.
        first: whether it is the round's first for this site, which brings what was closed.
    """
    return replace(
        task,
        stage=stage,
        relay=canonical(relay) if relay else b"",
        body=task.body if asks else NOTHING,
        due=task.due if asks else min(task.due, EXCHANGE_SECONDS),
        closed=task.closed if first else (),
        supplies=task.supplies if first or task.supplies is None else {},
    )


def insist(tasks: Sequence[Task]) -> None:
    """Refuse sums that may exceed their integers, since masked they would wrap unseen, and names that this room uses itself."""
    for term in tasks[0].body.layout:
        if term.wire:
            message = f"{term.name!r} is to be written as {term.wire}, which masks cannot be put on."
            raise WardroundError(message, 'Take a codec whose sums are integers, such as "quantised", or write combine = "plain".')
        if term.most(len(tasks)) >= 2.0 ** (term.bits - 1):
            message = f"The sums of {len(tasks)} sites may exceed the integers of {term.name!r}, and masked ones would wrap unseen."
            raise WardroundError(message, "Write at least as many sites into bounds.sites as take part.")
        if term.name in RESERVED:
            raise WardroundError(
                f"A sum may not be called {term.name!r}: the secure sum uses this name itself.", "Rename it in the algorithm."
            )
