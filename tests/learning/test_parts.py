"""Parts of a model: private ones stay at their site, frozen ones stay as they are, and a checkpoint is where training starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import PHASES, Small, plan, protocol, rows, small
from wardround.learning.finished import digests
from wardround.learning.network import fill, initial_parameters, new_network
from wardround.study.arrays import put_under, under
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.task import Done

ROOT = Path(__file__).parents[2]
HEAD = {"2.weight", "2.bias"}
TRAIN: dict[str, Any] = {"name": "train", "kind": "fedavg", "rounds": 3, "learning_rate": 0.3, "batch_size": 16}


def agreed(phases: Sequence[dict[str, Any]] = (PHASES[0], TRAIN, PHASES[3]), **changes: Any) -> Protocol:
    return protocol(phases=list(phases), stop={"keep": "last"}, **changes)


def sent(study: Small) -> list[str]:
    """Return the names of the updates that sites are asked for."""
    algorithm = study.protocol.by_phase["train"]
    shapes = {name: value.shape for name, value in algorithm.moving(initial_parameters(study.protocol)).items()}  # type: ignore[attr-defined]
    return sorted(term.name.removeprefix("update/") for term in algorithm.terms(shapes) if term.name.startswith("update/"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["fedavg", "fedprox", "scaffold", "fednova", "qffl"])
def test_a_private_head_never_leaves_and_differs_by_site(tmp_path: Path, kind: str) -> None:
    study = small(tmp_path, agreed([PHASES[0], {**TRAIN, "kind": kind}, PHASES[3]], model={"private": ["head"]}))
    done = study.run()
    assert not HEAD.intersection(sent(study)) and sent(study) == ["0.bias", "0.weight"]
    start, own = done["initial"].results, [under(place.site.state.mine()["train"], "private") for place in study.places.values()]
    assert all(set(one) == HEAD for one in own)
    assert not np.array_equal(own[0]["2.weight"], own[1]["2.weight"])
    for name in HEAD:  # what is released of it is what everybody started from
        assert np.array_equal(done["train"].results[f"params/{name}"], start[name])
    assert not np.array_equal(done["train"].results["params/0.weight"], start["0.weight"])


def test_a_site_is_tested_with_its_own_head(tmp_path: Path) -> None:
    """With labels turned round at one site, only a head of its own can be right there."""
    data = {f"s{number}": rows(number, 120) for number in range(3)}
    data["s2"].columns["ill"][:] = 1 - data["s2"].columns["ill"]

    def auroc(folder: Path, private: list[str]) -> float:
        folder.mkdir()
        train = {**TRAIN, "rounds": 10, "local_epochs": 3}
        study = small(folder, agreed([PHASES[0], train, PHASES[3]], model={"private": private, "hidden": [8]}), data)
        study.run()
        sums = under(study.places["s2"].site.state.mine()["test"], "federated/test")
        first = {name: value[0] for name, value in sums.items()}
        return float(study.protocol.question_plugin.finalise(first, "auroc"))

    own, shared = auroc(tmp_path / "own", ["head"]), auroc(tmp_path / "shared", [])
    assert own > 0.8 and own > shared + 0.1


def test_a_grid_with_a_refit_uses_the_head_of_the_refit_on_test_rows_and_that_of_the_choice_on_validation(tmp_path: Path) -> None:
    evaluation = {"tune": {"learning_rate": [0.01, 0.3]}, "refit": True, "replicates": 0}
    study = small(tmp_path, agreed(model={"private": ["head"]}, evaluation=evaluation))
    done: dict[str, Done] = study.run()
    choice = int(done["train"].results["choice"])
    for place in study.places.values():
        mine = place.site.state.mine()
        refitted, chosen = under(mine["train"], "private"), under(mine[f"train.{choice}"], "private")
        assert set(refitted) == set(chosen) == HEAD and not np.array_equal(refitted["2.weight"], chosen["2.weight"])


def test_private_parts_need_the_last_round() -> None:
    with pytest.raises(ProtocolError, match="keep"):
        protocol(model={"private": ["head"]}, stop={"keep": "best"})


def test_frozen_parts_are_neither_trained_nor_sent(tmp_path: Path) -> None:
    phases = [PHASES[0], TRAIN, PHASES[2], PHASES[3]]
    start = {name: value + 0.5 for name, value in initial_parameters(agreed()).items()}
    draft = Protocol.model_validate(agreed(phases).model_dump(mode="json") | {"initial": {}})
    draft = draft.changed(model=draft.model.model_copy(update={"start": "other.safetensors", "frozen": ("body",)})).bringing(start, "start")
    study = small(tmp_path, draft.changed(initial=digests(draft, initial_parameters(draft))))
    done = study.run()
    assert set(sent(study)) == HEAD
    local = study.places["site0"].site.state.mine()["local"]
    for model in (done["train"].results, local):
        for name, value in under(model, "params").items():
            assert np.array_equal(value, start[name]) == (name not in HEAD)


@pytest.mark.parametrize(
    "model, words",
    [
        ({"private": ["head"], "frozen": ["head"]}, "frozen as well"),
        ({"frozen": ["body", "head"]}, "nothing is left"),
        ({"frozen": ["body"], "private": ["head"]}, "nothing is left"),
    ],
)
def test_parts_that_leave_nothing_to_train_are_refused(model: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        agreed(model=model)


def with_checkpoint(found: dict[str, np.ndarray]) -> Protocol:
    draft = Protocol.model_validate(agreed().model_dump(mode="json") | {"initial": {}})
    return draft.changed(model=draft.model.model_copy(update={"start": "other.safetensors"})).bringing(found, "start")


def test_training_starts_from_a_checkpoint_by_name() -> None:
    before = initial_parameters(agreed())
    other = {name: value + 1 for name, value in before.items()}
    assert all(np.array_equal(value, other[name]) for name, value in initial_parameters(with_checkpoint(other)).items())
    released = {**put_under("params", other), "norm/mean": np.zeros(5)}
    assert all(np.array_equal(value, other[name]) for name, value in initial_parameters(with_checkpoint(released)).items())


def test_a_last_layer_for_another_question_is_left_out() -> None:
    before = initial_parameters(agreed())
    other = {
        **{name: value + 1 for name, value in before.items()},
        "2.weight": np.ones((7, 5), np.float32),
        "2.bias": np.ones(7, np.float32),
    }
    found = initial_parameters(with_checkpoint(other))
    assert np.array_equal(found["0.weight"], other["0.weight"]) and np.array_equal(found["2.weight"], before["2.weight"])


@pytest.mark.parametrize(
    "change, words",
    [
        ({"0.weight": np.ones((3, 3), np.float32)}, "shape"),
        ({"0.bias": np.full(5, np.nan, np.float32)}, "not finite"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(change: dict[str, np.ndarray], words: str) -> None:
    before = initial_parameters(agreed())
    with pytest.raises(ProtocolError, match=words):
        initial_parameters(with_checkpoint({**before, **change}))
    for strange in ({"encoder.weight": np.ones(3, np.float32)}, {"2.weight": np.ones((7, 9), np.float32)}):
        with pytest.raises(ProtocolError, match="nothing in other"):
            initial_parameters(with_checkpoint(strange))


def test_what_is_frozen_must_be_in_the_checkpoint() -> None:
    """A body that is frozen as chance made it would never learn anything."""
    with pytest.raises(ProtocolError, match="as chance made them"):
        agreed(model={"frozen": ["body"]})
    draft = with_checkpoint({"0.bias": np.ones(5, np.float32)})
    with pytest.raises(ProtocolError, match="1 frozen parameters are not in the file"):
        initial_parameters(draft.changed(model=draft.model.model_copy(update={"frozen": ("body",)})))


@pytest.mark.parametrize("line", ['private = ["head"]', 'private = ["norm", "intercept"]', 'frozen = ["body"]'])
def test_parts_can_be_written_in_a_study_file(line: str) -> None:
    text = (ROOT / "examples" / "three-hospitals" / "study.toml").read_text(encoding="utf-8")
    text = text.replace("[model]\n", f"[model]\n{line}\n") + '\n[stop]\nkeep = "last"\n'
    read = read_protocol(text, "study.toml")
    assert (read.model.private, read.model.frozen) != ((), ())


def test_a_frozen_layer_of_batch_norm_is_trained_with_as_it_is_used() -> None:
    images = {"film": {"type": "image", "shape": [1, 8, 8], "intensity": [0, 255]}, "ill": {"type": "code", "codes": ["no", "yes"]}}
    tables = plan(phases=[PHASES[0], TRAIN, PHASES[3]], stop={"keep": "last"})
    tables["contract"], tables["model"] = {"label": "ill", "fields": images}, {"kind": "cnn", "widths": [4], "norm": "batch"}
    free = Protocol.model_validate(tables).complete()
    import torch

    x = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (6, 1, 8, 8)).astype(np.float32))
    held = free.changed(model=free.model.model_copy(update={"frozen": ("norm",)}))
    for agreed_, same in ((free, False), (held, True)):
        network = new_network(agreed_)
        fill(network, {name: value.numpy() for name, value in new_network(free).state_dict().items()})
        before = network.eval()(x).detach()
        assert bool(torch.equal(network.train()(x).detach(), before)) is same
