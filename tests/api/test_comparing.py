"""Means and intervals of a sweep, held against formulas written out and against simulation of what they claim."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.support import plan
from wardround.comparing import ALL, MEAN, Run, differences, estimate, judged, same_patients
from wardround.study.protocol import Protocol

PROTOCOL = Protocol.model_validate(plan()).complete()


def run(seed: int, sites: dict[str, dict[str, np.ndarray]], tested: int = 1, tally: tuple[int, ...] = (200, 100, 100)) -> Run:
    """Return a run from AUROCs [1 + R] by site and model."""
    kept: dict[str, np.ndarray] = {}
    for site, models in sites.items():
        kept[f"tested/{site}"] = np.full(32, tested, dtype=np.uint8)
        kept[f"tally/{site}"] = np.array(tally)
        for model, values in models.items():
            kept[f"sites/{site}/{model}/auroc"] = values
            kept[f"all/{model}/auroc"] = values
    return Run(seed, kept, {})


def test_five_seeds_give_students_interval() -> None:
    values = [0.7, 0.72, 0.69, 0.75, 0.71]
    found = estimate([np.array([one]) for one in values], same=True)
    half = 2.776 * np.std(values, ddof=1) / math.sqrt(5)
    assert found["seeds"] == pytest.approx([np.mean(values) - half, np.mean(values) + half])
    assert found["patients"] is None and (found["low"], found["high"]) == pytest.approx(tuple(found["seeds"]))
    assert estimate([np.array([0.7])], same=True)["low"] is None
    assert estimate([np.array([math.nan]), np.array([0.7])], same=True)["value"] is None


@given(arrays(np.float64, (4, 101), elements=st.floats(0, 1)), st.booleans())
def test_the_interval_of_both_holds_each_of_them(values: np.ndarray, same: bool) -> None:
    found = estimate(list(values), same)
    assert found["value"] == pytest.approx(values[:, 0].mean())
    for low, high in (found["seeds"], found["patients"]):
        if low <= found["value"] <= high:
            assert found["low"] <= low + 1e-12 and found["high"] >= high - 1e-12


def test_the_same_patients_under_all_seeds_are_averaged_before_the_interval() -> None:
    """Noise that is a seed's own averages out; what all seeds share does not. Other patients under each seed: no narrowing."""
    rng = np.random.default_rng(1)
    own, shared = rng.normal(0, 0.05, (5, 4001)), rng.normal(0, 0.05, 4001)
    own[:, 0] = shared[0] = 0
    width = {}
    for name, values in (("own", own), ("shared", own * 0 + shared)):
        for same in (True, False):
            low, high = estimate(list(0.7 + values), same)["patients"]
            width[name, same] = (high - low) / (2 * 1.96 * 0.05)
    assert width["own", True] == pytest.approx(1 / math.sqrt(5), rel=0.05)
    assert [width[key] for key in (("shared", True), ("own", False), ("shared", False))] == pytest.approx([1, 1, 1], rel=0.05)


def test_differences_pair_replicate_by_replicate() -> None:
    rng = np.random.default_rng(2)
    base = 0.7 + np.concatenate([[0], rng.normal(0, 0.05, 200)])
    pairs = [(run(seed, {"a": {"federated": base + 0.01}}), run(seed, {"a": {"local": base}})) for seed in range(3)]
    for place in ("a", ALL, MEAN):
        found = differences(pairs, "federated", "local")[place]["auroc"]
        assert (found["value"], *found["patients"], found["low"], found["high"]) == pytest.approx((0.01,) * 5)


def test_sites_that_lack_the_comparator_leave_all_patients_out() -> None:
    values = np.linspace(0.6, 0.8, 51)
    method = run(0, {"a": {"federated": values}, "b": {"federated": values}})
    other = run(0, {"a": {"local": values}})
    assert set(differences([(method, other)], "federated", "local")) == {"a"}


VERDICTS = [(0.05, 0.01, "gains"), (-0.001, 0.005, "no_worse"), (-0.05, 0.01, "loses"), (0.0, 0.1, "cannot_say")]


@pytest.mark.parametrize(("gain", "spread", "word"), VERDICTS)
def test_verdicts_follow_value_and_interval(gain: float, spread: float, word: str) -> None:
    rng = np.random.default_rng(3)
    noise = [np.concatenate([[0], rng.normal(0, spread, 400)]) for _ in range(5)]
    pairs = [(run(s, {"a": {"federated": 0.7 + gain + one}}), run(s, {"a": {"local": np.full(401, 0.7)}})) for s, one in enumerate(noise)]
    assert judged(PROTOCOL, pairs, "federated")["a"]["word"] == word


def test_too_few_patients_or_no_replicates_say_nothing() -> None:
    values: dict[str, Any] = {"federated": np.array([0.9] * 51)}
    small = [(run(s, {"a": values}, tally=(20, 10, 10)), run(s, {"a": {"local": np.array([0.5] * 51)}})) for s in range(3)]
    none = [(run(s, {"a": {"federated": np.array([0.9])}}), run(s, {"a": {"local": np.array([0.5])}})) for s in range(3)]
    assert [judged(PROTOCOL, pairs, "federated")["a"]["word"] for pairs in (small, none)] == ["cannot_say"] * 2


def test_runs_on_other_patients_are_told_apart() -> None:
    values = {"a": {"federated": np.array([0.5])}}
    assert same_patients([run(0, values), run(1, values)])
    assert not same_patients([run(0, values), run(1, values, tested=2)])
