"""Say what an attack of a hostile coordinator is, and what most of them begin with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.system.coordinator_attacks import Attempt, Coordinator
from wardround.study.task import Total

Move = Callable[[Coordinator], object]
OTHER = "sha256:" + "7" * 64


@dataclass(frozen=True)
class Attack:
    """Hold an attack.

    Attributes:
        move: what the coordinator does.
        reason: of the refusal, as a pattern.
        study: how many sites, puppets, and the quorum.
        again: sites with which an honest round is possible afterwards; None for all, empty for none.
    """

    move: Move
    reason: str
    study: Mapping[str, Any] = field(default_factory=dict)
    again: tuple[str, ...] | None = None


ATTACKS: dict[str, Attack] = {}
HELPED: dict[str, Any] = {"sites": 7, "puppets": 2, "quorum": 5}
"""Two hospitals of seven help the coordinator."""


def attack(reason: str, again: tuple[str, ...] | None = None, **study: Any) -> Callable[[Move], Move]:
    """Note an attack under its function's name."""

    def noted(move: Move) -> Move:
        ATTACKS[move.__name__] = Attack(move, reason, study, again)
        return move

    return noted


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
