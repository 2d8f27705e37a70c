"""A whole study with sums in groups over a real hub: of fifteen gates one stops in an exchange, and one belongs to a hostile hospital."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tests.engines.federated import federation, open_protocol
from tests.engines.losing import Loss, Turn, lose
from tests.engines.test_nats import entries, wrong
from tests.support import PHASES, rows, small
from tests.system.test_secure_federation import LOST_AFTER, Stopping
from wardround.engines.inprocess import InProcess
from wardround.site.gate import Work
from wardround.study.arrays import Arrays, from_bytes
from wardround.study.dataset import Dataset
from wardround.study.interfaces import Reply
from wardround.study.layout import Layout
from wardround.study.protocol import Protocol
from wardround.study.task import Answer, Ask, Refusal

HOSTILE = "site03"
AWAY = Loss(["site11"], "answer", ("train", 1))
ROUNDS: list[dict[str, Any]] = [PHASES[0], {**PHASES[1], "rounds": 2, "batch_size": 64}, PHASES[3]]
TURNS: list[Turn] = [("moments", 0), ("train", 0), ("train", 1), ("train", 2), ("test", 0)]


def agreed(combine: str) -> Protocol:
    return open_protocol(
        phases=ROUNDS,
        bounds={"sites": 15, "examples": 500},
        rounds={"quorum": 9, "due_seconds": 60, "combine": combine},
        evaluation={"metrics": ["auroc"], "replicates": 0},
    )


def patients() -> dict[str, Dataset]:
    return {f"site{number:02d}": rows(number, 40 + number) for number in range(15)}


def pushed(layout: Layout, sums: Arrays) -> Arrays:
    """Return sums that claim the most examples there may be, and push every parameter as far up as it may go."""
    counts = {term.per for term in layout}
    return {**sums, **{term.name: np.full(term.shape, term.limit) for term in layout if term.per or term.name in counts}}


class Pushing(InProcess):
    """Let the hostile hospital push, on one machine."""

    def _here(self, work: Sequence[Work]) -> Iterator[tuple[int, Reply]]:
        for number, reply in super()._here(work):
            if work[number].task.site == HOSTILE and not isinstance(reply, Refusal):
                reply = Answer(pushed(work[number].task.body.layout, reply[0].sums)), reply[1]
            yield number, reply


def pushing(plan: Protocol) -> Protocol:
    """Return what stands for the protocol in a hostile hospital's worker."""

    def answered(phase: str, ask: Ask, *rest: Any) -> Reply:
        answer, mine = plan.by_phase[phase].answer(ask, *rest)
        return Answer(pushed(ask.layout, answer.sums)), mine

    phases = {name: SimpleNamespace(answer=lambda *about, name=name: answered(name, *about)) for name in plan.by_phase}
    return cast(Protocol, SimpleNamespace(by_phase=phases))


def on_one_machine(folder: Path, combine: str, *losses: Loss, kind: type[InProcess] = InProcess) -> tuple[str, np.ndarray]:
    """Return digest and parameters of the model that the same hospitals make in one process."""
    folder.mkdir()
    plan = agreed(combine)
    done = small(folder, plan, patients(), wrap=lose(*losses), kind=kind, following=plan.hides).run()["train"]
    return done.digest, flat(done.model or {})


def flat(model: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(model[name], np.float64).reshape(-1) for name in sorted(model) if model[name].dtype.kind == "f"])


def test_a_study_in_groups_over_a_hub_comes_to_the_same_and_is_not_bent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = agreed("bucketed")
    with federation(tmp_path, plan, patients(), run=False) as made:
        made.gates[HOSTILE].agreed = pushing(plan)
        for gate in made.gates.values():
            gate.start()
        engine = made.serving.engine
        monkeypatch.setattr(engine, "_lost_after", LOST_AFTER)
        monkeypatch.setattr(engine, "send", Stopping(made, [AWAY]).send)
        result = made.serving.run()
        made.serving.wait_for_sites(10)
        digest, model = on_one_machine(tmp_path / "one", "bucketed", AWAY, kind=Pushing)
        assert result["model_digest"] == digest
        np.testing.assert_array_equal(model, flat(from_bytes((made.gates["site00"].folder.path / "model.safetensors").read_bytes())))
        assert [(one["phase"], one["round"], one["site"]) for one in entries(made, "refusal")] == [("train", 1, "site11")]
        assert not entries(made, "round_short")
        assert not wrong(made.centre.path)
        assert not any(gate.failed for gate in made.gates.values())
        assert [(one["phase"], one["round"]) for one in entries(made, "round_close")] == TURNS
    bent = {"bucketed": float(np.linalg.norm(model - on_one_machine(tmp_path / "calm", "bucketed", AWAY)[1]))}
    calm, pulled = (on_one_machine(tmp_path / f"plain {kind.__name__}", "plain", AWAY, kind=kind)[1] for kind in (InProcess, Pushing))
    bent["plain"] = float(np.linalg.norm(pulled - calm))
    assert bent["plain"] > 10 * bent["bucketed"] > 0, bent
