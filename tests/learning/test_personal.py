"""Personalised models: the objective that is solved, who stays with the shared model, what leaves, and what is chosen by noise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import PHASES, plan, protocol, rows, small
from wardround.learning.algorithms.choose import FEDERATED, WORDS, beyond_noise
from wardround.learning.algorithms.ditto import DittoOptions
from wardround.learning.algorithms.evaluate import scorer
from wardround.learning.algorithms.finetune import STAYED, FineTune, FineTuneOptions
from wardround.learning.norm import no_norm
from wardround.learning.options import FedAvgOptions
from wardround.learning.own import as_left, as_received, blinded, own_figures, side_by_side
from wardround.learning.personal import Setting, exactly, in_passes
from wardround.learning.rows import batch_of
from wardround.outcome import _judged, copy_for, federated_outcome
from wardround.study.arrays import Arrays, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError, VerificationError
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Answer, Done, State, Total

RNG = Stream.public(5)


def agreed(*phases: dict[str, Any], model: dict[str, Any] | None = None, **changes: Any) -> Protocol:
    before, test = PHASES[:3], PHASES[3:]
    tables = {**plan(**changes), "model": model or {"kind": "logistic"}, "phases": [*before, *phases, *test]}
    return Protocol.model_validate(tables).complete()


def shared_of(plan_: Protocol, value: float = 0.2) -> dict[str, np.ndarray]:
    from wardround.learning.network import initial_parameters

    return {name: np.full_like(one, value) for name, one in initial_parameters(plan_).items()}


def parts(plan_: Protocol, data: Dataset) -> tuple[Any, Any]:
    return batch_of(plan_, data, no_norm(plan_), "train"), batch_of(plan_, data, no_norm(plan_), "validation")


def answered(plan_: Protocol, data: Dataset, shared: Arrays, name: str = "own", **mine: Arrays) -> tuple[Answer, Arrays]:
    """Return what a site gives in a phase after training, whose model is `shared`."""
    algorithm = plan_.by_phase[name]
    done = Done("train", 1, {**put_under("params", shared), **put_under("norm", no_norm(plan_))})
    state = algorithm.begin(plan_, {"train": done}, RNG)
    assert isinstance(state, State)
    answer, kept = algorithm.answer(algorithm.ask(state), data, mine, RNG)
    assert kept is not None
    return answer, kept


def logit(batch: Any, parameters: Arrays) -> np.ndarray:
    return np.asarray(batch["x"].astype(np.float64) @ parameters["weight"][0].astype(np.float64) + float(parameters["bias"][0]))


def test_the_exact_solution_is_where_the_gradient_is_zero() -> None:
    plan_ = agreed()
    shared, (training, validation) = shared_of(plan_), parts(plan_, rows(1, 200))
    found = exactly(plan_, shared, (), training, validation, 0.3).parameters
    off = 1 / (1 + np.exp(-logit(training, found))) - training["y"]
    weight = off @ training["x"] / len(off) + 0.3 * (found["weight"][0] - shared["weight"][0])
    bias = np.mean(off) + 0.3 * (found["bias"][0] - shared["bias"][0])
    assert np.max(np.abs(weight)) < 1e-6 and abs(bias) < 1e-6
    assert np.max(np.abs(found["weight"] - shared["weight"])) > 0.1, "it moved at all"


def test_only_the_named_part_moves_and_few_patients_move_it_less() -> None:
    plan_ = agreed()
    shared = shared_of(plan_)
    moved = []
    for count in (10, 100, 1000):
        data = rows(1, count)
        data.columns["ill"][:] = 1  # everybody is ill, as at a hospital whose training rows are all positive
        training, validation = parts(plan_, data)
        found = exactly(plan_, shared, ("intercept",), training, validation, 1.0 / len(training["mask"])).parameters
        assert np.array_equal(found["weight"], shared["weight"])
        moved.append(float(found["bias"][0] - shared["bias"][0]))
    assert 0.2 < moved[0] < moved[1] < moved[2] < 10


def test_passes_lead_to_the_exact_solution_and_stop_before_they_diverge() -> None:
    plan_ = agreed()
    shared, (training, validation) = shared_of(plan_), parts(plan_, rows(2, 120))
    nothing = {name: value[:0] for name, value in validation.items()}
    local = FedAvgOptions(batch_size=1000, learning_rate=1.0)
    slow = in_passes(plan_, shared, (), (training, nothing), Setting(0.5, 400, local), RNG).parameters
    exact = exactly(plan_, shared, (), training, nothing, 0.5).parameters
    assert max(float(np.max(np.abs(slow[name] - exact[name]))) for name in shared) < 1e-4
    far = Setting(1e6, 50, replace(local, learning_rate=100.0))
    found = in_passes(plan_, shared, (), (training, validation), far, RNG)
    assert found.passes < 3 and all(np.all(np.isfinite(value)) for value in found.parameters.values())


def test_a_head_is_solved_on_what_the_body_gives_and_the_body_stays() -> None:
    plan_ = agreed(model={"kind": "mlp", "hidden": [5]})
    from wardround.learning.network import initial_parameters

    shared = initial_parameters(plan_)
    training, validation = parts(plan_, rows(1, 150))
    found = exactly(plan_, shared, ("head",), training, validation, 0.05).parameters
    moved = {name for name in shared if not np.array_equal(found[name], shared[name])}
    assert moved and all("head" in plan_.model_plugin.parts(name) for name in moved)
    how = Setting(0.05, 600, FedAvgOptions(batch_size=1000, learning_rate=0.5))
    nothing = {name: value[:0] for name, value in validation.items()}
    slow = in_passes(plan_, shared, ("head",), (training, nothing), how, RNG).parameters
    assert max(float(np.max(np.abs(slow[name] - found[name]))) for name in shared) < 1e-3


def test_norm_layers_that_are_not_fitted_keep_their_running_figures() -> None:
    field = {"type": "image", "shape": [1, 12, 12], "intensity": [0, 255]}
    contract = {"label": "ill", "fields": {"scan": field, "ill": {"type": "code", "codes": [0, 1]}}}
    tables = {**plan(), "contract": contract, "model": {"kind": "cnn", "widths": [4], "norm": "batch"}}
    plan_ = Protocol.model_validate(tables).complete()
    data = pictures()
    from wardround.learning.network import initial_parameters

    shared = initial_parameters(plan_)
    training, validation = parts(plan_, data)
    how = Setting(0.0, 2, FedAvgOptions(batch_size=8, learning_rate=0.05))
    nothing = {**validation, "x": validation["x"][:0], **{name: value[:0] for name, value in validation.items() if name != "x"}}
    kinds = {name: plan_.model_plugin.parts(name) for name in shared}
    head = in_passes(plan_, shared, ("head",), (training, nothing), how, RNG).parameters
    assert {name for name in shared if not np.array_equal(head[name], shared[name])} == {name for name in shared if "head" in kinds[name]}
    norm = in_passes(plan_, shared, ("norm",), (training, nothing), how, RNG).parameters
    moved = {name for name in shared if not np.array_equal(norm[name], shared[name])}
    assert any("running" in name for name in moved) and all("norm" in kinds[name] for name in moved)


def pictures() -> Dataset:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 40).astype(np.int32)
    scan = np.clip(rng.normal(100, 20, (40, 1, 12, 12)) + 60 * label[:, None, None, None], 0, 255).astype(np.uint8)
    return Dataset({"scan": scan, "ill": label}, np.arange(40), np.repeat([0, 1, 2], [24, 8, 8]).astype(np.int8))


GRID = {"name": "own", "kind": "finetune", "solver": "exact", "prior": [1.0, 10.0]}


def test_a_site_with_few_validation_patients_stays_unless_the_plan_states_the_pull() -> None:
    data = rows(2, 50)  # 10 validation patients
    for phase, choice in ((GRID, STAYED), ({**GRID, "least": 5}, 0), ({**GRID, "prior": 1.0}, 0)):
        plan_ = agreed(phase)
        shared = shared_of(plan_, -2.0)  # the wrong way round
        _, kept = answered(plan_, data, shared)
        same = all(np.array_equal(under(kept, "params")[name], shared[name]) for name in shared)
        assert (int(kept["choice"]) == STAYED) == (choice == STAYED) == same


def test_the_shared_model_stays_where_validation_likes_it_best() -> None:
    plan_ = agreed({**GRID, "parts": ["intercept"], "least": 5})
    data = rows(1, 200)
    label = data.columns["ill"]
    train, validation = data.rows("train"), data.rows("validation")
    label[train] = 1  # what training rows say is wrong for the validation rows
    label[validation] = np.arange(len(validation)) % 5 == 0
    worst = agreed({**GRID, "parts": ["intercept"], "least": 5}, evaluation={"metrics": ["loss"]})
    shared = {**shared_of(plan_, 0.0), "bias": np.full(1, -1.4, dtype=np.float32)}
    _, kept = answered(worst, data, shared)
    assert int(kept["choice"]) == STAYED and np.array_equal(kept["params/bias"], shared["bias"])


def test_only_a_count_of_sites_leaves_and_test_rows_change_nothing() -> None:
    plan_ = agreed({**GRID, "least": 5})
    data = rows(1, 200)
    answer, kept = answered(plan_, data, shared_of(plan_))
    assert {name: float(value) for name, value in answer.sums.items()} == {"sites": 1.0}
    other = replace(data, columns={name: value.copy() for name, value in data.columns.items()}, cache={})
    other.columns["ill"][data.rows("test")] ^= 1
    again = answered(plan_, other, shared_of(plan_))[1]
    assert all(np.array_equal(kept[name], again[name]) for name in kept)


def test_after_a_refit_the_validated_model_has_not_seen_validation_rows() -> None:
    plan_ = agreed({**GRID, "prior": 1.0}, evaluation={"refit": True})
    data = rows(1, 200)
    shared = shared_of(plan_)
    _, kept = answered(plan_, data, shared)
    training, validation = parts(plan_, data)
    alone = exactly(plan_, shared, (), training, validation, 1.0 / len(training["mask"])).parameters
    assert all(np.array_equal(kept[f"validated/{name}"], alone[name]) for name in alone)
    assert not np.array_equal(kept["params/weight"], kept["validated/weight"])


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        ({"kind": "finetune", "solver": "exact"}, "needs a pull above 0"),
        ({"kind": "finetune", "solver": "exact", "prior": [0.0, 1.0]}, "needs a pull above 0"),
        ({"kind": "ditto", "mu": 0.0}, "mu"),
        ({"kind": "finetune", "parts": ["tail"]}, "parts"),
    ],
)
def test_a_phase_that_cannot_be_is_refused_with_its_key(phase: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says):
        _ = agreed({"name": "own", **phase}).algorithms


def test_an_exact_solution_of_a_whole_network_is_refused() -> None:
    with pytest.raises(ProtocolError, match="last layer alone"):
        _ = agreed({**GRID}, model={"kind": "mlp"}).algorithms
    assert agreed({**GRID, "parts": ["head"]}, model={"kind": "mlp"}).algorithms
    with pytest.raises(ProtocolError, match="no norm"):
        plan_ = agreed({"name": "own", "kind": "finetune", "parts": ["norm"]})
        answered(plan_, rows(1), shared_of(plan_))


def test_personalising_needs_a_shared_model_and_choosing_needs_something_to_choose() -> None:
    tables = {**plan(), "phases": [{"name": "own", "kind": "finetune"}]}
    with pytest.raises(ProtocolError, match="no shared model"):
        _ = Protocol.model_validate(tables).algorithms
    tables["phases"] = [PHASES[0], PHASES[1], {"name": "pick", "kind": "choose"}]
    with pytest.raises(ProtocolError, match="nothing to choose from"):
        _ = Protocol.model_validate(tables).algorithms


def test_ditto_is_fine_tuning_with_a_pull() -> None:
    assert all(mu > 0 for mu, _, _ in DittoOptions().settings) and not DittoOptions().stated
    assert FineTuneOptions(solver="exact", prior=1.0, learning_rate=(0.1, 0.2)).stated, "an exact solution knows no learning rate"
    plan_ = agreed({"name": "own", "kind": "ditto", "least": 5})
    assert isinstance(plan_.by_phase["own"], FineTune)


def drawn(rng: np.random.Generator, gain: float, patients: int = 60, replicates: int = 200) -> dict[str, np.ndarray]:
    """Return the mean of a score by model over some patients, with bootstrap replicates: the other is better by `gain` in truth."""
    one = rng.normal(0, 1, patients)
    other = one + gain + rng.normal(0, 1, patients)
    weights = np.vstack([np.ones((1, patients)), rng.poisson(1, (replicates, patients))])
    return {FEDERATED: weights @ one / weights.sum(1), "local": weights @ other / weights.sum(1)}


def test_noise_rarely_moves_a_site_and_a_true_gain_does() -> None:
    rng, error = np.random.default_rng(3), 1 / np.sqrt(60)
    left = {
        (gain, errors): np.mean([beyond_noise(drawn(rng, gain * error), errors) == "local" for _ in range(200)])
        for gain, errors in ((0.0, 1.0), (0.0, 2.0), (3.0, 1.0), (-2.0, 1.0))
    }
    assert 0.10 < left[0.0, 1.0] < 0.23, "one standard error: 16 % of sites leave though nothing is gained"
    assert left[0.0, 2.0] < 0.06 and left[-2.0, 1.0] < 0.02
    assert left[3.0, 1.0] > 0.95


def test_what_is_chosen_is_kept_with_its_word_and_counted_only_where_counts_may_leave() -> None:
    for counts in (False, True):
        plan_ = agreed({**GRID, "prior": 1.0}, {"name": "pick", "kind": "choose"}, privacy={"counts": counts})
        data, bad = rows(1, 400), shared_of(plan_, -2.0)
        _, own = answered(plan_, data, bad)
        answer, kept = answered(plan_, data, bad, "pick", own=own)
        assert WORDS[int(kept["choice"])] == "personalised" and np.array_equal(kept["params/weight"], own["params/weight"])
        told = {name: float(value) for name, value in answer.sums.items()}
        counted = {"chosen/federated": 0.0, "chosen/personalised": 1.0, "chosen/local": 0.0} if counts else {}
        assert told == {"sites": 1.0, **counted}
        _, stays = answered(plan_, data, under(own, "params"), "pick", own=put_under("params", bad) | put_under("norm", no_norm(plan_)))
        assert WORDS[int(stays["choice"])] == FEDERATED


def test_a_site_of_one_class_chooses_by_loss() -> None:
    plan_ = agreed({**GRID, "prior": 1.0}, {"name": "pick", "kind": "choose"})
    data = rows(1, 200)
    data.columns["ill"][:] = 1
    _, own = answered(plan_, data, shared_of(plan_, -2.0))
    _, kept = answered(plan_, data, shared_of(plan_, -2.0), "pick", own=own)
    assert WORDS[int(kept["choice"])] == "personalised"


PERSONAL: list[dict[str, Any]] = [
    {"name": "own", "kind": "finetune", "parts": ["intercept"], "solver": "exact", "prior": 1.0},
    {"name": "pick", "kind": "choose"},
]


@pytest.mark.parametrize("combine", ["plain", pytest.param("secure", marks=pytest.mark.slow)])
def test_a_whole_study_judges_the_personalised_model(combine: str, tmp_path: Path) -> None:
    plan_ = protocol(
        phases=[*PHASES[:3], *PERSONAL, PHASES[3]],
        model={"private": ["intercept"]},
        stop={"keep": "last"},
        rounds={"quorum": 3, "combine": combine},
    )
    data = {f"site{number}": rows(number, 60 + 70 * number) for number in range(4)}
    made = small(tmp_path, plan_, data, following=combine == "secure")
    done = made.run()
    kept = {name: place.site.state.mine() for name, place in made.places.items()}
    sums = {model: {name: under(one["test"], model) for name, one in kept.items()} for model in ("federated", "personalised", "local")}
    result = _judged(plan_, kept, sums)
    assert result["verdict_of"] == "personalised" and set(result["paired"]) == {"personalised", "local"}
    one, other = result["metrics"]["personalised"]["all"]["auroc"]["value"], result["metrics"]["local"]["all"]["auroc"]["value"]
    assert result["paired_personalised"]["local"]["all"]["auroc"]["value"] == pytest.approx(one - other)
    federation = federated_outcome(plan_, {}, done, [], [], {})
    assert federation["verdict_of"] == "personalised"
    for part, model in (("metrics", "personalised"), ("paired", "personalised"), ("paired_personalised", "local")):
        assert federation[part][model]["all"]["auroc"] == result[part][model]["all"]["auroc"]
    assert int(done["pick"].results["sites"]) == 4 and ("chosen/federated" in done["pick"].results) == (combine == "secure")
    for name, mine in kept.items():  # with private intercepts the shared model is not the same everywhere; what was tested is what was kept
        score = scorer(plan_, mine["pick"], under(mine["pick"], "norm"), data[name])("test")
        tested = plan_.question_plugin.metrics(score, batch_of(plan_, data[name], no_norm(plan_), "test"))
        assert np.array_equal(sums["personalised"][name]["test/histogram"][0], tested["histogram"])


def test_advance_gives_the_counts_on() -> None:
    plan_ = agreed(*PERSONAL)
    for name in ("own", "pick"):
        sums = {"sites": np.asarray(3.0)}
        found = plan_.by_phase[name].advance(State(name, 0, {}), Total((), {}, sums, 3))
        assert isinstance(found, Done) and float(found.results["sites"]) == 3 and found.model is None


def test_a_hospitals_own_copy_and_what_it_tells_hold_all_three_models(tmp_path: Path) -> None:
    plan_ = protocol(phases=[*PHASES[:3], PERSONAL[0], PHASES[3]], model={"hidden": [3]}, evaluation={"site_results": "open"})
    made = small(tmp_path, plan_, {f"site{number}": rows(number, 240) for number in range(3)})
    done = made.run()
    kept = {name: place.site.state.mine()["test"] for name, place in made.places.items()}
    told = {name: {**as_left(plan_, one), "tested": "10-49"} for name, one in kept.items()}
    assert all(set(one["metrics"]) == {"federated", "personalised", "local"} and as_received(one) == one for one in told.values())
    with pytest.raises(VerificationError):
        as_received({**told["site0"], "paired_personalised": {"federated": {}}})
    brought: dict[str, Any] = {name: {"patients": "100-499", "source": "table"} for name in kept}
    result = federated_outcome(plan_, brought, done, [], [], {}, told)
    assert set(result["paired_personalised"]["local"]["sites"]) == set(kept) == set(result["verdicts"])
    copy = copy_for(plan_, json.dumps(result).encode(), "site1", 240, kept["site1"])
    assert copy["metrics"]["personalised"]["sites"]["site1"] == own_figures(plan_, kept["site1"])["metrics"]["personalised"]
    assert blinded(told)["paired_personalised"]["local"]["auroc"]["sites"] == 3
    absent = {name: value for name, value in kept["site2"].items() if not name.startswith("personalised/")}
    found = side_by_side(plan_, {**told, "site2": own_figures(plan_, absent)})
    assert found["verdicts"]["site2"] == "cannot_say" and "absent when the models were personalised" in found["verdict_notes"]["site2"]
    sums = {model: {name: under(one, model) for name, one in kept.items()} for model in ("federated", "personalised", "local")}
    del sums["personalised"]["site2"]
    assert _judged(plan_, kept, sums)["verdict_notes"]["site2"] == found["verdict_notes"]["site2"]
