from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engines.faulty import Diverging, Faulty
from tests.support import PHASES, plan, protocol, rows, small
from wardround.learning.algorithms.fedavg import FedAvg
from wardround.learning.inputs import input_names, scaled_rows
from wardround.learning.network import fill, initial_parameters, new_network, parameters_of, reproducible
from wardround.study.arrays import under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Refusal, State, Task, Update


def joined(parts: list[Dataset]) -> Dataset:
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    role = np.concatenate([part.role for part in parts])
    return Dataset(columns, np.arange(len(role)), role)


def test_federated_moments_are_those_of_the_pooled_training_rows(tmp_path: Path) -> None:
    data = {f"s{number}": rows(number) for number in range(3)}
    study = small(tmp_path, data=data)
    found = study.run()["moments"].results
    whole = joined(list(data.values()))
    z = scaled_rows(study.protocol.contract, whole)[whole.rows("train")]
    assert np.allclose(found["mean"], np.nanmean(z, axis=0), atol=1e-12)
    spread = np.nanstd(z, axis=0)
    assert np.allclose(found["deviation"], np.where(spread > 0, spread, 1), atol=1e-10)
    assert np.sum(spread == 0) == 1  # "b missing" never varies, and is left as it is


def test_inputs_follow_from_the_contract_alone() -> None:
    agreed = protocol()
    assert input_names(agreed.contract) == ["a", "a missing", "b", "b missing", "sex=m"]


def test_one_round_is_the_mean_of_what_the_sites_learnt(tmp_path: Path) -> None:
    """Hold the federated round against a loop over stock torch, written out."""
    import torch

    phases = [PHASES[0], {"name": "train", "kind": "fedavg", "rounds": 1, "batch_size": 10_000, "learning_rate": 0.5}]
    agreed = protocol(phases=phases, stop={"keep": "last"})
    data = {f"s{number}": rows(number) for number in range(3)}
    done = small(tmp_path, agreed, data).run()
    norm, start = done["moments"].results, done["initial"].results
    total, count = {name: np.zeros(value.shape) for name, value in start.items()}, 0
    for part in data.values():
        keep = part.rows("train")
        x = np.nan_to_num((scaled_rows(agreed.contract, part)[keep] - norm["mean"]) / norm["deviation"]).astype(np.float32)
        network = new_network(agreed)
        fill(network, start)
        output = network(torch.from_numpy(x))[:, 0]
        target = torch.from_numpy(part.columns["ill"][keep].astype(np.float32))
        torch.nn.functional.binary_cross_entropy_with_logits(output, target).backward()  # type: ignore[no-untyped-call]
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            total[name] += len(keep) * -0.5 * parameter.grad.numpy()
        count += len(keep)
    for name, value in start.items():
        assert np.allclose(done["train"].results[f"params/{name}"], value + total[name] / count, atol=1e-6)


def test_training_stops_by_patience_and_keeps_the_best_round(tmp_path: Path) -> None:
    phases = [PHASES[0], {**PHASES[1], "rounds": 60, "learning_rate": 3.0}]
    done = small(tmp_path, protocol(phases=phases, stop={"patience": 3})).run()["train"]
    scores = done.results["scores"]
    trained = int(done.results["trained_rounds"])
    assert done.stopped == "patience" and trained < 60 and done.round == trained + 1
    assert int(done.results["kept_round"]) == np.nanargmax(scores) == trained - 3


def test_training_that_diverges_ends_with_the_best_round_before(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(phases=[PHASES[0], {**PHASES[1], "rounds": 9}]), kind=Diverging)
    done = study.run()["train"]
    assert (done.stopped, done.round, int(done.results["trained_rounds"])) == ("quorum", 3, 3)
    assert int(done.results["kept_round"]) == np.nanargmax(done.results["scores"]) < 3
    assert {refused.where for refused in study.refused} == {"answer"}


def test_a_setting_that_diverges_at_once_is_a_bad_setting_not_the_end(tmp_path: Path) -> None:
    done = small(tmp_path, protocol(evaluation={"tune": {"learning_rate": [100.0, 0.1]}})).run()
    assert int(done["train"].results["choice"]) == 1


def test_training_stops_at_its_target(tmp_path: Path) -> None:
    done = small(tmp_path, protocol(stop={"target": 0.5})).run()["train"]
    assert done.stopped == "target"
    assert done.results["scores"][int(done.results["trained_rounds"])] >= 0.5


