from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tests.learning.findings import LABELS, agreed, seen
from tests.support import small
from wardround.learning.evaluation import all_sites
from wardround.learning.norm import no_norm
from wardround.learning.questions.binary import Binary
from wardround.learning.questions.multilabel import UNKNOWN, InContract, Multilabel
from wardround.learning.rows import batch_of, joined
from wardround.study.arrays import Arrays, put_under
from wardround.study.errors import DataError, ProtocolError
from wardround.study.findings import FileRefused

QUESTION = InContract(names=LABELS)
WIDE = len(LABELS)


def drawn(seed: int, count: int, unknown: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that know something, and answers of which some are not known."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, (count, WIDE))
    output = rng.normal(0, 2, (count, WIDE)) + 1.5 * (y - 0.5)
    return output, np.where(rng.random((count, WIDE)) < unknown, UNKNOWN, y)


def batch(y: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": y, "patient": np.arange(len(y)), "mask": np.ones(len(y), dtype=bool)}


def sums_of(output: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> Arrays:
    return QUESTION.metrics(output, batch(y), weights)


def found_in(sums: Arrays) -> dict[str, np.ndarray]:
    return {name: QUESTION.finalise(sums, name) for name in QUESTION.better}


@pytest.mark.parametrize("seed", range(4))
def test_metrics_agree_with_scikit_learn_over_known_answers(seed: int) -> None:
    output, y = drawn(seed, 400)
    found, p = found_in(sums_of(output, y)), 1 / (1 + np.exp(-output))
    known = [(y[y[:, one] >= 0, one], p[y[:, one] >= 0, one]) for one in range(WIDE)]

    def mean(measure: Any, cut: float | None = None) -> float:
        return float(np.mean([measure(truth, told if cut is None else told >= cut) for truth, told in known]))

    assert found["auroc"] == pytest.approx(mean(reference.roc_auc_score), abs=1e-3)
    assert found["auprc"] == pytest.approx(mean(reference.average_precision_score), abs=5e-3)
    assert found["brier"] == pytest.approx(mean(reference.brier_score_loss), abs=2e-3)
    assert found["balanced_accuracy"] == pytest.approx(mean(reference.balanced_accuracy_score, 0.5), abs=1e-12)
    truth, told = (np.concatenate(parts) for parts in zip(*known, strict=True))
    assert found["loss"] == pytest.approx(reference.log_loss(truth, told), abs=1e-9)


def test_each_label_alone_is_a_binary_question() -> None:
    output, y = drawn(9, 200)
    sums = sums_of(output, y)
    for place in range(WIDE):
        known = y[:, place] >= 0
        alone = Binary().metrics(output[known, place : place + 1], {"y": y[known, place]})
        assert np.array_equal(sums["histogram"][place], alone["histogram"])
        assert sums["loss"][place] == pytest.approx(float(alone["loss"]))


@given(seed=st.integers(0, 1000), cut=st.integers(0, 40), order=st.permutations(range(40)))
def test_sums_add_in_parts_and_in_any_order(seed: int, cut: int, order: list[int]) -> None:
    output, y = drawn(seed, 40)
    shuffled, same = output[order], y[order]
    parts = [sums_of(shuffled[:cut], same[:cut]), sums_of(shuffled[cut:], same[cut:])]
    for name, value in sums_of(output, y).items():
        assert np.allclose(np.asarray(parts[0][name]) + parts[1][name], value)


@given(seed=st.integers(0, 1000), what=st.floats(-1e5, 1e5))
def test_what_a_model_says_where_nobody_knows_changes_no_sum(seed: int, what: float) -> None:
    output, y = drawn(seed, 30, unknown=0.4)
    other = np.where(y == UNKNOWN, what, output)
    assert all(np.array_equal(value, sums_of(other, y)[name]) for name, value in sums_of(output, y).items())


def test_an_unknown_answer_moves_no_other_label() -> None:
    import torch

    output, y = drawn(3, 40, unknown=0.0)

    def slope(answers: np.ndarray) -> np.ndarray:
        raw = torch.tensor(output, requires_grad=True)
        QUESTION.loss(raw, {"y": torch.from_numpy(answers)}).sum().backward()  # type: ignore[no-untyped-call]
        assert raw.grad is not None
        return np.asarray(raw.grad.numpy())

    hidden = y.copy()
    hidden[:, 1] = UNKNOWN
    whole, part = slope(y), slope(hidden)
    assert np.array_equal(part[:, [0, 2]], whole[:, [0, 2]]) and np.all(part[:, 1] == 0) and np.all(whole[:, 1] != 0)
    nothing = QUESTION.loss(torch.from_numpy(output), {"y": torch.full((40, WIDE), UNKNOWN)})
    assert torch.all(nothing == 0)


def test_the_loss_that_trains_follows_the_loss_that_is_reported() -> None:
    import torch

    output, y = drawn(1, 50)
    trained = float(QUESTION.loss(torch.from_numpy(output), {"y": torch.from_numpy(y)}).sum()) * WIDE
    assert float(found_in(sums_of(output, y))["loss"]) == pytest.approx(trained / int((y >= 0).sum()))


@given(bad=st.sampled_from([np.nan, np.inf, -np.inf]), place=st.integers(0, 19))
def test_scores_that_are_not_finite_are_refused(bad: float, place: int) -> None:
    output, y = drawn(1, 20)
    output[place, place % WIDE] = bad
    with pytest.raises(DataError, match="not finite"):
        sums_of(output, y)


def test_sums_fit_their_layout_and_weights_count_rows() -> None:
    output, y = drawn(2, 30)
    weights = np.stack([np.ones(30, dtype=np.int64), np.arange(30) % 3])
    sums, twice = sums_of(output, y, weights), np.repeat(np.arange(30), weights[1])
    once, again = sums_of(output, y), sums_of(output[twice], y[twice])
    terms = QUESTION.terms(WIDE, 30, 4, replicates=1)
    assert sums.keys() == {term.name for term in terms}
    for term in terms:
        assert sums[term.name].shape == term.shape and np.all(np.abs(sums[term.name]) <= term.limit)
        assert np.allclose(sums[term.name][0], once[term.name]) and np.allclose(sums[term.name][1], again[term.name])
    for name, value in found_in(sums).items():
        assert value.shape == (2,) and value[0] == pytest.approx(float(found_in(once)[name]))


def test_one_label_without_a_class_leaves_the_mean_without_a_value() -> None:
    output, y = drawn(5, 60)
    y[:, 2] = UNKNOWN
    found = found_in(sums_of(output, y))
    assert all(np.isnan(found[name]) for name in found if name != "loss") and np.isfinite(found["loss"])
    y[:, 2] = 0
    found = found_in(sums_of(output, y))
    assert np.isnan(found["auroc"]) and np.isfinite(found["brier"])


def test_guessing_is_what_a_model_of_shares_alone_gets() -> None:
    rng = np.random.default_rng(6)
    y = (rng.random((3000, WIDE)) < [0.5, 0.2, 0.7]).astype(np.int64)
    y[rng.random(y.shape) < 0.3] = UNKNOWN
    shares = [np.mean(one[one >= 0]) for one in y.T]
    output = QUESTION.score(np.tile(shares, (3000, 1)))
    sums = sums_of(output, y)
    chance, found = QUESTION.chance(sums), found_in(sums)
    assert chance.keys() == found.keys()
    for name in ("auroc", "accuracy", "loss"):
        assert float(found[name]) == pytest.approx(chance[name], abs=1e-6)
    assert float(found["brier"]) == pytest.approx(chance["brier"], abs=1e-2)


def test_probability_and_score_are_inverse_label_by_label() -> None:
    output, _ = drawn(7, 20)
    p = QUESTION.probability(output)
    assert np.allclose(p, 1 / (1 + np.exp(-output))) and np.allclose(QUESTION.score(p), output)


def test_a_threshold_keeps_the_mean_specificity_on_validation() -> None:
    sums = sums_of(*drawn(3, 300))
    for wanted in (0.5, 0.8, 0.95):
        assert QUESTION.rates_at(sums, sums, wanted)["specificity"] >= wanted


def test_a_tally_counts_patients_with_and_without_each() -> None:
    y = np.array([[0, 1, -1], [1, 1, -1], [-1, -1, -1], [0, 0, 1]])
    told = QUESTION.tally({"y": y, "patient": np.array([0, 0, 1, 2])}, WIDE)
    assert told.tolist() == [2, 2, 1, 1, 1, 0, 1] and QUESTION.groups(WIDE) == 7
    assert QUESTION.enough(np.array([30, 20, 10, 5, 25, 15, 15])) and not QUESTION.enough(np.array([30, 20, 10, 4, 26, 15, 15]))
    assert QUESTION.smallest_of(np.array([30, 20, 10, 4, 26, 15, 15])) == 4


def test_a_finding_that_nobody_looks_for_at_a_site_takes_no_verdict_from_the_others() -> None:
    assert QUESTION.enough(np.array([30, 20, 10, 0, 0, 15, 15])) and not QUESTION.enough(np.array([30, 20, 10, 0, 30, 15, 15]))
    assert QUESTION.smallest_of(np.array([30, 20, 10, 0, 0, 15, 15])) == 10 and QUESTION.smallest_of(np.zeros(7, dtype=np.int64)) == 0
    _, y = drawn(1, 20)
    y[:, 1] = UNKNOWN
    assert QUESTION.taught(batch(y)).tolist() == [1, 0, 1]


def test_only_models_that_learnt_a_label_vote_on_it(tmp_path: Path) -> None:
    from wardround.learning.algorithms.evaluate import scorer
    from wardround.learning.comparators import compare
    from wardround.study.arrays import under
    from wardround.study.streams import Stream
    from wardround.study.task import SiteWork

    plan = agreed()
    data = {f"s{number}": seen(number, 90, LABELS[number]) for number in range(3)}
    study = small(tmp_path, plan, data)
    earlier = study.run()
    work = {name: SiteWork(one, study.places[name].site.state.mine(), Stream.public(1).child(name)) for name, one in data.items()}
    found = compare(plan.changed(evaluation=plan.evaluation.model_copy(update={"compare": ("ensemble",)})), work, earlier)
    here, p = data["s0"], []
    for one in work.values():
        local = one.mine["local"]
        p.append(QUESTION.probability(scorer(plan, local, under(local, "norm"), here)("test")))
    voted = np.stack([(p[1] + p[2])[:, 0], (p[0] + p[2])[:, 1], (p[0] + p[1])[:, 2]], axis=1) / 2
    y = batch_of(plan, here, no_norm(plan), "test")["y"]
    expected = QUESTION.metrics(QUESTION.score(voted), batch(y))
    assert np.array_equal(found["ensemble"]["s0"]["test/histogram"][0], expected["histogram"])


def _with_tally(output: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {**put_under("test", sums_of(output, y)), "patients": QUESTION.tally(batch(y), WIDE)}


def test_findings_stand_one_by_one_and_one_with_few_patients_cannot_say() -> None:
    output, y = drawn(8, 120, unknown=0.0)
    y[:, 2] = (np.arange(120) < 9).astype(np.int64)
    y[50:, 1] = UNKNOWN
    one, other = _with_tally(output[:60], y[:60]), _with_tally(output[60:], y[60:])
    told = QUESTION.further(all_sites([one, other]), {"a": one, "b": other})["findings"]
    first, second, third = (told["all"][name] for name in LABELS)
    assert first["with"] + first["without"] == 120
    assert first["metrics"]["auroc"]["value"] == pytest.approx(reference.roc_auc_score(y[:, 0], output[:, 0]), abs=3e-3)
    assert "metrics" in second and third == {"verdict": "cannot_say", "note": third["note"]}
    assert "9" not in third["note"].replace("10", "") and "metrics" not in told["sites"]["b"][LABELS[1]]
    assert not any("with" in cell for site in told["sites"].values() for cell in site.values())
    here = QUESTION.here({"findings": told}, sums_of(output[:60], y[:60]))["findings"]
    assert here[LABELS[0]] == told["sites"]["a"][LABELS[0]] and QUESTION.here({}, sums_of(output, y)) == {}


def test_batches_keep_what_is_not_known() -> None:
    plan = agreed()
    data = {name: seen(number, without=LABELS[number % 3]) for number, name in enumerate("xyz")}
    both = joined([batch_of(plan, one, no_norm(plan), "train") for one in data.values()])
    assert both["y"].shape[1] == WIDE and set(np.unique(both["y"])) == {-1, 0, 1}
    turned = agreed({"positive": "no"}).question_plugin.target(plan.contract, data["x"].columns)
    straight = plan.question_plugin.target(plan.contract, data["x"].columns)
    assert np.array_equal(turned, np.where(straight < 0, straight, 1 - straight))


def test_a_study_learns_labels_that_no_hospital_knows_all_of(tmp_path: Path) -> None:
    phases = [
        {"name": "moments", "kind": "moments"},
        {"name": "train", "kind": "fedavg", "rounds": 8, "learning_rate": 1.0, "batch_size": 16},
        {"name": "test", "kind": "evaluate"},
    ]
    plan = agreed(phases=phases)
    done = small(tmp_path, plan, {f"s{number}": seen(number, 150, LABELS[number]) for number in range(3)}).run()
    sums = {name.removeprefix("federated/"): value for name, value in done["test"].results.items()}
    told = plan.question_plugin.further(sums, {})["findings"]["all"]
    assert told["fluid"]["metrics"]["auroc"]["low"] > 0.7 and told["nodule"]["metrics"]["auroc"]["low"] > 0.7
    assert told["scar"]["metrics"]["auroc"]["low"] < 0.6


NUMBER = {"type": "number", "unit": "1", "range": [-5, 5]}
ANSWER = {"type": "code", "codes": ["no", "yes"], "missing": "unknown"}


def _bad() -> Iterator[tuple[dict[str, Any], str]]:
    yield {"labels": ["x", "y"], "fields": {"a": NUMBER, "x": ANSWER, "y": {"type": "code", "codes": [0, 1, 2]}}}, "has 3 codes"
    yield {"labels": ["x", "y"], "fields": {"a": NUMBER, "x": ANSWER, "y": NUMBER}}, "has no codes"
    yield {"label": "x", "fields": {"a": NUMBER, "x": {"type": "code", "codes": [0, 1]}}}, "contract.labels: is missing"


@pytest.mark.parametrize(("contract", "words"), list(_bad()))
def test_labels_that_do_not_fit_are_refused(contract: dict[str, Any], words: str) -> None:
    from tests.support import plan
    from wardround.study.protocol import Protocol

    draft = {**plan(question={"kind": "multilabel"}), "contract": contract}
    with pytest.raises((ProtocolError, FileRefused), match=words):
        Protocol.model_validate(draft).complete()


@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "regression", "nothing"])
def test_a_question_about_one_label_does_not_take_several(kind: str) -> None:
    with pytest.raises((ProtocolError, FileRefused), match="predicts one label"):
        agreed({"kind": kind})


def test_a_finished_model_of_several_labels_is_not_tested_yet() -> None:
    from wardround.learning.algorithms.assess import Assess

    plan = agreed().model_copy(update={"kind": "evaluation"})
    with pytest.raises(ProtocolError, match="several labels"):
        Assess.expand(plan, plan.phases[-1].model_copy(update={"kind": "assess", "options": {}}))


def test_a_positive_code_that_one_label_lacks_is_refused() -> None:
    with pytest.raises((ProtocolError, FileRefused), match="not a code of"):
        agreed({"positive": "maybe"})


def test_a_question_that_met_no_contract_names_no_findings() -> None:
    assert Multilabel().findings == () and isinstance(agreed().question_plugin, InContract)
