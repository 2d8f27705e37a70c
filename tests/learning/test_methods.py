"""Training methods: each is federated averaging where its own part is nothing, and does what its paper says where it is something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import PHASES, plan, protocol, rows, small
from wardround.learning.network import initial_parameters
from wardround.learning.pace import effective
from wardround.study.arrays import Arrays, under
from wardround.study.dataset import Dataset
from wardround.study.errors import WardroundError
from wardround.study.protocol import Protocol
from wardround.study.task import Done

LOCAL: dict[str, Any] = {"rounds": 3, "batch_size": 16, "learning_rate": 0.3, "local_epochs": 2}


def unequal() -> dict[str, Dataset]:
    return {f"s{number}": rows(number, count) for number, count in enumerate((200, 60, 24))}


def trained(folder: Path, kind: str, combine: str = "plain", **options: Any) -> Done:
    phases = [PHASES[0], {"name": "train", "kind": kind, **LOCAL, **options}]
    counts = {"counts": True} if combine == "plain" else {}
    agreed = protocol(phases=phases, stop={"keep": "last"}, rounds={"quorum": 3, "combine": combine}, privacy=counts)
    folder.mkdir()
    return small(folder, agreed, unequal()).run()["train"]


def parameters(done: Done) -> np.ndarray:
    return np.concatenate([np.ravel(value) for _, value in sorted(under(done.results, "params").items())])


@pytest.mark.parametrize(
    "kind, options, plain",
    [
        ("fedprox", {"mu": 0.0}, {}),
        ("scaffold", {"rounds": 1}, {"rounds": 1}),
        ("fednova", {"local_steps": 5}, {"local_steps": 5}),
        ("qffl", {"q": 0.0}, {"weighting": "equal"}),
    ],
)
def test_without_its_own_part_a_method_is_federated_averaging(tmp_path: Path, kind: str, options: Any, plain: Any) -> None:
    full: dict[str, Any] = {"batch_size": 10_000}  # the order of batches is keyed by the task, which differs
    mine, theirs = trained(tmp_path / "a", kind, **options, **full), trained(tmp_path / "b", "fedavg", **plain, **full)
    assert np.allclose(parameters(mine), parameters(theirs), atol=2e-5)


@pytest.mark.parametrize("kind, options", [("fedprox", {"mu": 5.0}), ("scaffold", {}), ("fednova", {}), ("qffl", {"q": 2.0})])
def test_with_its_own_part_it_is_another_method(tmp_path: Path, kind: str, options: Any) -> None:
    full: dict[str, Any] = {"batch_size": 10_000, "local_epochs": 6, **options}
    steps: dict[str, Any] = {"batch_size": 24} if kind == "fednova" else {}
    mine = trained(tmp_path / "a", kind, **{**full, **steps})
    theirs = trained(tmp_path / "b", "fedavg", **{"batch_size": 10_000, "local_epochs": 6, **steps})
    assert np.max(np.abs(parameters(mine) - parameters(theirs))) > 1e-3


def test_a_strong_pull_keeps_parameters_where_they_were(tmp_path: Path) -> None:
    far: dict[str, Any] = {"batch_size": 10_000, "local_epochs": 20}
    free, pulled = trained(tmp_path / "a", "fedprox", **far, mu=0.0), trained(tmp_path / "b", "fedprox", **far, mu=3.0)
    assert np.linalg.norm(parameters(pulled)) < 0.6 * np.linalg.norm(parameters(free))


@pytest.mark.parametrize("kind", ["fedprox", "scaffold", "fednova", "qffl"])
def test_a_method_learns_the_same_through_the_secure_sum(tmp_path: Path, kind: str) -> None:
    one, other = (
        trained(tmp_path / "c", kind, rounds=2, batch_size=10_000),
        trained(tmp_path / "d", kind, "secure", rounds=2, batch_size=10_000),
    )
    assert np.allclose(parameters(one), parameters(other), atol=1e-6)


def test_variates_of_scaffold_sum_to_the_common_one(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(phases=[PHASES[0], {"name": "train", "kind": "scaffold", **LOCAL}], stop={"keep": "last"}), unequal())
    seen: list[Arrays] = []
    algorithm = study.protocol.by_phase["train"]
    advance = type(algorithm).advance

    def noted(self: Any, state: Any, total: Any) -> Any:
        new = advance(self, state, total)
        if not isinstance(new, Done):
            seen.append(under(new.arrays, "server/variate"))
        return new

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(algorithm), "advance", noted)
        study.run()
    own = [under(place.site.state.mine()["train"], "variate") for place in study.places.values()]
    counts = [len(place.data.rows("train")) for place in study.places.values()]
    for name, common in seen[-1].items():
        assert np.allclose(common, np.average([one[name] for one in own], axis=0, weights=counts), atol=1e-4)


def test_a_variate_is_the_mean_gradient_whatever_the_momentum(tmp_path: Path) -> None:
    """With tiny steps the gradient hardly changes, so a site's variate is the same with momentum and without."""
    found = []
    for number, momentum in enumerate((0.0, 0.9)):
        options = {**LOCAL, "rounds": 1, "batch_size": 10_000, "learning_rate": 1e-4, "local_epochs": 3, "momentum": momentum}
        (tmp_path / str(number)).mkdir()
        agreed = protocol(phases=[PHASES[0], {"name": "train", "kind": "scaffold", **options}, PHASES[3]], stop={"keep": "last"})
        study = small(tmp_path / str(number), agreed, unequal())
        study.run()
        found.append(under(study.places["s2"].site.state.mine()["train"], "variate"))
    for name, value in found[0].items():
        assert np.any(value) and np.allclose(found[1][name], value, atol=2e-3)


