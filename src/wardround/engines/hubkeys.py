"""Write raw Ed25519 keys the way a NATS hub does."""

from __future__ import annotations

import base64
import binascii

import nkeys


def seed(raw: bytes) -> str:
    """Return 32 raw bytes as a NATS user seed."""
    encoded: bytes = nkeys.encode_seed(raw, nkeys.PREFIX_BYTE_USER)
    return bytes(encoded).decode()


def is_public(text: str) -> bool:
    """Say whether a text is a user's public NATS key: base32 with its prefix and checksum right, and nothing else."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        return False
    right = binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little") == raw[-2:]
    return len(text) == 56 and len(raw) == 35 and raw[0] == nkeys.PREFIX_BYTE_USER and right


def public(raw: bytes) -> str:
    """Return the public NATS key of 32 raw bytes."""
    key: bytes = nkeys.from_seed(bytearray(seed(raw).encode())).public_key
    return bytes(key).decode()
