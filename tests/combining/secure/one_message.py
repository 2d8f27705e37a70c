"""Play a sum of one message among sites in one process, message by message, so that a test can drop or alter any of them."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.combining.secure.exchange import counted, task
from wardround.combining.secure import window
from wardround.combining.secure.masks import add
from wardround.combining.secure.shamir import Entropy
from wardround.combining.secure.window import Window, passed_on
from wardround.combining.secure.words import bond_of
from wardround.study.arrays import Arrays
from wardround.study.canonical import canonical
from wardround.study.layout import Layout, Term

LAYOUT = (Term("x", (7,), 32, 1.0, 1.0), Term("n", (), 64, 1.0, 1.0, "count"))
NAMES = ("aarau", "basel", "chur", "davos", "engadin")
HELPING = ("aarau", "basel", "chur")


@dataclass
class Sum:
    """Play one attempt; the helpers begin at once.

    Attributes:
        quorum: of the protocol.
        layout: of the sums.
        fixed: whether all secrets follow from the sites' names: for vectors only.
        said: what helpers said, by stage and name.
    """

    quorum: int = 3
    layout: Layout = LAYOUT
    fixed: bool = False
    sessions: dict[str, Window] = field(default_factory=dict)
    parcels: dict[str, bytes] = field(default_factory=dict)
    agreed: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"keys": {}, "agree": {}})

    def __post_init__(self) -> None:
        self.keys = {name: Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()) for name in NAMES}
        self.known = {name: key.public_key().public_bytes_raw().hex() for name, key in self.keys.items()}
        self.entropy: dict[str, Entropy] = {name: counted(name) if self.fixed else secrets.token_bytes for name in NAMES}
        self.helpers: list[dict[str, Any]] = []
        for name in HELPING:
            self.sessions[name], said = window.begin(task(name), HELPING, self.quorum, self.keys[name], self.entropy[name])
            self.said["keys"][name] = said
            self.helpers += json.loads(said)["helpers"]

    def relay(self) -> bytes:
        """Return what sites are told before they answer."""
        return canonical({"helpers": self.helpers})

    def answer(self, site: str, values: Arrays, relay: bytes | None = None) -> dict[str, np.ndarray]:
        """Have a site seal its seeds and mask its sums; return the masked ones."""
        new = self.sessions.get(site) or Window(bond_of(task(site)), site, HELPING, self.quorum, "keys")
        self.sessions[site], met = window.answer(new, relay or self.relay(), self.keys[site], self.entropy[site])
        assert met == {name: self.known[name] for name in HELPING}
        assert Window.from_json(self.sessions[site].to_json()) == self.sessions[site]
        self.parcels[site] = bytes.fromhex(self.sessions[site].parcel)
        hidden = {term.name: np.array(values[term.name]).view(f"uint{term.bits}") for term in self.layout}
        for number, term in enumerate(self.layout):
            add(self.sessions[site].masks(), number, hidden[term.name])
        return hidden

    def told(self, helper: str) -> dict[str, str]:
        """Return what a helper is told of each parcel."""
        return {site: passed_on(one, HELPING.index(helper)) for site, one in self.parcels.items()}

    def agree(self, helper: str, **changes: str) -> None:
        """Have a helper agree to the total of all whose parcels are there."""
        said = self.parcelled(self.told(helper) | changes)
        self.sessions[helper], self.said["agree"][helper] = window.agree(self.sessions[helper], said, self.keys[helper])
        self.agreed[helper] = json.loads(self.said["agree"][helper])["signature"][helper]

    def parcelled(self, parcels: Mapping[str, str]) -> bytes:
        """Return what a helper is told before it agrees."""
        return canonical({"helpers": self.helpers, "parcels": dict(parcels)})

    def signed(self, number: int, signatures: Mapping[str, str] | None = None) -> bytes:
        """Return what a helper is told before it reveals a class."""
        return canonical({"signatures": dict(self.agreed if signatures is None else signatures), "class": number})

    def open(self, helper: str, number: int, signatures: Mapping[str, str] | None = None) -> Arrays:
        """Have a helper reveal the sum of a class."""
        self.sessions[helper], asked = window.opening(self.sessions[helper], self.signed(number, signatures), self.known)
        assert asked == number
        return self.sessions[helper].revealed(number, self.layout)