def test_variates_still_agree_after_a_round_is_undone(tmp_path: Path) -> None:
    phases = [PHASES[0], {"name": "train", "kind": "scaffold", **LOCAL, "rounds": 6, "learning_rate": 2.0}]
    study = small(tmp_path, protocol(phases=phases, stop={"rollback": 1e-6}), unequal())
    states: list[Any] = []
    algorithm = type(study.protocol.by_phase["train"])
    advance = algorithm.advance

    def noted(self: Any, state: Any, total: Any) -> Any:
        states.append(advance(self, state, total))
        return states[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(algorithm, "advance", noted)
        done = study.run()["train"]
    assert int(np.sum(done.results["undone"])) > 0  # else this shows nothing
    last = [one for one in states if not isinstance(one, Done)][-1]
    assert float(last.arrays["server/counted"]) == sum(len(place.data.rows("train")) for place in study.places.values())
    assert any(np.any(value) for value in under(last.arrays, "server/variate").values())


def test_effective_steps_are_the_weights_of_all_gradients() -> None:
    """Wang et al. 2020: with momentum, gradient j of K counts (1 - rho^(K - j)) / (1 - rho)."""
    for steps, momentum in ((1, 0.9), (7, 0.5), (40, 0.9), (3, 0.0)):
        weights = [(1 - momentum ** (steps - j)) / (1 - momentum) for j in range(steps)]
        assert np.isclose(effective(steps, momentum), sum(weights))


def test_a_large_q_lowers_the_largest_loss(tmp_path: Path) -> None:
    """One site's labels are turned round: equal averaging leaves it behind, a larger q less so."""
    data = unequal()
    other = data["s2"]
    data["s2"] = Dataset({**other.columns, "ill": 1 - other.columns["ill"]}, other.patient, other.role)

    def worst(folder: Path, q: float) -> float:
        phases = [PHASES[0], {"name": "train", "kind": "qffl", **LOCAL, "rounds": 12, "q": q}]
        folder.mkdir()
        study = small(folder, protocol(phases=phases, stop={"keep": "last"}), data)
        done = study.run()["train"]
        from wardround.learning.network import fill, mean_loss, new_network
        from wardround.learning.norm import norm_here
        from wardround.learning.rows import batch_of

        network = new_network(study.protocol)
        fill(network, under(done.results, "params"))
        losses = []
        for one in data.values():
            norm = norm_here(study.protocol, under(done.results, "norm"), one)
            losses.append(mean_loss(network, study.protocol.question_plugin, batch_of(study.protocol, one, norm, "train")))
        return max(losses)

    assert worst(tmp_path / "a", 5.0) < worst(tmp_path / "b", 0.0)


@pytest.mark.parametrize("kind", ["scaffold", "fednova"])
def test_a_method_made_for_sgd_refuses_another_optimiser(kind: str) -> None:
    with pytest.raises(WardroundError, match="optimiser"):
        protocol(phases=[PHASES[0], {"name": "train", "kind": kind, "optimiser": "adam"}]).complete()


@pytest.mark.parametrize("q", [5.0, 8.0, 10.0])
def test_a_very_large_q_still_trains(tmp_path: Path, q: float) -> None:
    """With the sums of 32 bits this was held to before, the model moved by nothing at all."""
    agreed = protocol(phases=[PHASES[0], {"name": "train", "kind": "qffl", **LOCAL, "q": q}], stop={"keep": "last"})
    done = small(tmp_path, agreed, unequal()).run()["train"]
    start = np.concatenate([np.ravel(value) for _, value in sorted(initial_parameters(agreed).items())])
    assert np.linalg.norm(parameters(done) - start) > 0.03
    assert done.results["scores"][-1] > done.results["scores"][0]


@settings(max_examples=20)
@given(st.floats(0, 10), st.floats(1e-4, 1.0), st.integers(1, 2_000_000), st.integers(2, 100), st.floats(0.2, 16.0))
def test_what_bounds_a_step_is_told_to_a_millionth_whatever_the_plan(
    q: float, rate: float, parameters: int, sites: int, loss: float
) -> None:
    phases = [PHASES[0], {**PHASES[1], "kind": "qffl", "q": q, "learning_rate": rate}]
    agreed = Protocol.model_validate(plan(phases=phases, bounds={"sites": sites}, evaluation={"compare": []})).complete()
    layout = {term.name: term for term in agreed.by_phase["train"].terms({"w": (parameters,)})}  # type: ignore[attr-defined]
    least = min(loss**q, layout["pace"].limit)
    assert 0 < layout["pace_rest"].step < least * 1e-6
    assert layout["pace_rest"].limit >= layout["pace"].step / 2  # what rounding leaves fits
