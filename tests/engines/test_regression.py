"""Over a real hub: hospitals learn a number from harmonised inputs; each finds in its own copy how far the shared interval holds there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.federated import federation
from tests.learning.numbers import agreed, sites
from tests.system.trouble import wait_until
from wardround import hospital
from wardround.record.report import Verdict
from wardround.record.verify import verify

SECURE: dict[str, Any] = {"rounds": {"quorum": 3, "combine": "secure", "due_seconds": 60}, "privacy": {"counts": False}}
PHASES = [
    {"name": "harmonise", "kind": "combat", "covariates": ["sex"]},
    {"name": "train", "kind": "fedavg", "rounds": 4, "learning_rate": 0.3},
    {"name": "local", "kind": "local"},
    {"name": "test", "kind": "evaluate"},
]


@pytest.mark.slow
def test_a_number_is_learnt_between_hospitals_and_the_interval_is_judged_at_each(tmp_path: Path) -> None:
    study = agreed(phases=PHASES, model={"kind": "linear", "normalise": "combat"}, **SECURE)
    with federation(tmp_path, study, sites(3)) as made:
        made.serving.gather_approvals()
        result = dict(made.serving.run())
        for name, gate in made.gates.items():
            wait_until(lambda gate=gate: bool(hospital.status(gate.folder)["own"]))  # type: ignore[misc]
            copy = json.loads((gate.folder.path / "result.json").read_bytes())
            assert set(copy["interval"]["sites"]) == {name} and 0 <= copy["interval"]["sites"][name]["value"] <= 1
            assert set(copy["metrics"]["federated"]["sites"][name]) >= {"rmse", "mae", "r2", "coverage", "half_width"}
            assert "Does its prediction interval hold?" in (gate.folder.path / "report.html").read_text()
        lines = verify(made.centre.path).lines
    assert result["interval"]["sites"] == {} and result["units"]["rmse"] == "d" and not result["refusals"]
    assert result["metrics"]["federated"]["all"]["r2"]["value"] > 0.5
    assert all(group["patients"] >= 10 for group in result["calibration"])
    assert lines and not [line for line in lines if line.verdict is Verdict.FAIL]
