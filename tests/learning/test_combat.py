from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.learning.heart import FIELDS, hospitals
from tests.support import plan, small
from wardround.learning import combat
from wardround.learning.inputs import input_names, scaled_rows
from wardround.learning.network import initial_parameters
from wardround.learning.rows import batch_of
from wardround.study.arrays import arrays_digest, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.study.task import Done

NUMBER = {"type": "number", "unit": "1", "range": [-20, 20], "missing": "mean"}
MADE_UP = {
    **{"a": NUMBER, "b": NUMBER, "c": NUMBER, "age": {"type": "number", "unit": "a", "range": [20, 90]}},
    **{"sex": {"type": "code", "codes": ["f", "m", "x"]}, "ill": {"type": "code", "codes": ["no", "yes"]}},
}


def agreed(fields: Mapping[str, Any], label: str, covariates: list[str], train: bool = False, **changes: Any) -> Protocol:
    """Return a study that harmonises and, where wanted, trains and tests on what comes of it."""
    phases: list[dict[str, Any]] = [{"name": "harmonise", "kind": "combat", "covariates": covariates, **changes.pop("options", {})}]
    if train:
        phases += [
            {"name": "train", "kind": "fedavg", "rounds": 2},
            {"name": "local", "kind": "local"},
            {"name": "test", "kind": "evaluate"},
        ]
    tables = plan(contract={"label": label, "fields": fields}, phases=phases, **changes)
    draft = Protocol.model_validate({**tables, "model": {"kind": "logistic", "normalise": "combat"}}).complete()
    return draft.changed(initial={"model": arrays_digest(initial_parameters(draft))})


