"""Share a secret among sites so that a threshold of them, and no fewer, can give it back.

Source: Shamir, How to share a secret, CACM 22(11), 1979. Arithmetic modulo the Mersenne prime 2^521 - 1, so that a secret of 32 bytes
fits whole; every share has the same length.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

PRIME = 2**521 - 1
SECRET_BYTES = 32
SHARE_BYTES = 66

Entropy = Callable[[int], bytes]
"""Gives so many random bytes."""


def split(secret: bytes, threshold: int, count: int, entropy: Entropy = secrets.token_bytes) -> list[bytes]:
    """Return one share for each of the points 1 to `count`, 66 bytes each; any `threshold` of them give the secret back.

    Args:
        secret: 32 bytes.
        threshold: 1 to `count`.
        count: how many shares.
        entropy: a cryptographic generator.

    Raises:
        ValueError: the secret has another length, or the threshold is out of range.

    Example:
        >>> shares = split(bytes(31) + b"x", 2, 3)
        >>> join({1: shares[0], 3: shares[2]})[-1:]
        b'x'
    """
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= count:
        raise ValueError("a secret has 32 bytes, and a threshold lies between 1 and the number of shares")
    # 72 bytes modulo a prime of 521 bits: biased by less than 2^-54
    coefficients = [int.from_bytes(secret, "big"), *(int.from_bytes(entropy(72), "big") % PRIME for _ in range(threshold - 1))]
    shares = []
    for point in range(1, count + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * point + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE_BYTES, "big"))
    return shares


def join(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of as many shares as its threshold, by point.

    Raises:
        ValueError: these shares do not belong together: what they give is no secret of 32 bytes.
    """
    total = 0
    for point, share in shares.items():
        above, below = 1, 1
        for other in shares:
            if other != point:
                above, below = above * other % PRIME, below * (other - point) % PRIME
        total = (total + int.from_bytes(share, "big") * above * pow(below, -1, PRIME)) % PRIME
    if total >= 1 << 8 * SECRET_BYTES:
        raise ValueError("these shares do not belong together")
    return total.to_bytes(SECRET_BYTES, "big")
