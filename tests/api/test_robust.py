"""A study by a robust rule with the validation gate, as a whole: what its result says, that its record holds, and that it can be read."""

from __future__ import annotations

import json

import pytest

import wardround
from tests.api.test_simulate import hospital, study
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.study.protocol import Protocol
from wardround.study.protocol.summary import summary

PHASES = [
    {"name": "moments", "kind": "moments"},
    {"name": "train", "kind": "fedavg", "rounds": 6, "learning_rate": 0.5, "batch_size": 4},
    {"name": "test", "kind": "evaluate"},
]


def agreed() -> Protocol:
    return study(
        phases=PHASES,
        rounds={"quorum": 3, "combine": "trimmed_mean", "hostile": 1},
        stop={"rollback": 0.001},
        evaluation={"compare": [], "replicates": 30},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> wardround.Result:
    folder = tmp_path_factory.mktemp("hospitals")
    sites = [hospital(folder, number, 70 + 20 * number) for number in range(4)]
    return wardround.simulate(agreed(), sites, tmp_path_factory.mktemp("finished"))


def test_the_result_tells_which_rounds_were_undone(finished: wardround.Result) -> None:
    rows = [row for row in finished.result["history"] if row["phase"] == "train"]
    undone = [row["rolled_back"] for row in rows]
    assert finished.result["rollbacks"] == sum(undone) > 0
    best = 0.0
    for row, was in zip(rows, undone, strict=True):
        assert was == (row["auroc"] < best - 0.001)
        best = max(best, row["auroc"])
    assert "rolled_back" not in next(row for row in finished.result["history"] if row["phase"] == "moments")


def test_its_record_holds(finished: wardround.Result) -> None:
    assert all(line.verdict is not Verdict.FAIL for line in verify(finished.folder).lines)


def test_the_summary_says_what_the_rule_and_the_gate_do() -> None:
    text = json.dumps(summary(agreed().complete()))
    assert "so that one hostile hospital cannot bend the model" in text
    assert "Each hospital counts once, whatever its size." in text
    assert "worse than the kept one's by more than 0.001 is undone; 3 such rounds end training." in text
