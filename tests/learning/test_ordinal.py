from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tests.support import protocol, rows, small
from wardround.learning.questions.ordinal import InContract, Ordinal, quadratic_kappa
from wardround.study.arrays import Arrays
from wardround.study.errors import DataError, ProtocolError
from wardround.study.findings import FileRefused
from wardround.study.protocol import Protocol

GRADES = 5
QUESTION = InContract(at=2, code="2")
FIELDS = {
    **{name: {"type": "number", "unit": "1", "range": [-5, 5], "missing": "indicator"} for name in "ab"},
    "sex": {"type": "code", "codes": ["f", "m"]},
    "ill": {"type": "code", "codes": [0, 1, 2, 3]},
}


def agreed(question: dict[str, Any] | None = None, **changes: Any) -> Protocol:
    asked = {"kind": "ordinal", **(question or {})}
    tables: dict[str, Any] = {"contract": {"fields": FIELDS}, "evaluation": {"metrics": ["quadratic_kappa", "mae"]}}
    return protocol(question=asked, **{**tables, **changes})


def drawn(seed: int, count: int, reach: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of the steps, which know something, and grades."""
    rng = np.random.default_rng(seed)
    grade = rng.integers(0, GRADES, count)
    return rng.normal(0, reach, (count, GRADES - 1)) + 1.5 * np.sign(grade[:, None] - np.arange(GRADES - 1) - 0.5), grade


def probabilities(output: np.ndarray) -> np.ndarray:
    """Return the same as `probability`, step by step in plain words: who has come so far, and stays or goes on."""
    here, found = np.ones(len(output)), []
    for step in output.T:
        on = 1 / (1 + np.exp(-step))
        found.append(here * (1 - on))
        here = here * on
    return np.stack([*found, here], axis=1)


def sums_of(output: np.ndarray, grade: np.ndarray, weights: np.ndarray | None = None, question: Ordinal = QUESTION) -> Arrays:
    return question.metrics(output, {"y": grade}, weights)


def found_in(sums: Arrays) -> dict[str, np.ndarray]:
    return {name: QUESTION.finalise(sums, name) for name in QUESTION.better}


@pytest.mark.parametrize("seed", range(5))
def test_metrics_agree_with_scikit_learn(seed: int) -> None:
    output, grade = drawn(seed, 400)
    found, p = found_in(sums_of(output, grade)), probabilities(output)
    told = np.array([int(np.flatnonzero(np.cumsum(one) > 0.5)[0]) for one in p])  # the median
    referable, score = grade >= 2, p[:, 2:].sum(axis=1)
    assert found["quadratic_kappa"] == pytest.approx(reference.cohen_kappa_score(grade, told, weights="quadratic"), abs=1e-12)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(grade, told), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(grade, told), abs=1e-12)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(grade, told), abs=1e-12)
    assert found["loss"] == pytest.approx(reference.log_loss(grade, p), abs=1e-9)
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(referable, score), abs=1e-3)
    assert found["auprc"] == pytest.approx(reference.average_precision_score(referable, score), abs=5e-3)
    assert found["brier"] == pytest.approx(reference.brier_score_loss(referable, score), abs=2e-3)


@given(output=st.lists(st.lists(st.floats(-600, 600), min_size=4, max_size=4), min_size=1, max_size=8))
def test_any_numbers_make_probabilities_of_grades(output: list[list[float]]) -> None:
    p = QUESTION.probability(np.array(output))
    assert p.shape == (len(output), GRADES) and np.all(p >= 0) and np.allclose(p.sum(axis=1), 1)
    assert np.allclose(p, probabilities(np.array(output)), atol=1e-12)
    assert np.allclose(QUESTION.probability(QUESTION.score(p)), p, atol=1e-10)


def test_the_loss_that_trains_is_the_loss_that_is_reported() -> None:
    import torch

    output, grade = drawn(1, 50)
    each = Ordinal().loss(torch.from_numpy(output), {"y": torch.from_numpy(grade)}).numpy()
    assert np.allclose(each, -np.log(probabilities(output)[np.arange(50), grade]))
    assert float(QUESTION.finalise(sums_of(output, grade), "loss")) == pytest.approx(float(np.mean(each)))


def test_two_grades_off_count_four_times() -> None:
    near, far = np.diag([10, 10, 10, 10, 10]), np.diag([10, 10, 10, 10, 10])
    near[0, 1], far[0, 2] = 4, 1
    pairs = [float(1 - quadratic_kappa(table.astype(np.float64))) for table in (near, far)]
    assert pairs[0] == pytest.approx(pairs[1], rel=0.1) and pairs[0] > 0
    assert np.isnan(quadratic_kappa(np.diag([7.0, 0, 0])))


@given(seed=st.integers(0, 1000), cut=st.integers(0, 40), order=st.permutations(range(40)))
def test_sums_add_in_parts_and_in_any_order(seed: int, cut: int, order: list[int]) -> None:
    output, grade = drawn(seed, 40)
    shuffled, same = output[order], grade[order]
    parts = [sums_of(shuffled[:cut], same[:cut]), sums_of(shuffled[cut:], same[cut:])]
    for name, value in sums_of(output, grade).items():
        assert np.allclose(np.asarray(parts[0][name]) + parts[1][name], value)


@given(bad=st.sampled_from([np.nan, np.inf, -np.inf]), place=st.integers(0, 19))
def test_scores_that_are_not_finite_are_refused(bad: float, place: int) -> None:
    output, grade = drawn(1, 20)
    output[place, place % 4] = bad
    with pytest.raises(DataError, match="not finite"):
        sums_of(output, grade)


@pytest.mark.parametrize("reach", [2.0, 5000.0])
def test_sums_fit_their_layout_and_weights_count_rows(reach: float) -> None:
    output, grade = drawn(2, 30, reach)
    weights = np.stack([np.ones(30, dtype=np.int64), np.arange(30) % 3])
    sums, twice = sums_of(output, grade, weights), np.repeat(np.arange(30), weights[1])
    once, again = sums_of(output, grade), sums_of(output[twice], grade[twice])
    terms = QUESTION.terms(GRADES - 1, 30, 4, replicates=1)
    assert sums.keys() == {term.name for term in terms}
    for term in terms:
        assert sums[term.name].shape == term.shape and np.all(np.abs(sums[term.name]) <= term.limit)
        assert np.allclose(sums[term.name][0], once[term.name]) and np.allclose(sums[term.name][1], again[term.name])
    replicates = found_in(sums)["quadratic_kappa"]
    assert replicates[0] == pytest.approx(float(found_in(once)["quadratic_kappa"])) and replicates[0] != replicates[1]


def test_guessing_is_what_the_shares_alone_give() -> None:
    rng = np.random.default_rng(5)
    grade = rng.choice(GRADES, 3000, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    output = QUESTION.score(np.tile(np.bincount(grade) / 3000, (3000, 1)))
    sums = sums_of(output, grade)
    chance, found = QUESTION.chance(sums), found_in(sums)
    assert chance.keys() == found.keys() and chance["quadratic_kappa"] == 0
    assert {"accuracy", "balanced_accuracy", "mae", "loss", "auroc"} == {
        name for name in ("accuracy", "balanced_accuracy", "mae", "loss", "auroc") if abs(float(found[name]) - chance[name]) < 1e-6
    }
    assert float(found["brier"]) == pytest.approx(chance["brier"], abs=1e-2)
    assert chance["mae"] == pytest.approx(float(np.mean(np.abs(grade - np.median(grade)))))


def test_a_threshold_for_referable_keeps_the_specificity_on_validation() -> None:
    sums = sums_of(*drawn(3, 300))
    for wanted in (0.5, 0.8, 0.95):
        assert QUESTION.rates_at(sums, sums, wanted)["specificity"] >= wanted


def test_referable_is_cut_where_the_study_says() -> None:
    output, grade = drawn(4, 100)
    for at in range(1, GRADES):
        sums = sums_of(output, grade, question=InContract(at=at))
        assert sums["histogram"].sum(axis=1).tolist() == [int((grade < at).sum()), int((grade >= at).sum())]
    told = agreed({"referable": "3"}).question_plugin
    assert isinstance(told, InContract) and (told.cut, told.further({}, {})) == (3, {"referable": {"from": "3"}})
    assert isinstance(first := agreed().question_plugin, InContract) and first.cut == 1


def test_a_tally_counts_patients_of_each_grade() -> None:
    batch = {"y": np.array([0, 0, 1, 4, 4, 2]), "patient": np.array([0, 0, 0, 1, 1, 2])}
    assert QUESTION.tally(batch, GRADES - 1).tolist() == [3, 1, 1, 1, 0, 1] and QUESTION.groups(GRADES - 1) == 6
    assert QUESTION.enough(np.array([30, 5, 5, 5, 5, 10])) and not QUESTION.enough(np.array([40, 20, 4, 5, 5, 6]))


def _bad() -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    yield {"referable": "0"}, {}, "the lowest grade"
    yield {"referable": "9"}, {}, "not a code"
    yield {}, {"contract": {"fields": {**FIELDS, "ill": {"type": "code", "codes": [0, 1]}}}}, "three codes or more"
    yield {}, {"contract": {"fields": {**FIELDS, "ill": {"type": "number", "unit": "1", "range": [0, 4]}}}}, "is a number"
    yield {}, {"evaluation": {"metrics": ["kappa"]}}, "no metric 'kappa'"


@pytest.mark.parametrize(("question", "changes", "words"), list(_bad()))
def test_what_does_not_fit_is_refused(question: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises((ProtocolError, FileRefused), match=words):
        agreed(question, **changes)


def test_a_finished_model_of_grades_is_not_tested_yet() -> None:
    from wardround.learning.algorithms.assess import Assess

    plan = agreed().model_copy(update={"kind": "evaluation"})
    with pytest.raises(ProtocolError, match="'ordinal' asks for something else"):
        Assess.expand(plan, plan.phases[-1].model_copy(update={"kind": "assess", "options": {}}))


def test_a_study_of_grades_learns(tmp_path: Path) -> None:
    phases = [
        {"name": "moments", "kind": "moments"},
        {"name": "train", "kind": "fedavg", "rounds": 6, "learning_rate": 0.5, "batch_size": 16},
        {"name": "test", "kind": "evaluate"},
    ]
    plan = agreed(phases=phases, evaluation={"metrics": ["quadratic_kappa"], "replicates": 30})
    done = small(tmp_path, plan, {f"s{number}": rows(number, 120, classes=4) for number in range(3)}).run()
    test = {name.removeprefix("federated/test/"): value for name, value in done["test"].results.items() if "/test/" in name}
    assert plan.question_plugin.finalise(test, "quadratic_kappa")[0] > 0.4


def test_a_tie_goes_to_the_grade_above() -> None:
    table = sums_of(np.zeros((1, GRADES - 1)), np.array([0]))["confusions"]
    assert np.argmax(table[0]) == 1


@pytest.mark.parametrize(
    ("first", "sums"), [("quadratic_kappa", {"confusions"}), ("auroc", {"histogram"}), ("loss", {"confusions", "loss"})]
)
def test_validation_rows_tell_what_the_first_metric_needs_and_no_more(first: str, sums: set[str]) -> None:
    plan = agreed(evaluation={"metrics": [first]})
    terms = {term.name: term for term in plan.question_plugin.terms(plan.outputs, 100, 3)}
    asked = {name for name in terms if first in plan.question_plugin.later[name]}
    assert asked == sums
    full = plan.question_plugin.metrics(drawn(1, 40)[0][:, :3], {"y": drawn(1, 40)[1] % 4})
    assert np.isfinite(plan.question_plugin.finalise({name: full[name] for name in asked}, first))
    assert {name for name in terms if "interval" in plan.question_plugin.later[name]} == {"histogram"}
