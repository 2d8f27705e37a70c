"""Codecs on plain arrays: what adds up, what is kept back, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.combining.codecs.bfloat16 import BFloat16
from wardround.combining.codecs.flat import Flat
from wardround.combining.codecs.float16 import Float16
from wardround.combining.codecs.quantised import Quantised
from wardround.combining.codecs.scale import BINS, LEVELS, rounded, sizes, steps
from wardround.combining.codecs.topk import TopK
from wardround.combining.fixedpoint import decode, packed, unpack
from wardround.study.coding import Codec, Coding
from wardround.study.layout import Term
from wardround.study.plugins import names
from wardround.study.streams import Stream

Sums = dict[str, np.ndarray]
SITES, LIMIT = 6, 4000.0
TERMS = (Term.sized("update/b", (3,), LIMIT, SITES), Term.sized("update/w", (5, 9), LIMIT, SITES))
ADDING: list[Codec] = [Quantised(), Quantised(8), TopK(0.5, 8), TopK(0.3, 8, 8)]


def sums_of(seed: int, scale: float = 1.0) -> Sums:
    rng = np.random.default_rng(seed)
    return {term.name: scale * rng.normal(size=term.shape) for term in TERMS}


def played(codec: Codec, given_sums: list[list[Sums]], hides: bool) -> tuple[list[Mapping[str, np.ndarray]], list[Sums]]:
    """Return what each round was decoded to, and each site's rest at the end; every message goes through its bytes."""
    coding = Coding(TERMS, SITES, hides, 0)
    public, rests = codec.begin(coding), [dict[str, np.ndarray]() for _ in given_sums[0]]
    found = []
    for number, one_round in enumerate(given_sums):
        coding = replace(coding, round=number)
        layout = codec.layout(coding)
        total = {term.name: np.zeros(term.shape, term.total_type(SITES)) for term in layout}
        for site, own in enumerate(one_round):
            small, rest = codec.encode(coding, public, own, rests[site], Stream.public(number).child(site))
            assert (rest is None) == (number == 0)
            rests[site] = dict(rest or {})
            for name, value in unpack(layout, packed(layout, small)).items():
                total[name] += value
        decoded, public = codec.decode(coding, public, {term.name: decode(term, total[term.name]) for term in layout})
        found.append(decoded)
    return found, rests


@pytest.mark.parametrize("codec", ADDING, ids=repr)
@pytest.mark.parametrize("hides", [False, True])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scales=st.lists(st.floats(1e-3, 100), min_size=1, max_size=SITES))
def test_what_was_sent_and_what_is_left_are_all_that_there_was(codec: Codec, hides: bool, seed: int, scales: list[float]) -> None:
    rounds = [[sums_of(seed + 10 * number + site, scale) for site, scale in enumerate(scales)] for number in range(6)]
    decoded, rests = played(codec, rounds, hides)
    assert all(not value.any() for value in decoded[0].values())  # the first round asks for scales alone
    for term in TERMS:
        given_in = sum(one[term.name] for own in rounds[1:] for one in own)
        came_out = sum(one[term.name] for one in decoded) + sum(rest[term.name] for rest in rests)
        np.testing.assert_allclose(came_out, given_in, rtol=0, atol=1e-4 * max(scales))


@pytest.mark.parametrize("codec", ADDING, ids=repr)
def test_the_rest_stays_as_small_as_what_was_sent(codec: Codec) -> None:
    rounds = [[sums_of(number * 31 + site, site + 1.0) for site in range(5)] for number in range(60)]
    _, rests = played(codec, rounds, hides=False)
    few = 0.05 if getattr(codec, "bits", 4) == 8 and isinstance(codec, Quantised) else 0.5 if isinstance(codec, Quantised) else 6.0
    for site, rest in enumerate(rests):
        assert all(np.sqrt(np.mean(np.square(value))) < few * (5 if isinstance(codec, Quantised) else site + 1) for value in rest.values())


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize(("sites", "bits"), [(18, 8), (19, 16), (4681, 16), (4682, 32)])
def test_four_bits_take_eight_together_with_up_to_eighteen_sites(sites: int, bits: int, hides: bool) -> None:
    values = Quantised().layout(Coding(TERMS, sites, hides, 1))[-1]
    assert (values.bits if hides else 8 * np.dtype(values.total_type(sites)).itemsize) == bits
    assert (values.wire, values.limit) == ("" if hides else "int4", 7) and sites * 7 < 2 ** (bits - 1)


def test_at_a_byte_a_site_sends_a_byte_and_the_total_is_wider() -> None:
    plain = Quantised(8).layout(Coding(TERMS, SITES, False, 1))[-1]
    assert (plain.bits, plain.total_type(SITES)) == (8, np.int16)
    assert Quantised(8).layout(Coding(TERMS, SITES, True, 1))[-1].bits == 16


@given(seed=st.integers(0, 10**6), exponents=st.lists(st.integers(-30, 20), min_size=2, max_size=6))
def test_the_step_follows_the_largest_site(seed: int, exponents: list[int]) -> None:
    flat, levels = Flat(TERMS), LEVELS[4]
    sizes_of = np.array([[float(np.ldexp(1 + np.random.default_rng(seed).random(), one))] * 2 for one in exponents])
    said = sum(sizes(flat, one) for one in sizes_of)
    assert isinstance(said, np.ndarray) and said.shape == (2, BINS) and said.sum() == 2 * len(exponents)
    largest = np.clip(sizes_of.max(axis=0), LIMIT * 2.0 ** (-BINS / 2), None)
    step = steps(flat, said, levels, np.zeros(2))
    wanted = np.minimum(levels.load * largest, LIMIT) / levels.most
    assert np.all((step <= wanted * 1.19) & (step >= wanted / 1.19)) and np.all(step * levels.most <= LIMIT)


