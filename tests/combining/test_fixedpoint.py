from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wardround.combining.fixedpoint import check_total, decode, encode, packed, share_of, unpack
from wardround.combining.written import OutOfBounds
from wardround.study.arrays import from_bytes, to_bytes
from wardround.study.errors import VerificationError
from wardround.study.files import Kept
from wardround.study.layout import Layout, Term, finest_step

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


def test_a_large_tensor_is_encoded_to_the_same_integers_and_refused_for_the_same_reasons(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(0, 1, (3, 1_000_001)).astype(np.float32)
    term = Term.sized("w", values.shape, 16.0, 10)
    kept = packed((term,), {"w": values}, tmp_path)
    assert isinstance(kept, Kept)
    assert np.array_equal(from_bytes(kept)["w"], encode(term, values))
    for bad, reason in ((17.0, "beyond"), (np.nan, "not finite"), (-np.inf, "not finite")):
        values[-1, -1] = bad
        with pytest.raises(OutOfBounds, match=reason):
            packed((term,), {"w": values}, tmp_path)
    with pytest.raises(OutOfBounds, match="shape"):
        packed((term,), {"w": values.T}, tmp_path)


# totals


def total_of(layout: Layout, answers: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return what honest sites' sums come to, each let out by its gate."""
    found = [{term.name: encode(term, one[term.name], share_of(layout, term, one)) for term in layout} for one in answers]
    return {term.name: np.asarray(np.sum([one[term.name] for one in found], axis=0, dtype=np.int64)) for term in layout}


@given(
    st.lists(st.integers(0, 997), min_size=3, max_size=50),
    st.floats(1e-6, 1e6),
    st.sampled_from([32, 64]),
    st.sampled_from([1.0, -1.0]),
    st.sampled_from([1.0, 0.999999, 0.0]),
)
@example([128, 555, 387], 4.97, 64, 1.0, 1.0)
@example([603, 980, 13], 0.97, 64, -1.0, 1.0)
def test_a_total_of_honest_sites_passes_also_where_each_is_at_its_limit(
    examples: list[int], limit: float, bits: Literal[32, 64], sign: float, part: float
) -> None:
    layout = (
        Term.count("examples", (), 997, 50),
        Term.sized("update/w", (2,), 997 * limit, 50, bits=bits, per="examples"),
        Term.sized("loss", (), limit, 50, bits=bits),
        Term.sized("sum", (2,), np.array([limit, 3 * limit]), 50, bits=bits),
    )
    answers = []
    for count in examples:
        most = count / 997 * (997 * limit) * part  # as `share_of` gives it
        update, loss = np.array([sign * most, 0]), np.asarray(sign * limit * part)
        answers.append({"examples": np.asarray(count), "update/w": update, "loss": loss, "sum": sign * part * np.array([limit, 3 * limit])})
    check_total(layout, total_of(layout, answers), len(examples))


@pytest.mark.parametrize("count", [2, 3, 49, 50])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_total_passes_where_every_site_rounds_up_by_half(count: int, bits: Literal[32, 64]) -> None:
    term = Term("x", (), bits, 3.5, 1.0)
    for sign in (1, -1):
        total = total_of((term,), [{"x": np.asarray(3.5 * sign)}] * count)
        assert abs(int(total["x"])) == 4 * count
        check_total((term,), total, count)
        with pytest.raises(OutOfBounds, match=f"^the total of x is beyond what {count} sites may send together"):
            check_total((term,), {"x": total["x"] + sign}, count)


@pytest.mark.parametrize("count", [1, 3, 50])
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("limit", [1.0, 0.7, np.array([1.0, 0.7])])
def test_a_total_beyond_what_so_many_sites_may_send_is_refused(count: int, bits: Literal[32, 64], limit: float | np.ndarray) -> None:
    term = Term.sized("x", (2,), limit, 50, bits=bits)
    full = total_of((term,), [{"x": np.broadcast_to(limit, (2,))}] * count)["x"]
    check_total((term,), {"x": full}, count)
    for beyond in (full + np.array([0, count + full[1] // 10**6]), -full - np.array([0, count + full[1] // 10**6])):
        with pytest.raises(OutOfBounds):
            check_total((term,), {"x": beyond}, count)
    if count > 1:
        with pytest.raises(OutOfBounds):
            check_total((term,), {"x": full}, count - 1)


def test_a_total_of_a_mean_is_bounded_by_the_examples_in_it() -> None:
    layout = (Term.count("examples", (), 1000, 50), Term.sized("update/w", (1,), 1000 * 0.01, 50, per="examples"))
    full = total_of(layout, [{"examples": np.asarray(60), "update/w": np.array([0.6])}] * 5)
    check_total(layout, full, 5)
    for examples, fine in ((300, True), (299, False), (5000, True), (0, False)):
        total = {**full, "examples": np.asarray(examples)}
        if fine:
            check_total(layout, total, 5)
        else:
            with pytest.raises(OutOfBounds, match="update/w"):
                check_total(layout, total, 5)


@pytest.mark.parametrize("counts", [[0, -1], [0, 31]])
def test_a_total_of_counts_is_neither_negative_nor_more_than_all_may_have(counts: list[int]) -> None:
    term = Term.count("n", (2,), 10, 5)
    check_total((term,), {"n": np.array([0, 30])}, 3)
    with pytest.raises(OutOfBounds):
        check_total((term,), {"n": np.array(counts)}, 3)
