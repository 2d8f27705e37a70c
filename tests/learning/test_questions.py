from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tests.support import protocol, rows
from wardround.learning.questions import curves
from wardround.learning.questions.binary import Binary
from wardround.learning.questions.multiclass import Multiclass
from wardround.study.arrays import Arrays
from wardround.study.errors import DataError

QUESTIONS = [(Binary(), 1, 2), (Multiclass(), 3, 3)]


def drawn(seed: int, count: int, outputs: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (count, outputs)), rng.integers(0, classes, count)


def sums_of(question: Binary | Multiclass, output: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> Arrays:
    return question.metrics(output, {"y": y}, weights)


def found_in(question: Binary | Multiclass, sums: Arrays) -> dict[str, np.ndarray]:
    return {name: question.finalise(sums, name) for name in question.better}


@pytest.mark.parametrize("seed", range(5))
def test_binary_metrics_agree_with_scikit_learn(seed: int) -> None:
    output, y = drawn(seed, 400, 1, 2)
    output += 1.5 * (y[:, None] - 0.5)
    found = found_in(Binary(), sums_of(Binary(), output, y))
    p = 1 / (1 + np.exp(-output[:, 0]))
    assert abs(found["auroc"] - reference.roc_auc_score(y, p)) < 1e-3
    assert abs(found["auprc"] - reference.average_precision_score(y, p)) < 5e-3
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, p >= 0.5), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, p >= 0.5), abs=1e-12)
    assert abs(found["brier"] - reference.brier_score_loss(y, p)) < 1e-3
    assert found["loss"] == pytest.approx(reference.log_loss(y, p), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_multiclass_metrics_agree_with_scikit_learn(seed: int) -> None:
    output, y = drawn(seed, 500, 3, 3)
    output[np.arange(500), y] += 1.5
    question = Multiclass()
    found, p = found_in(question, sums_of(question, output, y)), question.probability(output)
    assert abs(found["auroc"] - reference.roc_auc_score(y, p, multi_class="ovr", average="macro")) < 1e-3
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, np.argmax(output, axis=1)), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, np.argmax(output, axis=1)), abs=1e-12)
    assert found["loss"] == pytest.approx(reference.log_loss(y, p), abs=1e-9)
    assert abs(found["brier"] - np.mean(np.sum((p - np.eye(3)[y]) ** 2, axis=1))) < 2e-3


@pytest.mark.parametrize(("question", "outputs", "classes"), QUESTIONS)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 40))
def test_sums_of_parts_add_to_the_sums_of_the_whole(question: Binary | Multiclass, outputs: int, classes: int, seed: int, cut: int) -> None:
    output, y = drawn(seed, 40, outputs, classes)
    parts = [sums_of(question, output[:cut], y[:cut]), sums_of(question, output[cut:], y[cut:])]
    for name, value in sums_of(question, output, y).items():
        assert np.allclose(np.asarray(parts[0][name]) + parts[1][name], value)


@pytest.mark.parametrize(("question", "outputs", "classes"), QUESTIONS)
@given(bad=st.sampled_from([np.nan, np.inf, -np.inf]), place=st.integers(0, 19))
def test_scores_that_are_not_finite_are_refused(question: Binary | Multiclass, outputs: int, classes: int, bad: float, place: int) -> None:
    output, y = drawn(1, 20, outputs, classes)
    output[place, place % outputs] = bad
    with pytest.raises(DataError):
        sums_of(question, output, y)


@pytest.mark.parametrize(("question", "outputs", "classes"), QUESTIONS)
def test_sums_fit_their_layout_and_weights_count_rows(question: Binary | Multiclass, outputs: int, classes: int) -> None:
    output, y = drawn(2, 30, outputs, classes)
    weights = np.stack([np.ones(30, dtype=np.int64), np.arange(30) % 3])
    sums = sums_of(question, output, y, weights)
    for term in question.terms(outputs, 500, 4, replicates=1):
        assert sums[term.name].shape == term.shape
        assert np.all(np.abs(sums[term.name]) <= term.limit)
    twice = np.repeat(np.arange(30), weights[1])
    for name, value in sums_of(question, output[twice], y[twice]).items():
        assert np.allclose(sums[name][1], value)
        assert np.allclose(sums[name][0], sums_of(question, output, y)[name])


def test_probability_and_score_are_inverse() -> None:
    for question, outputs, _ in QUESTIONS:
        output = np.random.default_rng(0).normal(0, 2, (10, outputs))
        back = question.score(question.probability(output))
        assert np.allclose(question.probability(back), question.probability(output))


def test_a_threshold_keeps_the_specificity_on_validation() -> None:
    output, y = drawn(3, 300, 1, 2)
    sums = sums_of(Binary(), output, y)
    for wanted in (0.5, 0.8, 0.95):
        assert Binary().rates_at(sums, sums, wanted)["specificity"] >= wanted


def test_metrics_that_do_not_exist_are_nan_not_numbers() -> None:
    output, _ = drawn(4, 10, 1, 2)
    found = found_in(Binary(), sums_of(Binary(), output, np.ones(10, dtype=np.int64)))
    assert np.isnan(found["auroc"]) and not np.isnan(found["accuracy"])
    empty = found_in(Binary(), sums_of(Binary(), output[:0], np.zeros(0, dtype=np.int64)))
    assert all(np.isnan(value) for value in empty.values())


def test_accuracy_at_one_half_is_exact_at_the_edge() -> None:
    assert curves.bins(np.array([0.0, -1e-12]))[0] == curves.BINS // 2
    assert curves.bins(np.array([-1e-12]))[0] == curves.BINS // 2 - 1


def test_a_tally_counts_patients_not_rows() -> None:
    y = np.array([0, 0, 1, 1, 1, 0])
    assert Binary().tally({"y": y, "patient": np.array([0, 0, 0, 1, 1, 2])}, 1).tolist() == [3, 2, 2]
    assert Multiclass().tally({"y": np.array([0, 2]), "patient": np.array([0, 1])}, 3).tolist() == [2, 1, 0, 1]


def test_too_few_patients_are_too_few() -> None:
    assert Binary().enough(np.array([30, 25, 5]))
    assert not Binary().enough(np.array([29, 20, 9])) and not Binary().enough(np.array([100, 96, 4]))


@pytest.mark.parametrize(("question", "outputs", "classes"), QUESTIONS)
def test_guessing_is_what_a_model_of_shares_alone_gets(question: Binary | Multiclass, outputs: int, classes: int) -> None:
    _, y = drawn(6, 3000, outputs, classes)
    shares = np.bincount(y) / len(y)
    output = question.score(np.tile(shares, (len(y), 1)))
    sums = sums_of(question, output, y)
    chance = question.chance(sums)
    for name in ("auroc", "accuracy", "loss"):
        assert float(question.finalise(sums, name)) == pytest.approx(chance[name], abs=1e-6)
    assert float(question.finalise(sums, "brier")) == pytest.approx(chance["brier"], abs=1e-2)


def test_the_positive_code_can_be_chosen() -> None:
    agreed = protocol(question={"positive": "0"})
    data = rows(1)
    assert np.array_equal(agreed.question_plugin.target(agreed.contract, data.columns), 1 - data.columns["ill"])