def test_the_grid_is_judged_on_validation_and_refit_on_both(tmp_path: Path) -> None:
    tune = {"tune": {"learning_rate": [1e-9, 0.3]}, "refit": True}
    study = small(tmp_path, protocol(evaluation=tune))
    assert [one.phase for one in study.protocol.algorithms] == ["moments", "train.0", "train.1", "train", "local", "test"]
    done = study.run()
    assert int(done["train"].results["choice"]) == 1
    assert done["train"].round == int(done["train.1"].results["kept_round"])
    assert done["train"].digest != done["train.1"].digest
    assert done["train.1"].round == int(done["train.1"].results["trained_rounds"]) + 1
    assert int(study.places["site0"].site.state.mine()["local"]["choice"]) == 1


def test_a_refit_without_a_grid_trains_on_both_as_the_baselines_do(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(evaluation={"refit": True}))
    assert [one.phase for one in study.protocol.algorithms] == ["moments", "train.0", "train", "local", "test"]
    done = study.run()
    tuned = study.protocol.by_phase["train"]
    state = tuned.begin(study.protocol, done, Stream.public(0))
    assert isinstance(state, State)
    data = study.places["site0"].data
    answer, _ = tuned.answer(tuned.ask(state), data, {}, Stream.public(0))
    assert answer.sums["examples"] == len(data.rows("train", "validation")) > len(data.rows("train"))
    assert done["train"].digest != done["train.0"].digest
    kept = done["train"].results
    for name, value in under(done["train.0"].results, "params").items():
        assert np.array_equal(kept[f"validated/{name}"], value)


def test_a_refit_that_diverges_ends_with_what_validation_judged(tmp_path: Path) -> None:
    study = small(tmp_path, protocol(evaluation={"refit": True}))
    lost = Faulty(study.engine, lambda update: update)
    asked: list[str] = []

    def refuse(update: Update) -> Refusal | Update:
        return Refusal(update.task, update.site, "release", "too large", "-") if asked and asked[-1] == "train" else update

    def receive(due: float) -> Iterator[Update | Refusal]:
        yield from (refuse(one) if isinstance(one, Update) else one for one in Faulty.receive(lost, due))

    def send(tasks: Sequence[Task]) -> None:
        asked.append(tasks[0].phase)
        Faulty.send(lost, tasks)

    lost.receive, lost.send = receive, send  # type: ignore[method-assign]
    study.engine = lost
    done = study.run()
    assert done["train"].stopped == "quorum"
    for name, value in under(done["train.0"].results, "params").items():
        assert np.array_equal(done["train"].results[f"params/{name}"], value)


def test_keeping_the_last_round_never_keeps_one_that_diverged(tmp_path: Path) -> None:
    agreed = protocol(phases=[PHASES[0], {**PHASES[1], "rounds": 9}], stop={"keep": "last"})
    done = small(tmp_path, agreed, kind=Diverging).run()["train"]
    assert done.stopped == "quorum" and int(done.results["kept_round"]) == 2


def test_names_of_settings_and_phases_cannot_collide() -> None:
    phases = [PHASES[0], PHASES[1], {**PHASES[1], "name": "train.0"}]
    with pytest.raises(ProtocolError, match="also the name of a setting"):
        Protocol.model_validate(plan(phases=phases, evaluation={"tune": {"learning_rate": [0.1, 0.2]}})).complete()


def test_a_site_that_missed_the_local_phase_is_still_judged(tmp_path: Path) -> None:
    study = small(tmp_path)
    study.engine = Faulty(study.engine, lambda update: None if update.site == "site1" and asked[-1] == "local" else update)
    asked: list[str] = []
    inner = study.engine.send

    def send(tasks: Sequence[Task]) -> None:
        asked.append(tasks[0].phase)
        inner(tasks)

    study.engine.send = send  # type: ignore[method-assign]
    results = study.run()["test"].results
    assert {(refused.site, refused.phase) for refused in study.refused} == {("site1", "local")}
    assert results["local/patients"][0] < results["federated/patients"][0]
    kept = study.places["site1"].site.state.mine()["test"]
    assert not under(kept, "local") and under(kept, "federated")["patients"][0] > 0


