"""Hold a site's two secrets: the key it signs with, and the seed of its private random numbers. Neither ever leaves the site."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround.study.streams import Stream


@dataclass(frozen=True)
class SiteKeys:
    """Hold an Ed25519 signing key and the key of the private stream.

    Attributes:
        signing: the site's identity; also signs its log's checkpoints.
        private: root of batch orders and bootstrap weights.
    """

    signing: Ed25519PrivateKey = field(repr=False)
    private: Stream = field(repr=False)

    @classmethod
    def new(cls, private: Stream | None = None) -> SiteKeys:
        """Return new keys; `private` is given in a simulation only, so that it can be repeated."""
        return cls(Ed25519PrivateKey.generate(), private or Stream(secrets.token_bytes(32)))

    @classmethod
    def from_bytes(cls, data: bytes) -> SiteKeys:
        """Return the keys that `to_bytes` wrote."""
        return cls(Ed25519PrivateKey.from_private_bytes(data[:32]), Stream(data[32:64]))

    def to_bytes(self) -> bytes:
        """Return 64 bytes to be kept where only the site can read them."""
        return self.signing.private_bytes_raw() + self.private.key

    @property
    def public(self) -> Ed25519PublicKey:
        """Return what others verify with."""
        return self.signing.public_key()
