"""Whatever is wished, every patient gets one hospital, and what was asked of sums is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.partitions import allot
from wardround.partitions.labels import Labels, dirichlet
from wardround.partitions.quantity import Quantity
from wardround.study.streams import Stream

COUNTS = st.lists(st.integers(0, 300), min_size=1, max_size=5).filter(any)
"""Patients of each class; a class of the contract may have none."""


@given(COUNTS, st.integers(1, 12), st.integers(0, 1000), st.floats(0.05, 100), st.booleans())
def test_no_patient_is_lost_and_sizes_are_kept(counts: list[int], sites: int, seed: int, alpha: float, sized: bool) -> None:
    rng, there = np.random.default_rng(seed), np.array(counts)
    weights = np.stack([dirichlet(alpha, sites, rng) for _ in counts], axis=1)
    sizes = allot.apportioned(dirichlet(alpha, sites, rng), int(there.sum())) if sized else None
    table = allot.fitted(weights, there, sizes)
    wanted = allot.apportioned(table.sum(axis=1), int(there.sum())) if sizes is None else sizes
    whole = allot.whole_table(table, there, wanted)
    assert whole.min() >= 0
    assert whole.sum(axis=0).tolist() == counts
    assert whole.sum(axis=1).tolist() == wanted.tolist()
    kinds = np.repeat(np.arange(len(counts)), counts)
    place = allot.dealt(rng.random(len(kinds)), kinds, whole)
    assert np.array_equal(np.stack([np.bincount(kinds[place == site], minlength=len(counts)) for site in range(sites)]), whole)


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=20), st.integers(0, 10_000))
def test_apportioned_numbers_are_within_one_of_their_shares(shares: list[float], total: int) -> None:
    exact = np.array(shares) / sum(shares) * total
    whole = allot.apportioned(np.array(shares), total)
    assert whole.sum() == total
    assert np.abs(whole - exact).max() < 1 + 1e-9


def test_fitting_keeps_the_odds_between_cells() -> None:
    """What is scaled is rows and columns only, so the ratio of cross products stays: the mix that was wished."""
    weights, counts, sizes = np.array([[1.0, 3.0], [2.0, 1.0], [1.0, 1.0]]), np.array([60, 40]), np.array([20, 30, 50])
    table = allot.fitted(weights, counts, sizes)
    assert table.sum(axis=0) == pytest.approx(counts) and table.sum(axis=1) == pytest.approx(sizes)
    for one, other in ((0, 1), (1, 2)):
        before = weights[one, 0] * weights[other, 1] / (weights[one, 1] * weights[other, 0])
        assert table[one, 0] * table[other, 1] / (table[one, 1] * table[other, 0]) == pytest.approx(before)


@given(st.integers(2, 8), st.integers(0, 100))
def test_a_large_alpha_tends_to_iid(sites: int, seed: int) -> None:
    counts = np.array([400, 1200])
    weights = Labels(alpha=1e8).mix(counts, sites, Stream.public(seed))
    assert np.abs(allot.fitted(weights, counts, None) - counts / sites).max() < 1


def test_a_small_alpha_leaves_most_hospitals_one_class() -> None:
    table = allot.fitted(Labels(alpha=0.05).mix(np.array([500, 500]), 20, Stream.public(3)), np.array([500, 500]), None)
    shares = table.max(axis=1) / table.sum(axis=1)
    assert np.median(shares) > 0.95


@given(st.sampled_from(["dirichlet", "lognormal"]), st.integers(1, 30), st.integers(0, 100))
def test_sizes_are_shares(law: str, sites: int, seed: int) -> None:
    shares = Quantity(law="dirichlet" if law == "dirichlet" else "lognormal").sizes(sites, Stream.public(seed))
    assert len(shares) == sites and shares.min() > 0 and shares.sum() == pytest.approx(1)


@given(st.integers(0, 200), st.integers(1, 12))
def test_patients_are_dealt_out_evenly(patients: int, sites: int) -> None:
    sizes = np.bincount(allot.evenly(np.random.default_rng(1).random(patients), sites), minlength=sites)
    assert sizes.sum() == patients and sizes.max() - sizes.min() <= 1
