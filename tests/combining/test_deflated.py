"""Deflated bodies and totals: shorter, whole or refused, and never larger in memory than what was asked for."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.combining.deflated import MARK, deflated, inflated, published, total_of
from wardround.combining.fixedpoint import packed, unpack
from wardround.combining.written import OutOfBounds
from wardround.record.commitment import commit
from wardround.study.arrays import Arrays, Specs, from_bytes, length_of, metadata_of, specs_of, to_bytes
from wardround.study.errors import VerificationError
from wardround.study.files import LARGE, Kept
from wardround.study.layout import Layout, Term

LAYOUT: Layout = (Term.count("n", (), 500, 10), Term("x", (3000,), 8, 7.0, 1.0, wire="int4"), Term.sized("h", (50,), 500.0, 10))
SPECS: Specs = {"n": (np.dtype(np.int32), ()), "x": (np.dtype(np.int8), (3000,)), "h": (np.dtype(np.int32), (50,))}


def sums(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"n": np.asarray(300.0), "x": np.clip(np.rint(rng.normal(0, 1.5, 3000)), -7, 7), "h": np.rint(rng.random(50) * 9)}


def bomb(size: int) -> bytes:
    return to_bytes({MARK: np.frombuffer(zlib.compress(bytes(size), 9), np.uint8)}, MARK)


def test_what_is_near_zero_gets_shorter_and_comes_back() -> None:
    body = packed(LAYOUT, sums())
    assert isinstance(body, bytes) and metadata_of(body) == MARK
    assert len(body) < 1500, "less than the half bytes of one term alone"
    found = unpack(LAYOUT, body)
    assert specs_of(found) == SPECS
    assert np.array_equal(found["x"], sums()["x"])


def test_what_will_be_masked_is_neither_deflated_nor_in_half_bytes() -> None:
    body = packed(LAYOUT, sums(), brief=False)
    assert specs_of(from_bytes(body)) == SPECS


def test_a_layout_of_long_integers_travels_as_ever() -> None:
    layout = (LAYOUT[0], LAYOUT[2])
    body = packed(layout, {name: sums()[name] for name in "nh"})
    assert isinstance(body, bytes) and metadata_of(body) == ""
    with pytest.raises(OutOfBounds):
        unpack(layout, deflated(body + bytes(10_000)))


@settings(max_examples=60)
@given(st.data())
def test_any_flipped_bit_is_another_commitment_and_read_only_within_bounds(data: st.DataObject) -> None:
    body, salt = packed(LAYOUT, sums()), bytes(32)
    assert isinstance(body, bytes)
    place = data.draw(st.integers(0, len(body) * 8 - 1))
    other = bytearray(body)
    other[place // 8] ^= 1 << place % 8
    assert commit(salt, bytes(other)) != commit(salt, body)
    try:
        found = unpack(LAYOUT, bytes(other))
    except VerificationError:
        return
    assert specs_of(found) == SPECS and np.all(np.abs(found["x"]) <= 7)


@pytest.mark.parametrize("cut", [1, 4, 5, 200])
def test_half_a_body_is_refused(cut: int) -> None:
    body = packed(LAYOUT, sums())
    raw = from_bytes(body)[MARK]
    with pytest.raises(OutOfBounds, match="not whole"):
        unpack(LAYOUT, to_bytes({MARK: raw[:-cut]}, MARK))


def test_more_behind_the_end_is_refused() -> None:
    raw = from_bytes(packed(LAYOUT, sums()))[MARK]
    with pytest.raises(OutOfBounds, match="not whole"):
        unpack(LAYOUT, to_bytes({MARK: np.append(raw, np.uint8(0))}, MARK))


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    made = bomb(100 * 2**20)
    (tmp_path / "body").write_bytes(made)
    for body in (made, Kept(tmp_path / "body")):
        tracemalloc.start()
        with pytest.raises(OutOfBounds, match="longer than what was asked for"):
            unpack(LAYOUT, body)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
        tracemalloc.stop()


def test_a_bomb_within_a_bomb_is_no_body() -> None:
    with pytest.raises(VerificationError):
        unpack(LAYOUT, to_bytes({MARK: np.frombuffer(zlib.compress(bomb(1000)), np.uint8)}, MARK))


@pytest.mark.parametrize(
    "arrays",
    [{MARK: np.zeros(4, np.uint8), "more": np.zeros(1)}, {MARK: np.zeros(4, np.int8)}, {"x": np.zeros(4, np.uint8)}, {}],
)
def test_a_mark_on_something_else_is_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(VerificationError):
        inflated(to_bytes(arrays, MARK), 10_000)


def test_what_cannot_be_made_shorter_stays() -> None:
    noise = to_bytes({"x": np.random.default_rng(0).integers(0, 256, 500, np.uint8)})
    assert deflated(noise) == noise


def test_large_layouts_are_never_deflated() -> None:
    with pytest.raises(OutOfBounds):
        inflated(bomb(100), LARGE + 1)


@given(st.integers(0, 2**32), st.integers(1, 10))
def test_a_published_total_comes_back_in_its_own_types(seed: int, sites: int) -> None:
    rng = np.random.default_rng(seed)
    total: Arrays = {
        "n": np.asarray(rng.integers(0, 5000), np.int32),
        "x": rng.integers(-7 * sites, 7 * sites, 3000).astype(np.int8),
        "h": rng.integers(-(2**31), 2**31, 50).astype(np.int32) >> int(rng.integers(0, 31)),
    }
    data = published(LAYOUT, total)
    assert data is not None and len(data) <= len(to_bytes(total))
    found = total_of(data, SPECS)
    assert to_bytes(found) == to_bytes(total)
    assert to_bytes(total_of(to_bytes(total), SPECS)) == to_bytes(total), "or as it is"


def test_what_a_rule_made_of_a_total_is_published_as_it_is() -> None:
    total = {"n": np.asarray(5, np.int32), "x": np.full(3000, 0.25), "h": np.zeros(50, np.int32)}
    data = published(LAYOUT, total)
    assert data is not None
    assert np.array_equal(from_bytes(inflated(data, 10**6))["x"], total["x"])


def test_a_total_of_long_integers_is_published_as_it_is() -> None:
    assert published((LAYOUT[0],), {"n": np.asarray(1, np.int32)}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"n": None}, {"more": np.zeros(1, np.int8)}, {"x": np.zeros(2999, np.int8)}, {"x": np.zeros(3000, np.int16)},
        {"x": np.zeros(3000, np.uint8)}, {"h": np.zeros(50, np.float32)},
    ],
)  # fmt: skip
def test_a_published_total_of_another_form_is_refused(change: dict[str, np.ndarray | None]) -> None:
    total = {name: np.zeros(shape, kind) for name, (kind, shape) in SPECS.items()} | change
    with pytest.raises(OutOfBounds):
        total_of(to_bytes({name: value for name, value in total.items() if value is not None}), SPECS)


def test_a_length_is_known_before_anything_is_made() -> None:
    cases: tuple[Arrays, ...] = ({}, {"x": np.zeros((3, 5), np.int8), "é": np.zeros((), np.float64)})
    for arrays in cases:
        assert length_of(specs_of(arrays), "about") == len(to_bytes(arrays, "about"))
