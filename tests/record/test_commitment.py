from __future__ import annotations

import hashlib

import pytest

from wardround.record import commitment
from wardround.study.errors import VerificationError

SALT = bytes(range(32))


def test_a_commitment_is_the_hash_of_salt_and_payload_and_opens_with_them_alone() -> None:
    made = commitment.commit(SALT, b"17")
    assert made == "sha256:" + hashlib.sha256(SALT + b"17").hexdigest()
    commitment.check(made, SALT, b"17")
    for salt, payload in ((SALT, b"18"), (bytes(32), b"17"), (SALT[:31], b"17")):
        with pytest.raises(VerificationError):
            commitment.check(made, salt, payload)
    with pytest.raises(ValueError, match="32 bytes"):
        commitment.commit(b"short", b"17")