def test_a_changed_test_row_changes_no_model(tmp_path: Path) -> None:
    """Nothing that test patients bring may reach a model: not through normalisation, batches, stop rule or choice."""
    digests = []
    for change in (False, True):
        data = {f"s{number}": rows(number) for number in range(3)}
        if change:
            test = data["s1"].rows("test")
            data["s1"].columns["a"][test] = 4.9
            data["s1"].columns["ill"][test] = 1 - data["s1"].columns["ill"][test]
        folder = tmp_path / str(change)
        folder.mkdir()
        tune = {"tune": {"learning_rate": [0.05, 0.1]}, "refit": True}
        study = small(folder, protocol(evaluation=tune, model={"dropout": 0.2}), data)
        done = study.run()
        own = study.places["s1"].site.state.mine()["local"]
        digests.append([done["moments"].digest, done["train"].digest, *(own[name].tobytes() for name in sorted(own))])
        assert done["test"].digest  # the judgement itself does change
    assert digests[0] == digests[1]


def test_a_changed_training_row_does_change_the_model(tmp_path: Path) -> None:
    digests = set()
    for change in (False, True):
        data = {f"s{number}": rows(number) for number in range(3)}
        if change:
            data["s1"].columns["a"][data["s1"].rows("train")[0]] = 4.9
        folder = tmp_path / str(change)
        folder.mkdir()
        digests.add(small(folder, data=data).run()["train"].digest)
    assert len(digests) == 2


@pytest.mark.parametrize("normalise", ["federated", "site", "none"])
def test_every_normalisation_trains(tmp_path: Path, normalise: str) -> None:
    phases = [PHASES[0], {**PHASES[1], "rounds": 12, "learning_rate": 0.3}, PHASES[3]]
    study = small(tmp_path, protocol(model={"normalise": normalise}, phases=phases))
    sums = under(study.run()["test"].results, "federated/test")
    assert study.protocol.question_plugin.finalise(sums, "auroc")[0] > 0.6 and not study.refused


def test_three_classes_train(tmp_path: Path) -> None:
    fields = {**plan()["contract"]["fields"], "ill": {"type": "code", "codes": ["none", "mild", "severe"]}}
    phases = [PHASES[0], {**PHASES[1], "rounds": 12, "learning_rate": 0.3}, *PHASES[2:]]
    agreed = protocol(question={"kind": "multiclass"}, contract={"fields": fields}, phases=phases)
    data = {f"s{number}": rows(number, 90, classes=3) for number in range(3)}
    study = small(tmp_path, agreed, data)
    sums = under(study.run()["test"].results, "federated/test")
    assert study.protocol.question_plugin.finalise(sums, "accuracy")[0] > 0.4 and not study.refused


def test_algorithms_and_questions_can_travel_to_another_process() -> None:
    agreed = protocol(evaluation={"tune": {"learning_rate": [0.05, 0.1]}})
    for one in (*agreed.algorithms, agreed.question_plugin, agreed.model_plugin):
        assert dataclasses.is_dataclass(one)
        again = pickle.loads(pickle.dumps(one))
        assert type(again) is type(one)
        if isinstance(one, FedAvg):
            assert again.options == one.options and again.protocol.digest == agreed.digest


def test_what_is_read_back_from_the_signed_bytes_computes_the_same() -> None:
    agreed = protocol()
    again = Protocol.model_validate_json(agreed.canonical)
    assert again.digest == agreed.digest
    assert again.complete().digest == agreed.digest
    assert [one.options for one in again.algorithms] == [one.options for one in agreed.algorithms]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"phases": PHASES[1:]}, "moments"),
        ({"phases": [PHASES[0], PHASES[3]]}, "no model to test"),
        ({"phases": [PHASES[0], PHASES[2]]}, "no training phase"),
        ({"phases": [PHASES[0], {**PHASES[1], "learning_rat": 1}]}, "learning_rate"),
        ({"phases": [PHASES[0], {**PHASES[1], "learning_rate": -1}]}, "learning_rate"),
        ({"evaluation": {"tune": {"lr": [1]}}}, "evaluation.tune"),
        ({"evaluation": {"metrics": ["f1"]}}, "f1"),
        ({"model": {"hidden": []}}, "hidden"),
        ({"model": {"kind": "forest"}}, "logistic, mlp"),
    ],
)
def test_contradictions_are_refused_with_the_key(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        Protocol.model_validate(plan(**changes)).complete()
    assert words in str(caught.value)


def test_initial_parameters_follow_from_the_seed_alone() -> None:
    one, other = protocol(), protocol(evaluation={"seed": 43})
    assert one.initial == protocol().initial != other.initial
    with reproducible(Stream.public(5)):
        import torch

        torch.rand(3)
    assert protocol().initial == one.initial
    assert parameters_of(new_network(one)).keys() == initial_parameters(one).keys()
