"""Play a secure sum among sites in one process, message by message, so that a test can drop or alter any of them."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround.combining.secure.groups import Party
from wardround.combining.secure.masks import add
from wardround.combining.secure.opening import Opening
from wardround.combining.secure.session import Session, begin, follow
from wardround.combining.secure.shamir import Entropy
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.words import STAGES, bond_of, read_adverts, read_revealed, read_sealed
from wardround.study.canonical import canonical, digest
from wardround.study.task import Task
from wardround.study.threshold import threshold


def task(site: str, **changes: Any) -> Task:
    """Return a task of the first exchange."""
    first = Task("small", digest(b"protocol"), "train", 3, 0, "keys", site, 60.0, digest(b"ask"), digest(b"roster"))
    return replace(first, **changes)


def counted(seed: str) -> Entropy:
    """Return a generator that gives the same bytes each time: for vectors only."""
    calls = iter(range(10**9))
    return lambda size: hashlib.shake_256(f"{seed}/{next(calls)}".encode()).digest(size)


@lru_cache(256)
def parsed(said: bytes) -> Any:
    """Return the JSON of a message; not to be altered."""
    return json.loads(said)


@dataclass
class Exchange:
    """Hold all sites of one attempt, what they said, and (`before`, by stage and site) each session as it was before a step."""

    names: tuple[str, ...]
    quorum: int = 3
    task: Mapping[str, Any] = field(default_factory=dict)
    fixed: bool = False
    strangers: tuple[str, ...] = ("zug", "zwei")

    def __post_init__(self) -> None:
        seeds = {name: hashlib.sha256(name.encode()).digest() for name in self.names}
        self.signing = {name: Ed25519PrivateKey.from_private_bytes(seed) for name, seed in seeds.items()}
        self.sessions: dict[str, Session] = {}
        self.said: dict[str, dict[str, bytes]] = {stage: {} for stage in STAGES}
        self.before: dict[tuple[str, str], Session] = {}
        self.bond = bond_of(task("", **self.task))
        self.entropy: dict[str, Entropy] = {name: counted(name) if self.fixed else secrets.token_bytes for name in self.names}

    def begin(self, sites: Iterable[str]) -> None:
        """Have sites advertise their keys."""
        for site in sites:
            asked = task(site, **self.task)
            self.sessions[site], self.said["keys"][site] = begin(
                asked, Party(frozenset({*self.names, *self.strangers}), self.quorum), self.signing[site], Behind(), self.entropy[site]
            )

    def follow(self, stage: str, site: str, said: bytes, known: Mapping[str, str] | None = None) -> bytes:
        """Have a site take a step."""
        self.before[stage, site] = self.sessions[site]
        session, key = self.sessions[site], self.signing[site]
        self.sessions[site], self.said[stage][site] = follow(session, stage, said, key, known or {}, self.entropy[site])
        assert Session.from_json(self.sessions[site].to_json()) == self.sessions[site]
        return self.said[stage][site]

    def adverts(self) -> bytes:
        """Return what the coordinator passes on before shares are sealed."""
        return canonical({"adverts": [parsed(self.said["keys"][site])["adverts"][0] for site in sorted(self.said["keys"])]})

    def shares_for(self, site: str) -> bytes:
        """Return the sealed shares that the coordinator passes on to a site."""
        return canonical({"shares": {owner: parsed(said)["shares"][site] for owner, said in self.said["shares"].items()}})

    def survivors(self) -> bytes:
        """Return who gave masked sums."""
        return canonical({"survivors": sorted(self.said["answer"])})

    def signatures(self) -> bytes:
        """Return the agreements that the coordinator passes on."""
        return canonical({"signatures": {site: parsed(said)["signature"][site] for site, said in self.said["agree"].items()}})

    def passed(self, stage: str, site: str) -> bytes:
        """Return what an honest coordinator passes on to a site."""
        if stage == "answer":
            return self.shares_for(site)
        return {"shares": self.adverts, "agree": self.survivors, "open": self.signatures}[stage]()

    def masked(self, site: str, values: np.ndarray, tensor: int = 0) -> np.ndarray:
        """Return a site's masked sums: a copy, unsigned."""
        hidden = values.copy().view(f"u{values.itemsize}")
        add(self.sessions[site].masks(), tensor, hidden)
        return hidden

    def opening(self) -> Opening:
        """Return the coordinator's side, with everything that was revealed taken in."""
        adverts = read_adverts("keys", self.adverts())
        sealed = {owner: read_sealed("shares", said) for owner, said in self.said["shares"].items()}
        made = Opening(self.bond, adverts, sealed, frozenset(self.said["answer"]), threshold(len(adverts), self.quorum))
        for site, said in self.said["open"].items():
            made.take(site, read_revealed("open", said))
        return made

    def play(self, gone: Mapping[str, Collection[str]] | None = None, until: str = "open") -> None:
        """Have an honest coordinator take all sites through the stages; some drop out before a stage: `gone` by stage.

        Raises:
            Broken: too few are left at some step.
        """
        here = list(self.names)
        for stage in STAGES[: STAGES.index(until) + 1]:
            here = [site for site in here if site not in (gone or {}).get(stage, ())]
            if stage == "keys":
                self.begin(here)
            else:
                said = {site: self.passed(stage, site) for site in here}
                for site in here:
                    self.follow(stage, site, said[site])

    def total(self, values: Mapping[str, np.ndarray], gone: Mapping[str, Collection[str]]) -> np.ndarray:
        """Return the total of sums of any size when some sites drop out before each stage: `gone` by stage.

        Raises:
            Broken: too few are left at some step.
        """
        self.play(gone)
        kind = values[self.names[0]].dtype
        hidden = np.zeros_like(values[self.names[0]]).view(f"u{kind.itemsize}")
        for site in self.said["answer"]:
            hidden += self.masked(site, values[site])
        add(self.opening().masks(), 0, hidden)
        return hidden.view(kind)
