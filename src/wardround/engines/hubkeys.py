"""Write raw Ed25519 keys the way a NATS hub does."""

from __future__ import annotations

import nkeys


def seed(raw: bytes) -> str:
    """Return 32 raw bytes as a NATS user seed."""
    encoded: bytes = nkeys.encode_seed(raw, nkeys.PREFIX_BYTE_USER)
    return bytes(encoded).decode()


def public(raw: bytes) -> str:
    """Return the public NATS key of 32 raw bytes."""
    key: bytes = nkeys.from_seed(bytearray(seed(raw).encode())).public_key
    return bytes(key).decode()
