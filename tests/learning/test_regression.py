from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.linear_model import LinearRegression

from tests.learning.finished_studies import text
from tests.learning.heart import FIELDS, hospitals
from tests.learning.numbers import agreed, numbers, sites
from tests.support import protocol, small
from wardround.learning.algorithms.evaluate import Scorer, judged, scorer
from wardround.learning.evaluation import all_sites
from wardround.learning.network import initial_parameters
from wardround.learning.norm import mean_and_deviation, moment_sums
from wardround.learning.questions import residuals
from wardround.learning.questions.regression import InContract
from wardround.learning.rows import batch_of, joined
from wardround.study.arrays import Arrays, under
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError, ProtocolError
from wardround.study.interfaces import Question
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.streams import Stream
from wardround.study.task import Done, State

GAUSSIAN = InContract(low=0.0, high=50.0, of="d")
POISSON = InContract(family="poisson", low=0.0, high=50.0, of="d")
QUANTILE = InContract(family="quantile", quantile=0.8, low=0.0, high=50.0, of="d")
RATE = InContract(family="poisson", exposure="beds", low=0.0, high=50.0, of="d", exposed=2.0)
FAMILIES = [GAUSSIAN, POISSON, QUANTILE]
GROUPED = ("binned", "gap", "predicted", "labels", "label_levels", "label_exposed")


def drawn(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    told = np.clip(rng.gamma(3, 4, (count, 1)), 0.5, 50)
    return told, rng.poisson(told[:, 0]).clip(0, 50).astype(np.float64)


def found_in(question: Question, sums: Arrays) -> dict[str, float]:
    return {name: float(question.finalise(sums, name)) for name in question.better}


@pytest.mark.parametrize("seed", range(3))
def test_metrics_agree_with_scikit_learn(seed: int) -> None:
    told, y = drawn(seed, 300)
    found = {**found_in(POISSON, POISSON.metrics(told, {"y": y})), **found_in(QUANTILE, QUANTILE.metrics(told, {"y": y}))}
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(y, told))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(y, told))
    assert found["r2"] == pytest.approx(reference.r2_score(y, told[:, 0]))
    assert found["deviance"] == pytest.approx(reference.mean_poisson_deviance(y, told[:, 0]))
    assert found["pinball"] == pytest.approx(reference.mean_pinball_loss(y, told[:, 0], alpha=0.8))
    assert found["quantile_gap"] == pytest.approx(abs(np.mean(y <= told[:, 0]) - 0.8))
    assert found_in(GAUSSIAN, GAUSSIAN.metrics(told, {"y": y}))["rmse"] == pytest.approx(found["rmse"])


def test_a_shifted_model_has_the_shift_as_its_calibration_gap() -> None:
    told, y = np.linspace(5, 40, 400)[:, None], np.linspace(5, 40, 400)
    assert found_in(GAUSSIAN, GAUSSIAN.metrics(told, {"y": y}))["calibration_gap"] == pytest.approx(0)
    assert found_in(GAUSSIAN, GAUSSIAN.metrics(told + 2, {"y": y}))["calibration_gap"] == pytest.approx(2)


@pytest.mark.parametrize("question", FAMILIES)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 40))
def test_sums_of_parts_add_to_the_sums_of_the_whole(question: Question, seed: int, cut: int) -> None:
    told, y = drawn(seed, 40)
    parts = [question.metrics(told[:cut], {"y": y[:cut]}), question.metrics(told[cut:], {"y": y[cut:]})]
    for name, value in question.metrics(told, {"y": y}).items():
        if name not in GROUPED:
            assert np.allclose(np.asarray(parts[0][name]) + parts[1][name], value)


