from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround.combining.rules.geometric_median import GeometricMedian
from wardround.combining.rules.median import Median
from wardround.combining.rules.multi_krum import MultiKrum
from wardround.combining.rules.robust import Robust
from wardround.combining.rules.stacked import apart, mixed, nearest, stacked
from wardround.combining.rules.trimmed_mean import TrimmedMean
from wardround.study.arrays import Arrays

RULES: list[type[Robust]] = [TrimmedMean, Median, GeometricMedian, MultiKrum]
ALL = [rule(hostile, mixing) for rule, hostile, mixing in itertools.product(RULES, (1, 2), (False, True))]
NOBODY: dict[str, float] = {}


def honest(seed: int, sites: int, spread: float = 1.0) -> dict[str, Arrays]:
    rng = np.random.default_rng(seed)
    return {f"s{n:02}": {"b": 3 + spread * rng.normal(size=3), "w": spread * rng.normal(size=(4, 2))} for n in range(sites)}


def flat(update: Arrays) -> np.ndarray:
    return np.concatenate([update["b"].ravel(), update["w"].ravel()])


def mean_of(updates: dict[str, Arrays]) -> np.ndarray:
    return np.asarray(np.mean([flat(one) for one in updates.values()], axis=0))


@pytest.mark.parametrize("rule", ALL, ids=str)
@given(seed=st.integers(0, 2**20), size=st.floats(10, 1e6), direction=st.integers(0, 2**20))
@settings(max_examples=12, deadline=None)
def test_hostile_sites_pull_no_farther_than_the_honest_ones_lie(rule: Robust, seed: int, size: float, direction: int) -> None:
    good = honest(seed, 2 * rule.hostile + 5)
    where = np.random.default_rng(direction).normal(size=11)
    bad = size * where / np.linalg.norm(where)
    hostile = {f"a{n}": {"b": bad[:3], "w": bad[3:].reshape(4, 2)} for n in range(rule.hostile)}
    found = flat(rule.combine({**hostile, **good}, NOBODY))
    widest = max(np.linalg.norm(flat(one) - mean_of(good)) for one in good.values())
    assert np.linalg.norm(found - mean_of(good)) <= 2 * widest


def test_the_plain_mean_is_pulled_away_by_the_same_sites() -> None:
    good = honest(1, 7)
    bad = {"a0": {"b": np.full(3, 1e6), "w": np.zeros((4, 2))}}
    widest = max(np.linalg.norm(flat(one) - mean_of(good)) for one in good.values())
    assert np.linalg.norm(mean_of({**good, **bad}) - mean_of(good)) > 100 * widest


@pytest.mark.parametrize("rule", ALL, ids=str)
@given(seed=st.integers(0, 2**20))
@settings(max_examples=5, deadline=None)
def test_order_of_arrival_and_claimed_counts_change_no_bit(rule: Robust, seed: int) -> None:
    updates = honest(seed, 2 * rule.hostile + 3)
    counts = {site: float(number) for number, site in enumerate(updates)}
    one, other = rule.combine(updates, counts), rule.combine(dict(reversed(updates.items())), {site: 1e9 for site in updates})
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.parametrize("rule", ALL, ids=str)
def test_sites_that_agree_are_followed(rule: Robust) -> None:
    same = honest(3, 1)["s00"]
    found = rule.combine({f"s{n}": same for n in range(7)}, NOBODY)
    assert all(np.allclose(found[name], same[name], rtol=1e-12) for name in same)


@pytest.mark.parametrize("rule", ALL, ids=str)
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([2.0**-20, 2.0**7]), shift=st.sampled_from([0.0, 1.0]))
@settings(max_examples=8, deadline=None)
def test_units_and_origin_do_not_matter(rule: Robust, seed: int, scale: float, shift: float) -> None:
    updates = honest(seed, 7)
    moved = {site: {name: scale * (value + shift) for name, value in one.items()} for site, one in updates.items()}
    plain, other = flat(rule.combine(updates, NOBODY)), flat(rule.combine(moved, NOBODY))
    assert np.allclose(other, scale * (plain + shift), rtol=1e-6, atol=1e-6 * scale)


def line(*values: float) -> dict[str, Arrays]:
    return {f"s{n}": {"w": np.array([value])} for n, value in enumerate(values)}


def test_what_the_rules_come_to_on_a_line() -> None:
    updates = line(0.0, 1.0, 2.0, 4.0, 100.0)
    assert TrimmedMean(1, False).combine(updates, NOBODY)["w"] == pytest.approx((1 + 2 + 4) / 3)
    assert Median(1, False).combine(updates, NOBODY)["w"] == 2
    assert Median(1, False).combine(line(0.0, 1.0, 2.0, 4.0), NOBODY)["w"] == 1.5
    assert GeometricMedian(1, False).combine(updates, NOBODY)["w"] == pytest.approx(2, abs=1e-3)  # of a line: its median
    # squared distances to the two nearest others: 0: 5, 1: 2, 2: 5, 4: 13, 100: 96^2 + 98^2
    assert MultiKrum(1, False).combine(updates, NOBODY)["w"] == pytest.approx((0 + 1 + 2 + 4) / 4)
    assert MultiKrum(2, False).combine(line(0.0, 1.0, 2.0, 4.0, 100.0, 100.0, 5.0), NOBODY)["w"] == pytest.approx((0 + 1 + 2 + 4 + 5) / 5)


def test_the_geometric_median_is_where_the_distances_are_least() -> None:
    updates = honest(5, 9, spread=3.0)
    found = flat(GeometricMedian(1, False).combine(updates, NOBODY))
    total = sum(float(np.linalg.norm(flat(one) - found)) for one in updates.values())
    rng = np.random.default_rng(0)
    for _ in range(50):
        beside = found + 1e-2 * rng.normal(size=11)
        assert total < sum(float(np.linalg.norm(flat(one) - beside)) for one in updates.values())


def test_mixing_averages_the_nearest_and_draws_honest_sites_together() -> None:
    stacks = stacked(line(0.0, 1.0, 3.0, 50.0))
    assert mixed(stacks, 1)["w"].ravel() == pytest.approx([4 / 3, 4 / 3, 4 / 3, (50 + 3 + 1) / 3])
    good = stacked(honest(2, 12))
    assert np.sum(apart(mixed(good, 3))) < 0.5 * np.sum(apart(good))
    assert np.array_equal(nearest(np.array([[0.0, 2.0, 2.0, 2.0]]), 3), [[0, 1, 2]])


def test_multi_krum_needs_more_sites_than_the_others() -> None:
    assert [rule.fewest(2) for rule in RULES] == [5, 5, 5, 7]
