"""Seal a total, so that sites can tell whether a coordinator publishes what their sums came to.

Each site adds one secret-weighted sum of its own integers, and a pad, to what is masked. Weights and pads come from a key that the sites
have in common and the coordinator does not; so the opened seals of a true total fit it, and a coordinator that alters the total in any way
can only guess the seal that would fit: its chance is below 2^-60. It is a one-time authentication code that is linear, so it adds up as the
sums do. It does not hold against a coordinator that has a site on its side; what is published then stays within the limits of the layout.

Source: Carter, Wegman, New hash functions and their use in authentication and set equality, JCSS 22(3), 1981 (universal hash and pad).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wardround.combining.secure import keys
from wardround.combining.secure.masks import cipher
from wardround.study.arrays import Arrays
from wardround.study.layout import Layout

NAME = "seal"
"""Name of the array in which seals travel."""

MODULI = {32: 2**61 - 1, 64: 2**127 - 1}
"""By bits of the integers: primes so large that no difference of two totals is a multiple of them. 8 and 16 bits count as 32."""

_LIMBS = {32: 2, 64: 4}
LENGTH = sum(_LIMBS.values())
CHUNK = 2**13
"""Numbers that are weighed at a time."""


def seal(key: bytes, site: str, layout: Layout, integers: Arrays) -> np.ndarray:
    """Return one site's seal of its own integers, uint64 [6]: limbs of 32 bits, so that those of many sites add without overflow."""
    return _written({bits: (value + _pad(key, site, bits)) % MODULI[bits] for bits, value in _hashes(key, layout, integers).items()})


def fits(key: bytes, sites: Iterable[str], layout: Layout, integers: Arrays, total: Sequence[str]) -> bool:
    """Say whether the sum of the sites' seals belongs to the total of their integers.

    Args:
        key: that the sites have in common.
        sites: who is in the total.
        layout: of the total.
        integers: the total.
        total: six hex numbers, the sum of the sites' seals.
    """
    names = sorted(sites)
    expected = {bits: value + sum(_pad(key, site, bits) for site in names) for bits, value in _hashes(key, layout, integers).items()}
    return all((expected[bits] - given) % MODULI[bits] == 0 for bits, given in _read([int(one, 16) for one in total]).items())


def weighted(key: bytes, tensor: int, values: np.ndarray, bits: int) -> int:
    """Return the weighted sum of one tensor's integers, exactly, modulo the prime for its bits.

    The key's stream gives each number a weight of twice its own bits: for each chunk the lowest 16 bits of all weights, then the next.

    Args:
        key: of the weights.
        tensor: its place in the layout.
        values: int8 to int64.
        bits: 32 or 64.
    """
    flat, words, halves = np.ascontiguousarray(values, f"<i{bits // 8}").reshape(-1), bits // 8, bits // 16
    expand, buffer, zeros = cipher(key, tensor), bytearray(2 * words * CHUNK + 15), memoryview(bytes(2 * words * CHUNK))
    weights, limbs = np.empty((words, CHUNK)), np.empty((halves, CHUNK))
    sums = np.zeros((halves, words), np.int64)
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        size = part.size
        expand.update_into(zeros[: 2 * words * size], buffer)
        weights[:, :size] = np.frombuffer(buffer, "<u2", words * size).reshape(words, size)
        for half in range(halves - 1):
            limbs[half, :size] = part >> 16 * half & 0xFFFF
        limbs[-1, :size] = part >> bits - 16  # the highest one has the sign
        sums += (limbs[:, :size] @ weights[:, :size].T).astype(np.int64)  # at most 2^14 products below 2^32: exact in a float's 53 bits
    return sum(int(sums[row, column]) << 16 * (row + column) for row in range(halves) for column in range(words)) % MODULI[bits]


def _hashes(key: bytes, layout: Layout, integers: Arrays) -> dict[int, int]:
    """Return the weighted sum of all tensors of up to 32 bits, and that of all tensors of 64."""
    found = dict.fromkeys(MODULI, 0)
    weights = keys.derived(key, "", "weights")
    for number, term in enumerate(layout):
        bits = max(term.bits, 32)
        found[bits] = (found[bits] + weighted(weights, number, integers[term.name], bits)) % MODULI[bits]
    return found


def _pad(key: bytes, site: str, bits: int) -> int:
    return int.from_bytes(keys.derived(key, "", f"pad {bits}", site), "big") % MODULI[bits]


def _written(values: Mapping[int, int]) -> np.ndarray:
    return np.array([values[bits] >> 32 * limb & 0xFFFFFFFF for bits in MODULI for limb in range(_LIMBS[bits])], dtype=np.uint64)


def _read(total: Sequence[int]) -> dict[int, int]:
    low, high = total[: _LIMBS[32]], total[_LIMBS[32] :]
    return {bits: sum(int(one) << 32 * limb for limb, one in enumerate(limbs)) for bits, limbs in zip(MODULI, (low, high), strict=True)}
