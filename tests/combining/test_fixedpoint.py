from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wardround.combining.fixedpoint import OutOfBounds, decode, encode, share_of, unpack
from wardround.study.arrays import to_bytes
from wardround.study.errors import VerificationError
from wardround.study.layout import Term, finest_step

LIMITS = st.floats(1e-6, 1e9)


@given(LIMITS, st.integers(1, 10_000), st.sampled_from([32, 64]), st.floats(0, 1e6))
def test_the_step_is_the_finest_that_cannot_overflow(limit: float, sites: int, bits: int, noise: float) -> None:
    step = float(finest_step(limit, sites, bits, noise))
    total = sites * limit + 12 * noise
    assert total + sites * step / 2 <= 2.0 ** (bits - 1) * step  # each site may round up by half a step
    finer = step / 2
    assert total + sites * finer > 2.0 ** (bits - 1) * finer * (1 - 2.0**-40)
    assert np.frexp(step)[0] == 0.5


@given(st.data(), LIMITS, st.sampled_from([32, 64]))
def test_sums_are_exact_in_any_order(data: st.DataObject, limit: float, bits: int) -> None:
    term = Term.sized("x", (3,), limit, 5, bits=32 if bits == 32 else 64)
    values = [data.draw(hnp.arrays(np.float64, 3, elements=st.floats(-limit, limit))) for _ in range(5)]
    integers = [encode(term, value).astype(np.int64) for value in values]
    order = data.draw(st.permutations(range(5)))
    total = np.sum(integers, axis=0)
    assert np.array_equal(total, np.sum([integers[k] for k in order], axis=0))
    assert np.all(np.abs(total) < 2 ** (bits - 1))
    assert np.all(np.abs(decode(term, total) - np.sum(values, axis=0)) <= 5 * (float(term.step) / 2 + limit * 2e-16))


@given(hnp.arrays(np.float32, 4, elements=st.floats(-16, 16, width=32)))
def test_what_fits_the_step_comes_back_bit_for_bit(value: np.ndarray) -> None:
    term = Term.sized("x", (4,), 16.0, 1, bits=64)
    kept = np.where(np.abs(value) < 2**-30, 0, value)
    assert np.array_equal(decode(term, encode(term, kept)), kept.astype(np.float64))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 16.1, -16.1, 1e30])
def test_what_is_not_finite_or_too_large_is_refused(bad: float) -> None:
    term = Term.sized("x", (2,), 16.0, 3)
    with pytest.raises(OutOfBounds):
        encode(term, np.array([0.0, bad]))


def test_a_limit_just_under_a_power_of_two_cannot_overflow() -> None:
    for bits in (32, 64):
        term = Term.sized("x", (1,), float(np.nextafter(1.0, 0)), 3, bits=32 if bits == 32 else 64)
        one = encode(term, np.array([np.nextafter(1.0, 0)])).astype(object)
        assert 0 < 3 * one[0] < 2 ** (bits - 1)


@pytest.mark.parametrize("bad", [-1.0, 0.5])
def test_a_count_is_a_whole_number_of_things(bad: float) -> None:
    term = Term.count("n", (), 10, 3)
    with pytest.raises(OutOfBounds, match="count"):
        encode(term, np.asarray(bad))
    with pytest.raises(OutOfBounds, match="negative"):
        unpack((term,), to_bytes({"n": np.asarray(-1, dtype=np.int32)}))


def test_limits_are_held_per_element() -> None:
    term = Term.sized("x", (2,), np.array([1.0, 100.0]), 3, bits=64)
    encode(term, np.array([1.0, 99.0]))
    with pytest.raises(OutOfBounds):
        encode(term, np.array([99.0, 1.0]))


def test_a_body_is_held_against_its_layout() -> None:
    layout = (Term.sized("x", (2,), 1.0, 3), Term.count("n", (), 10, 3))
    good = {term.name: encode(term, np.ones(term.shape)) for term in layout}
    assert np.array_equal(unpack(layout, to_bytes(good))["x"], good["x"])
    bad = [
        {"x": good["x"]},
        {**good, "y": good["x"]},
        {**good, "x": good["x"].astype(np.int64)},
        {**good, "x": good["x"][:1]},
        {**good, "n": np.asarray(11, dtype=np.int32)},
        {**good, "x": good["x"] * 2 + 9},
    ]
    for body in bad:
        with pytest.raises(OutOfBounds):
            unpack(layout, to_bytes(body))
    for noise in (b"", b"\xff" * 40, to_bytes(good)[:-1]):
        with pytest.raises(VerificationError):
            unpack(layout, noise)


def test_a_site_with_few_examples_has_a_small_share_of_the_limit() -> None:
    """`bounds.update` bounds the change that each site proposes, whatever its size."""
    layout = (Term.count("examples", (), 1000, 3), Term.sized("update/w", (1,), 1000 * 0.01, 3, per="examples"))
    for examples, change, fine in ((50, 0.0099, True), (50, 0.011, False), (1000, 0.0099, True), (0, 0.0, True), (0, 0.001, False)):
        sums = {"examples": np.asarray(examples), "update/w": np.array([max(examples, 1) * change])}
        share = share_of(layout, layout[1], sums)
        body = {"examples": encode(layout[0], sums["examples"]), "update/w": np.rint(sums["update/w"] / layout[1].step).astype(np.int32)}
        if fine:
            assert np.array_equal(encode(layout[1], sums["update/w"], share), body["update/w"])
            unpack(layout, to_bytes(body))
        else:
            with pytest.raises(OutOfBounds):
                encode(layout[1], sums["update/w"], share)
            with pytest.raises(OutOfBounds):
                unpack(layout, to_bytes(body))
