"""Pretraining without labels: what it learns, what it sends, and where training starts after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import plan, small
from wardround.learning.algorithms.pretrain import contrast
from wardround.learning.network import initial_parameters
from wardround.study.arrays import arrays_digest, under
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol

FIELDS = {
    "film": {"type": "image", "shape": [1, 12, 12], "intensity": [0, 255]},
    "ill": {"type": "code", "codes": ["no", "yes"]},
}
PHASES: list[dict[str, Any]] = [
    {"name": "moments", "kind": "moments"},
    {"name": "before", "kind": "pretrain", "rounds": 2, "batch_size": 16, "learning_rate": 0.1},
    {"name": "train", "kind": "fedavg", "rounds": 2, "batch_size": 16},
    {"name": "local", "kind": "local"},
    {"name": "test", "kind": "evaluate"},
]


def agreed(**changes: Any) -> Protocol:
    tables = plan(phases=PHASES, model={"kind": "cnn", "widths": [4, 8], "depth": 1}, **changes)
    tables["contract"] = {"label": "ill", "fields": FIELDS}
    del tables["model"]["hidden"]
    draft = Protocol.model_validate(tables).complete()
    return draft.changed(initial={"model": arrays_digest(initial_parameters(draft))})


def films(seed: int, count: int = 40) -> Dataset:
    """Return noise, with a bright patch where somebody is ill."""
    rng = np.random.default_rng(seed)
    ill = rng.integers(0, 2, count).astype(np.int32)
    film = rng.integers(0, 120, (count, 1, 12, 12))
    film[ill == 1, :, 3:7, 3:7] += 100
    role = np.repeat([0, 1, 2], [count - 2 * (count // 5), count // 5, count // 5]).astype(np.int8)
    return Dataset({"film": film.astype(np.uint8), "ill": ill}, np.arange(count), role)


def test_training_starts_where_pretraining_ended_and_the_last_layer_where_it_was(tmp_path: Path) -> None:
    study = small(tmp_path, agreed(), {f"s{number}": films(number) for number in range(3)})
    done = study.run()
    learnt, start = under(done["before"].results, "params"), done["initial"].results
    assert learnt and not any("head" in study.protocol.model_plugin.parts(name) for name in learnt)
    assert any(not np.array_equal(value, start[name]) for name, value in learnt.items())
    algorithm = study.protocol.by_phase["train"]
    first = algorithm.begin(study.protocol, done, None)  # type: ignore[arg-type]
    begun = under(first.arrays, "params")  # type: ignore[union-attr]
    for name, value in begun.items():
        assert np.array_equal(value, learnt.get(name, start[name]))
    assert done["train"].model is not None


def test_labels_are_not_looked_at(tmp_path: Path) -> None:
    """With every label turned round pretraining learns the very same."""
    data = {f"s{number}": films(number) for number in range(3)}
    turned = {name: Dataset({**one.columns, "ill": 1 - one.columns["ill"]}, one.patient, one.role) for name, one in data.items()}
    ends = []
    for number, sites in enumerate((data, turned)):
        (tmp_path / str(number)).mkdir()
        ends.append(small(tmp_path / str(number), agreed(), sites).run()["before"].digest)
    assert ends[0] == ends[1]


def test_nothing_of_the_last_layer_is_asked_for() -> None:
    study = agreed()
    algorithm = study.by_phase["before"]
    shapes = algorithm.moving(initial_parameters(study))  # type: ignore[attr-defined]
    assert shapes and not any(name.startswith("head") for name in shapes)


def test_only_what_is_sent_is_trained() -> None:
    free = agreed()
    for parts in ({}, {"private": ("norm",)}):
        study = free.changed(model=free.model.model_copy(update=parts), stop=free.stop.model_copy(update={"keep": "last"}))
        algorithm = study.by_phase["before"]
        network = algorithm._with_projection()  # type: ignore[attr-defined]
        trained = {name for name, one in network.named_parameters() if one.requires_grad}
        assert trained and trained == set(algorithm.moving(initial_parameters(study)))  # type: ignore[attr-defined]


def test_the_loss_is_that_of_the_paper() -> None:
    """Chen et al. 2020, equation 1, written out."""
    import torch

    drawn = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5)))
    unit = drawn / drawn.norm(dim=1, keepdim=True)
    losses = []
    for i in range(6):
        j = (i + 3) % 6
        others = [torch.exp(unit[i] @ unit[k] / 0.5) for k in range(6) if k != i]
        losses.append(-torch.log(torch.exp(unit[i] @ unit[j] / 0.5) / sum(others)))
    assert np.isclose(float(contrast(drawn, 0.5)), float(torch.stack(losses).mean()))


@pytest.mark.parametrize(
    "phases, words",
    [
        ([PHASES[0], {**PHASES[1], "augment": ["flipp"]}, *PHASES[2:]], "flipp"),
        ([PHASES[0], {**PHASES[1], "augment": ["shift", "shift"]}, *PHASES[2:]], "twice"),
        ([PHASES[0], {**PHASES[1], "augment": []}, *PHASES[2:]], "only like itself"),
        ([PHASES[1], PHASES[0], *PHASES[2:]], "moments"),
        ([PHASES[0], PHASES[2], PHASES[1], *PHASES[3:]], "no training starts"),
    ],
)
def test_a_plan_in_which_it_would_do_nothing_is_refused(phases: list[dict[str, Any]], words: str) -> None:
    tables = plan(phases=phases, model={"kind": "cnn", "widths": [4, 8], "depth": 1})
    tables["contract"] = {"label": "ill", "fields": FIELDS}
    del tables["model"]["hidden"]
    with pytest.raises(ProtocolError, match=words):
        Protocol.model_validate(tables).complete()


def test_a_table_has_nothing_to_vary() -> None:
    tables = plan(phases=[PHASES[0], PHASES[1], PHASES[2]])
    with pytest.raises(ProtocolError, match="varies pictures"):
        Protocol.model_validate(tables).complete()


def test_a_frozen_body_has_nothing_to_learn() -> None:
    with pytest.raises(ProtocolError, match="frozen"):
        agreed(evaluation={"metrics": ["auroc"]}).changed(model=agreed().model.model_copy(update={"frozen": ("body",)})).complete()
