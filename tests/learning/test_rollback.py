from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import protocol, small
from wardround.learning.network import initial_parameters
from wardround.study.arrays import under
from wardround.study.findings import FileRefused
from wardround.study.interfaces import Algorithm
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Done, State, Total

PHASES = [{"name": "train", "kind": "fedavg", "rounds": 9, "server_optimiser": "adam", "server_learning_rate": 0.1}]


def agreed(**stop: Any) -> Protocol:
    return protocol(phases=PHASES, model={"normalise": "none"}, stop=stop, evaluation={"metrics": ["accuracy"], "compare": []})


def total(algorithm: Algorithm, state: State, accuracy: float) -> Total:
    sums: dict[str, np.ndarray] = {}
    for term in algorithm.ask(state).layout:
        sums[term.name] = np.ones(term.shape)
    histogram = np.zeros((2, 256))
    histogram[1, 255], histogram[1, 0] = 1000 * accuracy, 1000 * (1 - accuracy)
    return Total(algorithm.ask(state).layout, {}, {**sums, "validation/histogram": histogram}, 4)


def trained(plan: Protocol, accuracies: Sequence[float]) -> list[State | Done]:
    algorithm = plan.by_phase["train"]
    begun = algorithm.begin(plan, {"initial": Done("initial", 0, initial_parameters(plan))}, Stream.public(1))
    states = [begun]
    for accuracy in accuracies:
        last = states[-1]
        assert isinstance(last, State)
        states.append(algorithm.advance(last, total(algorithm, last, accuracy)))
    return states


def same(one: State | Done, other: State | Done, prefix: str, of: str) -> bool:
    first, second = (under(each.arrays if isinstance(each, State) else each.results, name) for each, name in ((one, prefix), (other, of)))
    return bool(first) and all(np.array_equal(first[name], second[name]) for name in first)


def test_a_round_that_is_too_bad_is_undone_and_the_server_starts_anew() -> None:
    start, first, second, back, on = trained(agreed(rollback=0.1), [0.5, 0.8, 0.65, 0.8])
    assert not same(first, second, "params", "params")
    assert same(back, first, "params", "params")  # the model that round 1 judged best, not the one that round 2 was sent or made
    assert same(back, start, "server", "server") and not same(second, start, "server", "server")
    assert isinstance(back, State) and list(np.flatnonzero(back.arrays["undone"])) == [2]
    assert not same(on, back, "params", "params")


def test_a_round_that_is_a_little_worse_stands() -> None:
    *_, second, third = trained(agreed(rollback=0.1), [0.5, 0.8, 0.75])
    assert not same(second, third, "params", "params")
    assert isinstance(third, State) and not third.arrays["undone"].any()


def test_the_third_time_training_ends_with_the_model_that_is_kept() -> None:
    states = trained(agreed(rollback=0.1), [0.5, 0.8, 0.6, 0.8, 0.1, 0.2])
    done = states[-1]
    assert isinstance(done, Done) and done.stopped == "rolled_back" and done.round == 6
    assert same(done, states[1], "params", "params")
    assert list(np.flatnonzero(done.results["undone"])) == [2, 4, 5] and int(done.results["kept_round"]) == 1


def test_with_the_last_round_kept_an_undone_one_is_not() -> None:
    states = trained(agreed(rollback=0.1, keep="last"), [0.5, 0.8, 0.75, 0.4])
    assert same(states[-1], states[2], "params", "params")
    assert isinstance(states[-1], State) and int(states[-1].arrays["kept_round"]) == 2


def test_an_undone_last_round_ends_training_all_the_same() -> None:
    done = trained(agreed(rollback=0.1), [0.5, *[0.8] * 8, 0.2])[-1]
    assert isinstance(done, Done) and done.stopped == "rounds" and done.results["undone"][9]


def test_patience_runs_out_while_rounds_are_undone() -> None:
    done = trained(agreed(rollback=0.1, patience=2), [0.5, 0.8, 0.2, 0.2])[-1]
    assert isinstance(done, Done) and done.stopped == "patience" and int(done.results["kept_round"]) == 1


def test_without_the_key_nothing_is_undone() -> None:
    states = trained(agreed(), [0.5, 0.8, 0.1])
    assert isinstance(states[-1], State) and "undone" not in states[-1].arrays
    assert not same(states[-1], states[1], "params", "params")


def test_a_study_with_the_gate_tells_of_it(tmp_path: Path) -> None:
    plan = protocol(
        phases=[{"name": "train", "kind": "fedavg", "rounds": 8, "learning_rate": 0.5, "batch_size": 4}],
        model={"normalise": "none"},
        stop={"rollback": 0.02},
        evaluation={"compare": [], "seed": 2},
    )
    done = small(tmp_path, plan).run()["train"]
    undone = done.results["undone"]
    assert undone.any()
    scores, kept = done.results["scores"], int(done.results["kept_round"])
    best = [np.max(scores[: number + 1]) for number in range(done.round)]
    assert [bool(one) for one in undone[: done.round]] == [scores[number] < best[number] - 0.02 for number in range(done.round)]
    assert scores[kept] == np.nanmax(scores)
    assert done.stopped == ("rolled_back" if undone.sum() == 3 else "rounds")


def test_private_parts_cannot_be_taken_back() -> None:
    with pytest.raises(FileRefused, match="private parts stay"):
        protocol(model={"private": ["head"]}, stop={"rollback": 0.1, "keep": "last"})