def made_up(shift: float, scale: float, seed: int, count: int = 120) -> Dataset:
    """Return rows whose three numbers rise with age and differ by sex, seen through a device that shifts and stretches them."""
    rng = np.random.default_rng(seed)
    age, sex = rng.uniform(25, 85, count) - 5 * seed % 7, rng.integers(0, 3, count)
    columns: dict[str, np.ndarray] = {
        "age": np.clip(age, 20, 90),
        "sex": sex.astype(np.int32),
        "ill": rng.integers(0, 2, count).astype(np.int32),
    }
    for place, name in enumerate("abc"):
        columns[name] = np.clip(0.05 * (place + 1) * (age - 50) + 0.6 * sex + shift + scale * rng.normal(0, 1, count), -20, 20)
        columns[name][rng.random(count) < 0.05] = np.nan
    role = np.repeat([0, 1, 2], [count - 2 * (count // 5), count // 5, count // 5]).astype(np.int8)
    return Dataset(columns, np.arange(count), rng.permutation(role))


def sites() -> dict[str, Dataset]:
    return {"east": made_up(-2, 0.5, 1), "north": made_up(0, 1, 2, 150), "south": made_up(3, 1.5, 3, 90), "west": made_up(1, 0.8, 4)}


def pooled(about: combat.Fields, data: Mapping[str, Dataset], shrink: bool = True) -> dict[str, np.ndarray]:
    """Return each site's harmonised numbers [N, V] as one who has all rows in one place computes them, step by step as published."""
    names = sorted(data)
    y, x = np.concatenate([about.numbers(data[site]) for site in names]), np.concatenate([about.design(data[site]) for site in names])
    site = np.repeat(np.arange(len(names)), [len(data[name]) for name in names])
    train = np.concatenate([data[name].role == 0 for name in names])
    error, level, spread = np.full(y.shape, np.nan), np.zeros(y.shape), np.zeros(y.shape[1])
    for v in range(y.shape[1]):
        rows = train & ~np.isnan(y[:, v])
        design = np.column_stack([*(site == one for one in range(len(names))), x]).astype(np.float64)
        fit = np.linalg.lstsq(design[rows], y[rows, v], rcond=None)[0]
        level[:, v] = np.bincount(site[rows], minlength=len(names)) / np.sum(rows) @ fit[: len(names)] + x @ fit[len(names) :]
        spread[v] = np.sqrt(np.mean((y[rows, v] - design[rows] @ fit) ** 2))
        error[:, v] = (y[:, v] - level[:, v]) / spread[v]
    for one in range(len(names)):
        here = site == one
        own = [error[here & train & ~np.isnan(y[:, v]), v] for v in range(y.shape[1])]
        there = [v for v, values in enumerate(own) if len(values) >= 3]
        shift, variance = (np.array([function(own[v]) for v in there]) for function in (np.mean, lambda values: np.var(values, ddof=1)))
        if shrink:
            shift, variance = published([own[v] for v in there], shift, variance)
        error[np.ix_(here, there)] = (error[np.ix_(here, there)] - shift) / np.sqrt(variance)
    return {name: (level + spread * error)[site == number] for number, name in enumerate(names)}


def published(values: list[np.ndarray], shift: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parametric empirical Bayes estimates, field by field, by the iteration of Johnson et al. 2007."""
    prior, apart = np.mean(shift), np.var(shift, ddof=1)
    a = 2 + np.mean(variance) ** 2 / np.var(variance, ddof=1)
    b = np.mean(variance) * (a - 1)
    found = []
    for one, first, second in zip(values, shift, variance, strict=True):
        g, d = first, second
        for _ in range(400):
            g = (apart * len(one) * first + d * prior) / (apart * len(one) + d)
            d = (b + 0.5 * np.sum((one - g) ** 2)) / (a + 0.5 * len(one) - 1)
        found.append((g, d))
    return np.array([g for g, _ in found]), np.array([d for _, d in found])


def about_of(study: Protocol) -> combat.Fields:
    options = study.by_phase["harmonise"].options
    return combat.Fields.of(study.contract, options.fields, options.covariates)


def apart(study: Protocol, done: Done, data: Mapping[str, Dataset], shrink: bool = True) -> float:
    """Return the largest difference to the pooled computation, over all sites' rows and fields, in units of half the contract's range."""
    about, wanted = about_of(study), pooled(about_of(study), data, shrink)
    found = {name: combat.harmonised(study, one, done.results)[:, about.places] for name, one in data.items()}
    assert all(np.array_equal(np.isnan(found[name]), np.isnan(wanted[name])) for name in data)
    return max(float(np.nanmax(np.abs(found[name] - wanted[name]))) for name in data)


@pytest.mark.parametrize("covariates", [["age", "sex"], []])
def test_four_hospitals_equal_the_pooled_computation(tmp_path: Path, shared_data: Callable[[str], Path], covariates: list[str]) -> None:
    data = hospitals(shared_data("heart_disease_uci"))
    study = agreed(FIELDS, "exang", covariates)
    assert "chol" in about_of(study).fields and np.all(np.isnan(data["switzerland"].columns["chol"]))
    assert apart(study, small(tmp_path, study, data).run()["harmonise"], data) < 1e-6


@pytest.mark.parametrize("shrink", [True, False])
def test_sums_equal_the_pooled_computation_plain_and_secure(tmp_path: Path, shrink: bool) -> None:
    done = []
    for combine in ("plain", "secure"):
        (tmp_path / combine).mkdir()
        study = agreed(MADE_UP, "ill", ["age", "sex"], rounds={"quorum": 3, "combine": combine}, options={"shrink": shrink})
        done.append(small(tmp_path / combine, study, sites(), following=combine == "secure").run()["harmonise"])
        assert apart(study, done[-1], sites(), shrink) < 1e-6
    assert all(np.array_equal(done[0].results[name], done[1].results[name]) for name in done[0].results)


def added(about: combat.Fields, data: Mapping[str, Dataset]) -> dict[str, np.ndarray]:
    """Return the sums of all sites together."""
    parts = [combat.sums(about, one) for one in data.values()]
    return {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}


def test_what_a_device_adds_is_gone_and_what_age_does_stays() -> None:
    study, data = agreed(MADE_UP, "ill", ["age", "sex"], options={"shrink": False}), sites()
    about = about_of(study)
    shared = combat.solved(added(about, data))
    assert np.allclose(shared["effects"][:, 0] * 20 / 35, [0.05, 0.1, 0.15], atol=0.02)
    for one in data.values():
        rows = one.rows("train")
        left = combat.standardised(about, shared, one)[rows]
        harmonised = (combat.harmonised_rows(about, shared, one, shrink=False)[:, about.places] - combat.expected(about, shared, one))[rows]
        assert np.max(np.abs(np.nanmean(left, axis=0))) > 0.3 and np.allclose(np.nanmean(harmonised, axis=0), 0, atol=1e-12)
        assert np.allclose(np.nanstd(harmonised, axis=0, ddof=1), shared["spread"])


def test_a_true_difference_that_no_covariate_explains_is_gone_too() -> None:
    data = sites()
    without, with_age = (agreed(MADE_UP, "ill", covariates) for covariates in ([], ["age"]))
    young = made_up(0, 1, 9)
    older = Dataset({**young.columns, "age": np.clip(young.columns["age"] + 20, 20, 90)}, young.patient, young.role)
    gap = []
    for study in (without, with_age):
        about = about_of(study)
        shared = combat.solved(added(about, {**data, "older": older}))
        means = [float(np.nanmean(combat.expected(about, shared, one)[:, 0])) for one in (older, data["north"])]
        gap.append(means[0] - means[1])
    assert abs(gap[0]) < 1e-12 and gap[1] > 0.02


def test_only_training_rows_count() -> None:
    study, one = agreed(MADE_UP, "ill", ["age", "sex"]), made_up(1, 1, 1)
    about = about_of(study)
    altered = {name: np.where(one.role > 0, -15.0, one.columns[name]) for name in "abc"}
    other = Dataset({**one.columns, **altered}, one.patient, one.role)
    first, second = combat.sums(about, one), combat.sums(about, other)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    shared = combat.solved(first)
    effects = [combat.site_effects(about, shared, each) for each in (one, other)]
    assert np.array_equal(effects[0][0], effects[1][0]) and np.array_equal(effects[0][1], effects[1][1])


@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans())
def test_elimination_solves_what_can_be_solved(seed: int, size: int, twin: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (3, 40, size)) * rng.uniform(0.01, 10, size)
    if twin and size > 1:
        rows[:, :, -1] = rows[:, :, 0]
    y = rng.normal(0, 1, (3, 40))
    matrix, right = np.einsum("vnp,vnq->vpq", rows, rows), np.einsum("vn,vnp->vp", y, rows)
    found = combat.eliminated(matrix, right)
    fitted = np.einsum("vnp,vp->vn", rows, found)
    exact = np.stack([rows[v] @ np.linalg.lstsq(rows[v], y[v], rcond=None)[0] for v in range(3)])
    assert np.allclose(fitted, exact, atol=1e-7)
    assert not (twin and size > 1) or np.all(found[:, -1] == 0)


def test_a_constant_or_unknown_field_stays_as_it_is() -> None:
    study, one = agreed(MADE_UP, "ill", []), made_up(1, 1, 1)
    columns = {**one.columns, "a": np.full(len(one), 4.0), "b": np.full(len(one), np.nan)}
    other = Dataset(columns, one.patient, one.role)
    about = about_of(study)
    shared = combat.solved(combat.sums(about, made_up(0, 1, 2)))
    found, z = combat.harmonised_rows(about, shared, other), scaled_rows(study.contract, other)
    places = [input_names(study.contract).index(name) for name in "ab"]
    assert np.allclose(found[:, places], z[:, places], equal_nan=True)


@pytest.mark.parametrize("shrink", [True, False])
@pytest.mark.parametrize("differs", [0.0, 0.01])
def test_a_field_that_hardly_changes_at_a_site_stays_as_it_is_whatever_covariates_say(shrink: bool, differs: float) -> None:
    study, data = agreed(MADE_UP, "ill", ["age", "sex"], options={"shrink": shrink}), sites()
    about, west = about_of(study), data["west"]
    west.columns["b"][:] = 4.25
    west.columns["b"][west.rows("train")[0]] += differs
    west.columns["b"][west.rows("test")[0]] = 12.0
    found = combat.harmonised_rows(about, combat.solved(added(about, data)), west, shrink)[:, about.places]
    before = about.numbers(west)
    assert np.allclose(found[:, 1], before[:, 1]) and not np.allclose(found[:, 0], before[:, 0], equal_nan=True)


def test_a_field_that_covariates_explain_wholly_at_a_site_is_not_stretched() -> None:
    study, data = agreed(MADE_UP, "ill", ["age"], options={"shrink": False}), sites()
    about, west = about_of(study), data["west"]
    shared = combat.solved(added(about, data))
    exact = combat.expected(about, shared, west)[:, 0] * 20
    values = exact + 1e-3 * np.random.default_rng(1).normal(0, 1, len(exact))
    values[west.rows("test")[0]] = 12.0
    other = Dataset({**west.columns, "a": values}, west.patient, west.role)
    assert np.max(np.abs(combat.harmonised_rows(about, shared, other, shrink=False)[:, about.places[0]])) < 1


def test_training_goes_on_with_harmonised_inputs(tmp_path: Path) -> None:
    study, data = agreed(MADE_UP, "ill", ["age", "sex"], train=True), sites()
    result = small(tmp_path, study, data)
    done = result.run()
    assert not result.refused
    norm = under(done["train"].results, "norm")
    x = np.concatenate([batch_of(study, one, norm, "train")["x"] for one in data.values()])
    assert np.allclose(np.mean(x, axis=0), 0, atol=0.01) and np.allclose(np.std(x, axis=0), 1, atol=0.05)
    own = result.places["south"].site.state.mine()["harmonise"]
    assert set(own) == {"shift", "scale"} and np.all(own["shift"] > 0)
    assert {"combat/level", "combat/effects", "combat/spread", "mean", "deviation"} == set(done["harmonise"].results)


@pytest.mark.parametrize(
    ("options", "covariates", "says"),
    [
        ({"fields": ["sex"]}, [], "no number among the inputs"),
        ({"fields": ["nobody"]}, [], "no field 'nobody'"),
        ({}, ["ill"], "is the label"),
        ({"fields": ["a"]}, ["a"], "is itself harmonised"),
        ({"fields": ["a"]}, ["b"], "may be missing"),
        ({"fields": ["a", "a"]}, [], "twice"),
    ],
)
def test_a_phase_that_does_not_fit_its_contract_is_refused(options: dict[str, Any], covariates: list[str], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        agreed(MADE_UP, "ill", covariates, options=options)


def test_the_phase_and_the_model_must_agree() -> None:
    tables = plan(phases=[{"name": "moments", "kind": "moments"}, {"name": "train", "kind": "fedavg"}])
    with pytest.raises(ProtocolError, match="needs inputs that are harmonised first"):
        Protocol.model_validate({**tables, "model": {"kind": "logistic", "normalise": "combat"}}).complete()
    with pytest.raises(ProtocolError, match=r"is for model\.normalise = 'combat'"):
        Protocol.model_validate(plan(phases=[{"name": "h", "kind": "combat"}, *tables["phases"]])).complete()
