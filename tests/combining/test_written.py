"""Fewer bits a number: what is written comes back as the term's integers, in any order, and nothing else is let in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wardround.combining.fixedpoint import check_total, decode, encode, packed, unpack
from wardround.combining.written import OutOfBounds, half_bytes, read, spec_of, whole_bytes, written
from wardround.study.arrays import from_bytes, specs_of, to_bytes
from wardround.study.files import LARGE, Kept
from wardround.study.layout import Bits, Term, Wire

HALVES = Term("x", (3, 3), 8, 7.0, 1.0, wire="int4")
FLOATS: tuple[Wire, ...] = ("float16", "bfloat16")
LIMITS = st.floats(1e-9, 1e12)


def floats(wire: Wire, limit: float = 100.0, shape: tuple[int, ...] = (4,), bits: Bits = 32, sites: int = 5) -> Term:
    return replace(Term.sized("x", shape, limit, sites, bits=bits), wire=wire)


@given(hnp.arrays(np.int8, st.integers(0, 40), elements=st.integers(-7, 7)))
def test_half_bytes_come_back_and_take_half(integers: np.ndarray) -> None:
    term = Term("x", integers.shape, 16, 7.0, 1.0, wire="int4")
    halves = half_bytes(integers)
    assert (halves.dtype, halves.shape) == spec_of(term)
    found = whole_bytes(term, halves)
    assert found.dtype == np.int16 and np.array_equal(found, integers)


def test_a_half_byte_holds_two_numbers_the_lower_half_first() -> None:
    assert written(HALVES, np.array([[1.0, -1, 7], [-7, 0, 2], [3, 4, -5]])).tolist() == [0xF1, 0x97, 0x20, 0x43, 0x0B]


@pytest.mark.parametrize(("halves", "why"), [([0x88, 0, 0, 0, 0], "beyond its limit"), ([0, 0, 0, 0, 0x10], "another number behind")])
def test_half_bytes_that_no_honest_site_writes_are_refused(halves: list[int], why: str) -> None:
    with pytest.raises(OutOfBounds, match=why):
        read(HALVES, np.array(halves, np.uint8), 1.0)


@given(st.data(), LIMITS, st.sampled_from(FLOATS), st.sampled_from((16, 32, 64)))
def test_floats_become_integers_that_add_in_any_order(data: st.DataObject, limit: float, wire: Wire, bits: Bits) -> None:
    term = floats(wire, limit, bits=bits)
    values = [data.draw(hnp.arrays(np.float64, 4, elements=st.floats(-limit, limit))) for _ in range(5)]
    found = [unpack((term,), packed((term,), {"x": value}))["x"] for value in values]
    assert all(one.dtype == np.dtype(f"int{bits}") for one in found)
    order = data.draw(st.permutations(range(5)))
    total = np.sum(found, axis=0, dtype=term.total_type(5))
    assert np.array_equal(total, np.sum([found[place] for place in order], axis=0, dtype=term.total_type(5)))
    assert np.array_equal(total.astype(object), np.sum([one.astype(object) for one in found], axis=0)), "nothing wraps"
    check_total((term,), {"x": total}, 5)
    rounding = 2.0**-11 if wire == "float16" else 2.0**-8 * (1 + 2.0**-16)
    for one, value in zip(found, values, strict=True):
        close = np.abs(value) * rounding + np.asarray(term.step) / 2 + limit * 2.0**-38
        assert np.all(np.abs(decode(term, one) - value) <= close)


@pytest.mark.parametrize("wire", FLOATS)
def test_two_bytes_a_number(wire: Wire) -> None:
    assert written(floats(wire), np.ones(4)).nbytes == 8


def test_bfloat16_is_the_upper_half_of_a_float_to_the_nearest_and_ties_to_even() -> None:
    term = Term("x", (5,), 32, 2.0**14, 1.0, wire="bfloat16")  # of this limit the scale is one
    value = np.array([1.0, 1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, -2.5])
    assert [f"{one:04x}" for one in written(term, value)] == ["3f80", "3f80", "3f82", "3f81", "c020"]


@pytest.mark.parametrize("wire", FLOATS)
@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00, 0x7D01, 0x7F80, 0xFF80, 0x7FC0, 0x7F81])
def test_what_is_not_finite_or_too_large_is_refused(wire: Wire, bits: int) -> None:
    term = floats(wire)
    kind = np.float16 if wire == "float16" else np.uint16
    with pytest.raises(OutOfBounds, match=r"not finite|beyond its limit"):
        read(term, np.array([0, 0, 0, bits], np.uint16).view(kind), 1.0)


@given(st.floats(0.001, 1), LIMITS, st.sampled_from(FLOATS))
def test_who_is_at_the_limit_is_let_in_and_who_is_beyond_is_not(share: float, limit: float, wire: Wire) -> None:
    layout = (Term.count("n", (), 1000, 3), replace(floats(wire, limit, sites=3), per="n"))
    most = np.rint(share * 1000) / 1000 * limit
    full = packed(layout, {"n": np.asarray(np.rint(share * 1000)), "x": np.full(4, most)})
    assert np.all(unpack(layout, full)["x"] >= 0)
    arrays = {"n": np.asarray(np.rint(share * 1000), np.int32), "x": written(layout[1], np.full(4, most * (1 + 2.0**-6)))}
    with pytest.raises(OutOfBounds, match="beyond its limit"):
        unpack(layout, to_bytes(arrays))


@given(st.sampled_from((8, 16)), st.integers(1, 60), LIMITS)
def test_short_integers_hold_every_total_of_the_sites_they_are_made_for(bits: Bits, sites: int, limit: float) -> None:
    term = Term.sized("x", (2,), limit, sites, bits=bits)
    one = encode(term, np.array([limit, -limit]))
    assert one.dtype == np.dtype(f"int{bits}")
    assert np.all(np.abs(sites * one.astype(int)) < 2 ** (bits - 1))
    assert term.total_type(sites) is (np.int8 if bits == 8 else np.int16)
    check_total((term,), {"x": (sites * one.astype(int)).astype(one.dtype)}, sites)


def test_a_total_of_half_bytes_takes_more_bits_where_many_add_up() -> None:
    assert [HALVES.total_type(sites) for sites in (1, 18, 19, 5000)] == [np.int8, np.int8, np.int16, np.int32]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wire": "int4", "limit": 7.5}, "more than 7 steps"),
        ({"bits": 8, "limit": 127.5}, "more than 127 steps"),
        ({"bits": 16, "limit": 1e9}, "more than 32767 steps"),
        ({"kind": "count", "wire": "float16"}, "is a count"),
    ],
)
def test_a_term_that_could_not_hold_what_it_allows_cannot_be_made(change: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(Term("x", (), 32, 1.0, 1.0), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"bits": 7}, {"bits": "8"}, {"wire": "int3"}])
def test_a_term_of_no_known_kind_is_not_read(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="none that is known"):
        Term.described({**floats("float16").describe(), **change})


def test_an_old_layout_is_described_as_ever() -> None:
    assert "wire" not in Term.sized("x", (), 1.0, 3).describe()
    assert Term.described(floats("bfloat16").describe()).wire == "bfloat16"


@pytest.mark.parametrize("wire", ["int4", *FLOATS])
def test_large_sums_are_written_and_read_block_by_block(wire: Wire, tmp_path: Path) -> None:
    size = (LARGE * 2 if wire == "int4" else LARGE // 2) + 3
    made = replace(Term("x", (size,), 8, 7.0, 1.0), wire=wire, bits=8 if wire == "int4" else 32)
    value = np.random.default_rng(0).integers(-7, 8, size).astype(np.float32)
    body = packed((made,), {"x": value}, tmp_path)
    assert isinstance(body, Kept) and specs_of(from_bytes(body))["x"] == spec_of(made)
    assert len(body) < size * (0.51 if wire == "int4" else 2.01)
    assert np.array_equal(unpack((made,), body)["x"], value.astype(int))
    value[-1] = np.nan
    with pytest.raises(OutOfBounds, match="not finite"):
        packed((made,), {"x": value}, tmp_path)