@pytest.mark.parametrize("question", [*FAMILIES, RATE])
@given(y=st.lists(st.floats(0, 50), min_size=1, max_size=14), told=st.floats(-1e6, 1e6), exposed=st.floats(0.5, 2))
def test_sums_fit_their_layout_whatever_is_predicted(question: Question, y: list[float], told: float, exposed: float) -> None:
    more = {"exposure": np.full(len(y), exposed)} if question is RATE else {}
    sums = question.metrics(np.full((len(y), 1), told), {"y": np.array(y), **more})
    terms = {term.name: term for term in question.terms(1, len(y), 4)}
    assert sums.keys() == terms.keys()
    for name, term in terms.items():
        assert np.shape(sums[name]) == term.shape and np.all(np.abs(sums[name]) <= term.limit)


@pytest.mark.parametrize("question", FAMILIES)
def test_weights_count_rows(question: Question) -> None:
    told, y = drawn(2, 30)
    weights = np.stack([np.ones(30, dtype=np.int64), np.arange(30) % 3])
    sums, twice = question.metrics(told, {"y": y}, weights), np.repeat(np.arange(30), weights[1])
    again, once = question.metrics(told[twice], {"y": y[twice]}), question.metrics(told, {"y": y})
    for term in question.terms(1, 500, 4, replicates=1):
        assert sums[term.name].shape == term.shape
        if term.name not in GROUPED:
            assert np.allclose(sums[term.name][0], once[term.name]) and np.allclose(sums[term.name][1], again[term.name])
        elif np.shape(once[term.name]) != term.shape:
            assert np.allclose(sums[term.name][0], once[term.name])


@given(bad=st.sampled_from([np.nan, np.inf, -np.inf]), place=st.integers(0, 19))
def test_predictions_that_are_not_finite_are_refused(bad: float, place: int) -> None:
    told, y = drawn(1, 20)
    told[place] = bad
    with pytest.raises(DataError, match="not finite"):
        GAUSSIAN.metrics(told, {"y": y})


@pytest.mark.parametrize("question", FAMILIES)
def test_guessing_is_one_prediction_for_everybody(question: InContract) -> None:
    _, y = drawn(3, 500)
    guess = np.quantile(y, 0.8) if question.family == "quantile" else np.mean(y)
    found, chance = found_in(question, question.metrics(np.full((500, 1), guess), {"y": y})), None
    chance = question.chance(question.metrics(np.full((500, 1), 7.0), {"y": y}, np.ones((2, 500), dtype=np.int64)))
    for name in set(chance) - {"calibration_gap", "quantile_gap"}:
        if name in ("mae", "pinball"):
            assert 0.9 * found[name] < chance[name] <= found[name] + 1e-9
        else:
            assert chance[name] == pytest.approx(found[name])
    assert np.isnan(question.chance(question.metrics(np.zeros((0, 1)), {"y": y[:0]}))[next(iter(question.better))])


@pytest.mark.parametrize("signed", [False, True])
@given(error=st.floats(-50, 50))
def test_the_end_of_a_bin_is_never_too_near_and_at_most_three_percent_too_far(signed: bool, error: float) -> None:
    ends = 50 * (residuals.SIGNED_ENDS if signed else residuals.ENDS)
    end, size = ends[residuals.places(np.array([error]), 50, signed)[0]], error if signed else abs(error)
    assert size <= end * (1 + 1e-12) or size - end < 1e-12
    assert end <= size + 0.0293 * abs(size) + 50 * 2.0**-12


def test_a_conformal_interval_is_as_wide_as_the_sorted_errors_say() -> None:
    errors = np.random.default_rng(1).normal(0, 3, 199)
    exact = np.sort(np.abs(errors))[int(np.ceil(200 * 0.9)) - 1]
    counts = residuals.VOTES * residuals.counted(residuals.places(errors, 50, False), len(residuals.ENDS), None)
    upto = residuals.conformal_bin(counts, 0.9)
    assert upto is not None and exact <= 50 * residuals.ENDS[upto] <= exact * 1.03


