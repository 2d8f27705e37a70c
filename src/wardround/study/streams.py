"""Draw random numbers by name, never by position in a loop.

A `Stream` is a key. `child("site", 3, "round", 7, "batches")` is another key; a generator made from it always gives the same numbers,
whatever else was drawn before, in whatever order and in whichever process. Two kinds exist: *public* (from the protocol's seed:
initial parameters, splits, who takes part) and *private* (from a secret that stays at the site: batch order, bootstrap
weights), the latter keyed by the digest of what was asked.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox); RFC 2104 (HMAC); FIPS 202
(SHAKE-256). Philox is not cryptographic: bootstrap weights, and noise for privacy, come from `words`, never from `generator`.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Stream:
    """Hold a 32-byte key from which named generators and further keys are made."""

    key: bytes = field(repr=False)

    @classmethod
    def public(cls, seed: int) -> Stream:
        """Return the stream that everybody in a study can repeat.

        Args:
            seed: the study's seed, 0 to 2^53 - 1.
        """
        return cls(hashlib.sha256(f"wardround/public/{seed}".encode()).digest())

    def child(self, *names: str | int) -> Stream:
        """Return the stream of this name; different names give independent streams.

        Each name goes in with its length, so that ("ab", "c") and ("a", "bc") differ.
        """
        text = b"".join(len(part).to_bytes(4, "big") + part for part in (str(name).encode() for name in names))
        return Stream(hmac.new(self.key, text, hashlib.sha256).digest())

    def generator(self, *names: str | int) -> np.random.Generator:
        """Return a fresh numpy generator of this name."""
        words = np.frombuffer(self.child(*names).key[:16], dtype="<u8")
        return np.random.Generator(np.random.Philox(key=words))

    def words(self, count: int, *names: str | int) -> np.ndarray:
        """Return uint32 [count] of this name from a cryptographic generator, for what must not be guessed."""
        return np.frombuffer(hashlib.shake_256(self.child(*names).key).digest(4 * count), dtype="<u4")

    def integer(self, *names: str | int) -> int:
        """Return a number of this name, 0 to 2^63 - 1, to seed a library that wants an integer."""
        return int.from_bytes(self.child(*names).key[:8], "big") >> 1
