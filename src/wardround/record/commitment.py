"""Commit to bytes without showing anything about them.

The hash of a small payload, such as one count, can be found by trying every value. With 32 random bytes in front it cannot. The
entry holds the commitment; the salt stays with the site, which opens it to an auditor: `cat salt payload | sha256sum` prints the
same digits.
"""

from __future__ import annotations

import hashlib

from wardround.study.errors import VerificationError
from wardround.study.files import Data, blocks

SALT_BYTES = 32


def commit(salt: bytes, payload: Data) -> str:
    """Return `sha256:<hex>` of salt and payload.

    Args:
        salt: 32 bytes from a cryptographic generator, never used twice.
        payload: what is committed to.

    Raises:
        ValueError: the salt is not 32 bytes long.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    total = hashlib.sha256(salt)
    for block in blocks(payload):
        total.update(block)
    return "sha256:" + total.hexdigest()


def check(commitment: str, salt: bytes, payload: bytes) -> None:
    """Check that salt and payload open a commitment.

    Raises:
        VerificationError: they do not.
    """
    if len(salt) != SALT_BYTES or commit(salt, payload) != commitment:
        raise VerificationError(
            "The content is not what the entry committed to.", "Ask the site for the salt and the bytes of this very message."
        )