def test_where_nobody_said_anything_the_step_stays() -> None:
    assert list(steps(Flat(TERMS), np.zeros((2, BINS)), LEVELS[8], np.array([3.0, 4.0]))) == [3.0, 4.0]


def test_sums_of_nothing_are_the_smallest_size() -> None:
    said = sizes(Flat(TERMS), np.zeros(2))
    assert list(said.argmax(axis=1)) == [BINS - 1] * 2


def test_rounding_is_right_on_average_and_clipped() -> None:
    values = np.repeat([-6.25, 0.0, 0.1, 3.5, 9.0], 20_000)
    found = rounded(values, 7, np.random.default_rng(1)).reshape(5, -1)
    assert np.allclose(found.mean(axis=1), [-6.25, 0, 0.1, 3.5, 7], atol=0.02)
    assert set(found[3]) == {3.0, 4.0} and not found[1].any()


@given(block=st.integers(1, 20), seed=st.integers(0, 1000))
def test_tensors_laid_side_by_side_come_back(block: int, seed: int) -> None:
    flat, own = Flat(TERMS, block), sums_of(seed)
    rows = flat.joined(own)
    assert rows.shape == (flat.count, block) and len(flat.owner) == flat.count
    assert all(np.array_equal(value, own[name]) for name, value in flat.parted(rows).items())
    everything = flat.root_mean_squares(rows, np.ones(flat.count, dtype=bool))
    np.testing.assert_allclose(everything, [np.sqrt(np.mean(own[term.name] ** 2)) for term in TERMS])


def test_the_blocks_with_the_most_unsent_travel_next() -> None:
    codec, coding = TopK(0.3, 8), Coding(TERMS, SITES, False, 1)
    public = {"step": np.array([1.0, 1.0]), "chosen": np.array([0, 3])}
    total = {term.name: np.zeros(term.shape) for term in codec.layout(coding)}
    total["coded/unsent"] = np.array([1.0, 0, 9, 2, 0, 9, 0])
    _, after = codec.decode(coding, public, total)
    assert list(after["chosen"]) == [2, 5]


def test_blocks_that_were_not_chosen_keep_all_they_have() -> None:
    codec, coding, own = TopK(0.3, 8), Coding(TERMS, SITES, False, 1), sums_of(3)
    public = {"step": np.array([1.0, 1.0]), "chosen": np.array([0, 3])}
    _, rest = codec.encode(coding, public, own, {}, Stream.public(1))
    before, after = Flat(TERMS, 8).joined(own), Flat(TERMS, 8).joined(rest or {})
    assert np.allclose(after[[1, 2, 4, 5, 6]], before[[1, 2, 4, 5, 6]], atol=1e-6) and not np.allclose(after[[0, 3]], before[[0, 3]])


def test_each_block_gets_its_turn() -> None:
    constant = [{term.name: np.ones(term.shape) for term in TERMS} for _ in range(3)]
    decoded, _ = played(TopK(0.2, 8), [constant] * 25, hides=False)
    for term in TERMS:
        assert np.all(sum(one[term.name] for one in decoded[2:]) > 0)


@pytest.mark.parametrize(("codec", "error"), [(Float16(), 2.0**-11), (BFloat16(), 2.0**-8)], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("limit", [1.0, 4000.0, 16e9])
def test_floats_lose_a_small_share_whatever_the_limit(codec: Codec, error: float, limit: float) -> None:
    terms = tuple(Term.sized(term.name, term.shape, limit, SITES) for term in TERMS)
    coding, largest = Coding(terms, SITES, False, 0), limit / 5
    own = sums_of(2, largest / 4)
    layout = codec.layout(coding)
    small, rest = codec.encode(coding, {}, own, {}, Stream.public(1))
    body = packed(layout, small)
    integers = unpack(layout, body)
    back, _ = codec.decode(coding, {}, {term.name: decode(term, integers[term.name]) for term in layout})
    assert not rest and not codec.adds
    for name, value in own.items():
        np.testing.assert_allclose(back[name], value, rtol=error, atol=limit * SITES * 2.0**-31)


@pytest.mark.parametrize("codec", [Float16(), BFloat16()], ids=["float16", "bfloat16"])
@given(power=st.integers(-10, 40), below=st.sampled_from([0.0, 1e-9, 1e-4, 2.0**-11, 0.01, 0.4]), bits=st.sampled_from([16, 32, 64]))
def test_floats_of_one_site_fit_whatever_the_limit(codec: Codec, power: int, below: float, bits: Literal[16, 32, 64]) -> None:
    limit = 2.0**power * (1 - below)
    term = Term.sized("update/w", (2,), limit, 1, bits=bits)
    coding, own = Coding((term,), 1, False, 0), {"update/w": limit * (1 - 2.0**-40) * np.array([1.0, -1.0])}
    (scaled,) = layout = codec.layout(coding)
    small, _ = codec.encode(coding, {}, own, {}, Stream.public(1))
    integers = unpack(layout, packed(layout, small))
    back, _ = codec.decode(coding, {}, {"update/w": decode(scaled, integers["update/w"])})
    np.testing.assert_allclose(back["update/w"], own["update/w"], rtol=2.0**-7)


def test_every_codec_is_an_entry_point_and_says_how_numbers_travel() -> None:
    assert set(names("codec")) >= {"bfloat16", "float16", "quantised", "topk"}
    assert "4 bits" in Quantised().said and "50%" in TopK().said and "float16" in Float16().said
