from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.combining.secure.masks import BLOCK, Mask, add, stream

KINDS = ("u1", "u2", "u4", "u8")
KEYS = [bytes([number]) * 32 for number in range(6)]


def numbers(shape: int | tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


def readable(masks: list[Mask], tensor: int, values: np.ndarray) -> np.ndarray:
    """Return what `add` must make, one integer of any size at a time."""
    total = [int(value) for value in values.reshape(-1)]
    for mask in masks:
        expanded = stream(mask.key, tensor, values.nbytes)
        for place in range(values.size):
            total[place] += mask.sign * int.from_bytes(expanded[place * values.itemsize : (place + 1) * values.itemsize], "little")
    return np.array([value % 2 ** (8 * values.itemsize) for value in total], values.dtype).reshape(values.shape)


@given(
    st.sampled_from(KINDS), st.integers(0, 70), st.integers(0, 2**40), st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([1, -1])))
)
def test_the_fast_way_and_its_readable_twin_agree(kind: str, size: int, tensor: int, drawn: list[tuple[bytes, int]]) -> None:
    masks = [Mask(*one) for one in drawn]
    values = numbers(size, kind)
    expected = readable(masks, tensor, values)
    add(masks, tensor, values)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beyond", [-3, -1, 0, 1, 3, BLOCK // 8])
def test_blocks_join_without_a_seam(kind: str, beyond: int) -> None:
    size = 2 * BLOCK // np.dtype(kind).itemsize + beyond
    values = numbers(size, kind)
    whole = [np.frombuffer(stream(key, 7, values.nbytes), kind) for key in KEYS[:2]]
    expected = values + whole[0] - whole[1]
    add([Mask(KEYS[0], 1), Mask(KEYS[1], -1)], 7, values)
    np.testing.assert_array_equal(values, expected)


def test_the_stream_is_aes_256_over_counted_blocks() -> None:
    ecb = Cipher(AES(KEYS[3]), ECB()).encryptor()
    blocks = b"".join((5).to_bytes(8, "big") + count.to_bytes(8, "big") for count in range(300))
    assert stream(KEYS[3], 5, 4793) == ecb.update(blocks)[:4793]


@settings(max_examples=25)
@given(st.sampled_from(KINDS), st.integers(2, 6), st.lists(st.integers(0, 4), max_size=3).map(tuple))
def test_the_masks_of_all_pairs_cancel(kind: str, sites: int, shape: tuple[int, ...]) -> None:
    plain = [numbers(shape, kind, site) for site in range(sites)]
    hidden = [values.copy() for values in plain]
    for number, (one, other) in enumerate(combinations(range(sites), 2)):
        key = number.to_bytes(32, "big")
        add([Mask(key, 1)], 2, hidden[one])
        add([Mask(key, -1)], 2, hidden[other])
    np.testing.assert_array_equal(np.sum(hidden, axis=0, dtype=kind), np.sum(plain, axis=0, dtype=kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), ()])
def test_empty_and_single_tensors_keep_their_shape(kind: str, shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, kind)
    add([Mask(KEYS[0], 1)], 0, values)
    assert values.shape == shape
    np.testing.assert_array_equal(values, readable([Mask(KEYS[0], 1)], 0, np.zeros(shape, kind)))


def test_no_mask_changes_nothing() -> None:
    values = numbers(5, "u4")
    before = values.copy()
    add([], 0, values)
    np.testing.assert_array_equal(values, before)


def test_every_tensor_and_every_key_has_its_own_stream() -> None:
    streams = [stream(key, tensor, 64) for key in KEYS for tensor in (0, 1, 2**32, 2**63)]
    chunks = [one[place : place + 16] for one in streams for place in range(0, 64, 16)]
    assert len(set(chunks)) == len(chunks)


def test_a_masked_zero_looks_like_noise() -> None:
    values = np.zeros(200_000, "u4")
    add([Mask(KEYS[1], 1)], 0, values)
    ones = np.unpackbits(values.view("u1")).mean()
    assert abs(ones - 0.5) < 0.001 and len(np.unique(values)) > 199_900


def test_a_mask_does_not_show_its_key() -> None:
    assert KEYS[1].hex() not in repr(Mask(KEYS[1], 1)) and repr(KEYS[1]) not in repr(Mask(KEYS[1], 1))
