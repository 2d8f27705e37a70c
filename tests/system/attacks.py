"""Say what an attack of a hostile coordinator is, and what most of them begin with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.system.coordinator_attacks import Attempt, Coordinator
from wardround.study.task import Total

Evil = TypeVar("Evil", bound=Coordinator)
Move = Callable[[Evil], object]
OTHER = "sha256:" + "7" * 64


@dataclass(frozen=True)
class Attack(Generic[Evil]):
    """Hold an attack.

    Attributes:
        move: what the coordinator does.
        reason: of the refusal, as a pattern.
        study: what kind of study: how many sites, the quorum, who helps.
        again: sites with which an honest round is possible afterwards; None for all, empty for none.
    """

    move: Move[Evil]
    reason: str
    study: Mapping[str, Any] = field(default_factory=dict)
    again: tuple[str, ...] | None = None


class Attacks(dict[str, Attack[Evil]]):
    """Hold attacks by the names of their functions."""

    def attack(self, reason: str, again: tuple[str, ...] | None = None, **study: Any) -> Callable[[Move[Evil]], Move[Evil]]:
        """Note an attack under its function's name."""

        def noted(move: Move[Evil]) -> Move[Evil]:
            self[move.__name__] = Attack(move, reason, study, again)
            return move

        return noted


ATTACKS: Attacks[Coordinator] = Attacks()
attack = ATTACKS.attack
HELPED: dict[str, Any] = {"sites": 7, "puppets": 2, "quorum": 5}
"""Two hospitals of seven help the coordinator."""


def stranger(name: str) -> Ed25519PrivateKey:
    """Return a key that belongs to no hospital."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"stranger {name}".encode()).digest())


def opened(evil: Coordinator, number: int = 0, *sites: str) -> Total:
    """Open a total honestly."""
    return Attempt(evil, number, sites).to("open").total()


def closed(evil: Coordinator, *sites: str) -> Total:
    """Open a total and close its round honestly."""
    total = opened(evil, 0, *sites)
    evil.close(total, 0)
    return total
