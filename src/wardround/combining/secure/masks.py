"""Expand keys into masks and add them, block by block through one small buffer.

A mask is a key stream as long as the sums; each pair of sites has one, which one of them adds and the other subtracts, and each site has
one of its own. Integers of b bits wrap at 2^b, b being 8, 16, 32 or 64, so the masks of a pair cancel exactly.

Source: NIST SP 800-38A, AES-256 in counter mode. The upper eight bytes of the first counter block number the tensor in its layout, the
lower eight count blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

BLOCK = 2**18
"""Bytes that are masked at a time: they stay in the processor's cache while one mask after the other is added."""


@dataclass(frozen=True)
class Mask:
    """Hold the key of one mask, and whether it is added or taken away.

    Attributes:
        key: 32 bytes.
        sign: +1 or -1.
    """

    key: bytes = field(repr=False)
    sign: int


def stream(key: bytes, tensor: int, length: int) -> bytes:
    """Return the first `length` bytes of a key's stream for one tensor: the slow readable twin of what `add` expands."""
    return cipher(key, tensor).update(bytes(length))


def add(masks: Sequence[Mask], tensor: int, values: np.ndarray) -> None:
    """Add masks to integers, in place.

    Args:
        masks: any number.
        tensor: place of the tensor in its layout, from 0.
        values: uint8 to uint64, contiguous; wraps.
    """
    flat = values.reshape(-1)
    kind, most = flat.dtype.newbyteorder("<"), BLOCK // flat.itemsize
    expanding = [(cipher(mask.key, tensor), np.add if mask.sign > 0 else np.subtract) for mask in masks]
    zeros, buffer = memoryview(bytes(BLOCK)), bytearray(BLOCK + 15)  # a cipher wants room for one block more
    for start in range(0, flat.size, most):
        part = flat[start : start + most]
        expanded = np.frombuffer(buffer, kind, part.size)
        for expand, change in expanding:
            expand.update_into(zeros[: part.nbytes], buffer)
            change(part, expanded, out=part)


def cipher(key: bytes, tensor: int) -> CipherContext:
    """Return what expands a key for one tensor: counter mode over zeros."""
    return Cipher(AES(key), CTR(tensor.to_bytes(8, "big") + bytes(8))).encryptor()