def test_an_interval_holds_what_it_says_on_average_and_is_not_claimed_from_too_few() -> None:
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(300):
        told = np.full((80, 1), 25.0)
        y = np.clip(25 + rng.standard_t(3, 80) * 2, 0, 50)
        sums = [GAUSSIAN.metrics(told[rows], {"y": y[rows]}) for rows in (slice(0, 40), slice(40, 80))]
        shares.append(float(GAUSSIAN.rates_at(sums[0], sums[1], 0.9)["coverage"]))
    assert 0.89 < np.mean(shares) < 0.94
    few = GAUSSIAN.metrics(np.full((8, 1), 25.0), {"y": np.full(8, 26.0)})
    assert all(np.isnan(value) for value in GAUSSIAN.rates_at(few, few, 0.9).values())


@given(counts=st.lists(st.integers(0, 30), min_size=residuals.PREDICTED, max_size=residuals.PREDICTED))
def test_no_group_is_smaller_than_it_may_be_and_none_is_lost(counts: list[int]) -> None:
    binned = np.array(counts)
    groups = residuals.calibration_groups(binned * residuals.VOTES, 0.5 * binned, binned * np.arange(len(binned)))
    assert all(group["patients"] >= 10 for group in groups) and len(groups) <= 10
    assert sum(group["patients"] for group in groups) == (np.sum(binned) if groups else 0) and (groups or np.sum(binned) < 10)
    assert all(group["observed"] == pytest.approx(group["predicted"] + 0.5) for group in groups)


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(0, 1000))
def test_what_leaves_of_labels_and_predictions_is_of_ten_patients_none_of_whom_is_more_than_a_tenth(rows: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    patient = rng.permutation(np.repeat(np.arange(len(rows)), rows))
    vote = residuals.votes(patient)
    assert np.array_equal(np.bincount(patient, vote, minlength=len(rows)), np.full(len(rows), residuals.VOTES))
    near = residuals.Groups.of(np.round(rng.gamma(2, 4, len(patient))), vote, (0.0, 50.0), 128)
    assert len(near.rows) == (len(patient) if len(rows) >= 10 else 0) and len(set(near.bins)) <= 10
    for one in set(near.bins):
        of = near.rows[near.bins == one]
        each = np.bincount(patient[of], vote[of])
        assert np.sum(each) >= 10 * residuals.VOTES and np.max(each) <= np.sum(each) / 10


@pytest.mark.parametrize("question", FAMILIES)
def test_no_bin_of_labels_or_predictions_is_of_fewer_than_ten_patients(question: InContract) -> None:
    told, y = drawn(5, 300)
    for count in (300, 10, 9):
        sums = question.metrics(told[:count], {"y": y[:count]})
        for votes in (sums[name] for name in ("binned", "labels") if name in sums):
            assert set(np.flatnonzero(votes)) == set(np.flatnonzero(votes >= 10 * residuals.VOTES))
            assert np.sum(votes) == (count * residuals.VOTES if count >= 10 else 0)
        empty = {name: sums[name] for name in GROUPED if name in sums and count < 10}
        assert not any(np.any(value) for value in empty.values())


def test_a_patient_with_hundreds_of_rows_is_no_group_of_its_own_in_the_picture() -> None:
    rng = np.random.default_rng(1)
    y, told = np.r_[np.full(400, 37.25), rng.normal(40, 1, 99)], np.r_[np.full(400, 30.0), rng.normal(40, 0.5, 99)]
    total = {
        f"test/{name}": value
        for name, value in GAUSSIAN.metrics(told[:, None], rows_of(y, np.r_[np.zeros(400), np.arange(1, 100)])).items()
    }
    groups = GAUSSIAN.further(total, {})["calibration"]
    assert sum(group["patients"] for group in groups) == 100 and all(group["patients"] >= 10 for group in groups)
    assert groups[0]["observed"] == pytest.approx(np.mean(np.r_[37.25, y[400:][np.argsort(told[400:])][:9]]))


def rows_of(y: np.ndarray, patient: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": y, "patient": patient.astype(np.int64)}


@pytest.mark.parametrize("question", FAMILIES)
def test_a_patient_counts_once_however_many_rows(question: Question) -> None:
    told, y = drawn(7, 40)
    often = np.repeat(np.arange(40), 1 + np.arange(40) % 7)
    once, again = question.metrics(told, {"y": y}), question.metrics(told[often], rows_of(y[often], often))
    assert once.keys() == again.keys() and all(np.allclose(once[name], again[name]) for name in once if name not in GROUPED)


@pytest.mark.parametrize(("patients", "rows"), [(9, 10), (12, 5), (30, 7)])
def test_an_interval_holds_what_it_says_for_new_patients_where_rows_of_a_patient_are_alike(patients: int, rows: int) -> None:
    rng, shares = np.random.default_rng(patients), []
    for _ in range(400):
        error = np.repeat(rng.normal(0, 4, patients), rows) + rng.normal(0, 1, patients * rows)
        told = np.full((len(error), 1), 25.0)
        validation = GAUSSIAN.metrics(told, rows_of(25 + error, np.repeat(np.arange(patients), rows)))
        new = GAUSSIAN.metrics(np.full((300, 1), 25.0), {"y": 25 + rng.normal(0, np.hypot(4, 1), 300)})
        shares.append(float(GAUSSIAN.rates_at(new, validation, 0.9)["coverage"]))
    assert np.mean(shares) > 0.89


def test_an_interval_is_not_claimed_from_few_patients_with_many_rows() -> None:
    few = GAUSSIAN.metrics(np.full((80, 1), 25.0), rows_of(np.linspace(20, 30, 80), np.arange(80) % 8))
    assert all(np.isnan(value) for value in GAUSSIAN.rates_at(few, few, 0.9).values())


def test_guessing_a_rate_knows_the_exposure() -> None:
    rng = np.random.default_rng(4)
    exposed = rng.uniform(0.5, 2, 3000)
    y = rng.poisson(6 * exposed).astype(np.float64)
    rate = np.sum(y) / np.sum(exposed)
    sums = RATE.metrics((rate * exposed)[:, None], {"y": y, "exposure": exposed})
    chance, found = RATE.chance(sums), found_in(RATE, sums)
    assert found["r2"] == pytest.approx(0) and all(chance[name] == pytest.approx(found[name]) for name in ("deviance", "rmse"))
    assert 0.98 * found["mae"] < chance["mae"] <= found["mae"] + 1e-9
    better = RATE.metrics((6.0 * exposed + 0.5 * (y - 6 * exposed))[:, None], {"y": y, "exposure": exposed})
    assert found_in(RATE, better)["r2"] > 0.7


@pytest.mark.parametrize(
    ("question", "changes", "says"),
    [
        ({}, {"label": "sex"}, "predicts a number"),
        ({"family": "quantile"}, {}, "question.quantile"),
        ({"quantile": 0.5}, {}, "question.quantile"),
        ({"family": "poisson"}, {"label": "a"}, "may be below 0"),
        ({"exposure": "beds"}, {}, "question.exposure"),
        ({"family": "poisson", "exposure": "bed"}, {}, "no field"),
        ({"family": "poisson", "exposure": "a"}, {}, "above 0"),
    ],
)
def test_a_question_that_does_not_fit_its_contract_is_refused(question: dict[str, Any], changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        agreed(question, contract={**agreed().contract.model_dump(), **changes})


def test_the_margin_may_be_in_the_labels_unit_but_not_for_a_share() -> None:
    assert agreed(evaluation={"metrics": ["rmse"], "replicates": 30, "margin": 3.0}).evaluation.margin == 3
    with pytest.raises(ProtocolError, match="margin"):
        protocol(evaluation={"margin": 3.0})


def least_squares(data: dict[str, Dataset]) -> np.ndarray:
    """Return the coefficients of 1, a, b and sex on all training rows."""
    rows = [(one.columns, one.rows("train")) for one in data.values()]
    design = np.concatenate([np.stack([np.ones(len(at)), *(c[name][at] for name in ("a", "b", "sex"))], axis=1) for c, at in rows])
    return np.asarray(np.linalg.lstsq(design, np.concatenate([c["stay"][at] for c, at in rows]), rcond=None)[0])


def predicted(plan_: Protocol, done: Done, data: Dataset) -> np.ndarray:
    return scorer(plan_, done.results, under(done.results, "norm"), data)("test")[:, 0]


def test_federated_training_finds_the_least_squares_of_all_sites_together(tmp_path: Path) -> None:
    study, data = agreed(), sites()
    done = small(tmp_path, study, data).run()["train"]
    coefficients = least_squares(data)
    assert np.allclose(coefficients, [20, 4, -2, 3], atol=0.6)
    for one in data.values():
        rows, columns = one.rows("test"), one.columns
        exact = coefficients @ np.stack([np.ones(len(rows)), *(columns[name][rows] for name in ("a", "b", "sex"))])
        assert np.max(np.abs(predicted(study, done, one) - exact)) < 0.02


def test_the_highest_heart_rate_at_four_hospitals_is_predicted_as_from_all_rows_together(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    data = hospitals(shared_data("heart_disease_uci"))
    study = agreed(contract={"label": "thalach", "fields": FIELDS})
    done = small(tmp_path, study, data).run()
    norm = under(done["train"].results, "norm")
    train, test = (joined([batch_of(study, one, norm, role) for one in data.values()]) for role in ("train", "test"))
    pooled = LinearRegression().fit(train["x"], train["y"])
    errors = [
        pooled.predict(test["x"]) - test["y"],
        np.concatenate([predicted(study, done["train"], one) for one in data.values()]) - test["y"],
    ]
    exact, federated = (float(np.sqrt(np.mean(error**2))) for error in errors)
    assert abs(exact - federated) < 1e-3 and exact < 0.95 * np.std(test["y"])
    total = under(done["test"].results, "federated/test")
    assert float(study.question_plugin.finalise(total, "rmse")[0]) == pytest.approx(federated)
    assert float(study.question_plugin.finalise(total, "r2")[0]) == pytest.approx(reference.r2_score(test["y"], test["y"] + errors[1]))


def test_a_rate_with_exposure_is_found(tmp_path: Path) -> None:
    study, data = agreed({"family": "poisson", "exposure": "beds"}, evaluation={"metrics": ["deviance"]}), sites(family="poisson")
    done = small(tmp_path, study, data).run()["train"]
    for one in data.values():
        rows, c = one.rows("test"), one.columns
        truth = c["beds"][rows] * np.exp(1 + 0.5 * c["a"][rows] - 0.2 * c["b"][rows])
        assert np.mean(np.abs(np.log(predicted(study, done, one) / truth))) < 0.15


def test_a_quantile_is_where_that_share_lies_below(tmp_path: Path) -> None:
    study, data = agreed({"family": "quantile", "quantile": 0.8}, evaluation={"metrics": ["pinball"]}), sites(4)
    results = small(tmp_path, study, data).run()["test"].results
    gap = study.question_plugin.finalise(under(results, "federated/test"), "quantile_gap")
    assert gap[0] < 0.12


def test_the_secure_sum_gives_the_same_bits(tmp_path: Path) -> None:
    phases = [
        {"name": "moments", "kind": "moments"},
        {"name": "train", "kind": "fedavg", "rounds": 3},
        {"name": "test", "kind": "evaluate"},
    ]
    found = []
    for combine in ("plain", "secure"):
        study = agreed(phases=phases, rounds={"quorum": 3, "combine": combine}, privacy={"counts": combine == "plain"})
        (tmp_path / combine).mkdir()
        found.append(small(tmp_path / combine, study, sites(4), following=combine == "secure").run())
    for phase in ("moments", "train", "test"):
        plain, secure = (one[phase].results for one in found)
        assert plain.keys() == secure.keys() and all(np.array_equal(plain[name], secure[name]) for name in plain)


@pytest.mark.parametrize(("first", "sums"), [("rmse", {"squares"}), ("r2", {"squares", "level", "level_squares"}), ("mae", {"absolute"})])
def test_a_round_of_training_asks_for_no_more_than_its_first_metric_needs(first: str, sums: set[str]) -> None:
    study = agreed(evaluation={"metrics": [first], "replicates": 30})
    training, test = study.algorithms[1], study.algorithms[2]
    begun = training.begin(
        study, {"initial": Done("initial", 0, initial_parameters(study)), "moments": moments_of(study)}, Stream.public(1)
    )
    assert isinstance(begun, State)
    asked = {term.name for term in training.ask(begun).layout if term.name.startswith("validation/")}
    assert asked == {f"validation/{name}" for name in {"rows", *sums}}
    names = {term.name for term in test.ask(begun).layout}
    assert {name for name in names if "/validation/" in name} == {"federated/validation/rows", "federated/validation/errors"}


def test_the_officer_is_told_that_labels_and_errors_leave() -> None:
    training, test = (one.leaves()[1] for one in agreed().algorithms[1:])
    assert "summed errors" in training and "labels" in training
    assert all(words in test for words in ("sums of errors and labels", "a histogram of the errors", "in groups of at least 10 patients"))


def moments_of(study: Protocol) -> Done:
    return Done("moments", 1, mean_and_deviation(moment_sums(study, numbers(1))))


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_sums_of_fewer_than_ten_patients_leave_no_hospital_where_they_are_seen(tmp_path: Path, combine: str) -> None:
    seen = combine == "plain"
    study = agreed(rounds={"quorum": 3, "combine": combine}, privacy={"counts": seen}, evaluation={"metrics": ["r2"], "replicates": 30})
    data = {**sites(3), "tiny": numbers(9, 40)}
    made = small(tmp_path, study, data)
    done = made.run()
    assert not made.refused
    total, own = done["test"].results, made.places["tiny"].site.state.mine()["test"]
    everybody = sum(len(one.rows("test")) for one in data.values())
    there = everybody - (8 if seen else 0)
    assert total["federated/patients"][0] == total["federated/test/rows"][0] == there
    assert np.sum(total["federated/validation/errors"]) == there * residuals.VOTES
    assert own["federated/test/rows"][0] == own["federated/patients"][0] == 8


def test_test_and_validation_labels_change_no_unit() -> None:
    study, data = agreed(), numbers(1)
    altered = np.where(data.role > 0, 0.0, data.columns["stay"])
    other = Dataset({**data.columns, "stay": altered}, data.patient, data.role)
    one, two = (moment_sums(study, each) for each in (data, other))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    unit = batch_of(study, data, mean_and_deviation(one), "test")["unit"][0]
    train = data.columns["stay"][data.rows("train")]
    assert unit == pytest.approx([np.mean(train), np.std(train)])


def off_by(much: float, study: Protocol, data: Dataset) -> Scorer:
    """Return what predicts the label and that much more."""
    return lambda role: np.asarray(data.columns["stay"][data.rows(role)][:, None] + much)


def test_the_shared_interval_is_found_again_from_its_width() -> None:
    study = agreed()
    question, sums = study.question_plugin, {}
    for name, data in sites().items():
        sums[name] = judged(study, off_by(1.5, study, data), data, None)
    total = all_sites(sums.values())
    found = question.further(total, sums)
    assert 1.5 <= found["interval"]["half_width"] < 1.55 and found["interval"]["coverage"]["value"] == 1
    for name, one in sums.items():
        assert question.here(found, under(one, "test")) == {"interval": found["interval"]["sites"][name]}
    assert question.here({}, {}) == {} and all(group["patients"] >= 10 for group in found["calibration"])


def test_a_test_of_a_finished_model_that_predicts_a_number_is_refused_in_a_sentence() -> None:
    plan_text = text(phase="", replicates=0).replace('kind = "binary"', 'kind = "regression"').replace('["auroc", "brier"]', '["rmse"]')
    plan_text = plan_text.replace('label = "ill"', 'label = "age"').replace('["age", "chol", "sex=m"]', '["chol", "sex=m"]')
    with pytest.raises(ProtocolError, match="tell classes apart"):
        read_protocol(plan_text, "study.toml")
