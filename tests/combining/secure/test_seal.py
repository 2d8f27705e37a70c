"""Seals of totals: exact, additive, and false for any total but the true one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.combining.secure.masks import stream
from wardround.combining.secure.seal import CHUNK, MODULI, fits, seal, weighted
from wardround.study.layout import Term

KEY = bytes(range(32))
GOLDEN = {32: 1315727433739285436, 64: 70230134695388653126010037994223055801}
KINDS: dict[int, Any] = {32: np.int32, 64: np.int64}


def by_definition(key: bytes, tensor: int, values: np.ndarray, bits: int) -> int:
    """Return the weighted sum in whole numbers: in each chunk the stream holds the lowest 16 bits of all weights, then the next."""
    words, flat, total, at = bits // 8, [int(one) for one in values.reshape(-1)], 0, 0
    data = stream(key, tensor, 2 * words * len(flat))
    for start in range(0, len(flat), CHUNK):
        part = flat[start : start + CHUNK]
        for word in range(words):
            for value in part:
                total += int.from_bytes(data[at : at + 2], "little") * value << 16 * word
                at += 2
    return total % MODULI[bits]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("size", [0, 1, 5, CHUNK - 1, CHUNK, CHUNK + 3])
def test_the_fast_way_and_the_definition_agree(bits: int, size: int) -> None:
    values = np.random.default_rng(size).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), size, KINDS[bits])
    assert weighted(KEY, 3, values, bits) == by_definition(KEY, 3, values, bits)


@pytest.mark.parametrize("bits", [32, 64])
def test_extremes_are_exact(bits: int) -> None:
    values = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] * (CHUNK // 2), KINDS[bits])
    assert weighted(KEY, 0, values, bits) == by_definition(KEY, 0, values, bits)


def test_a_golden_value_stays() -> None:
    assert weighted(KEY, 1, np.arange(-4, 5, dtype=np.int32), 32) == GOLDEN[32]
    assert weighted(KEY, 1, np.arange(-4, 5, dtype=np.int64), 64) == GOLDEN[64]


@given(
    st.lists(st.lists(st.integers(-(2**26), 2**26), min_size=3, max_size=3), min_size=2, max_size=6), st.integers(0, 2), st.integers(1, 99)
)
def test_seals_add_up_and_an_altered_total_does_not_fit(rows: list[list[int]], place: int, change: int) -> None:
    layout = (
        Term("a", (3,), 32, 2.0**30, 1.0),
        Term("b", (3,), 64, 2.0**40, 1.0),
        Term("c", (3,), 8, 19.0, 1.0),
        Term("d", (3,), 16, 1000.0, 1.0),
    )
    sites = [f"site{number}" for number in range(len(rows))]
    said: list[dict[str, np.ndarray]] = [
        {
            "a": np.array(row, np.int32),
            "b": np.array(row, np.int64) * 7,
            "c": (np.array(row) % 19).astype(np.int8),
            "d": (np.array(row) % 1000).astype(np.int16),
        }
        for row in rows
    ]
    sealed = np.sum([seal(KEY, site, layout, one) for site, one in zip(sites, said, strict=True)], axis=0)
    written = [f"{int(one):x}" for one in sealed]
    total = {name: np.sum([one[name] for one in said], axis=0, dtype=said[0][name].dtype) for name in "abcd"}
    assert fits(KEY, sites, layout, total, written)
    assert not fits(KEY, sites[1:], layout, total, written)
    for name in total:
        altered = {**total, name: total[name].copy()}
        altered[name][place] -= min(change, 9)  # within the type, as a coordinator would
        assert not fits(KEY, sites, layout, altered, written)
