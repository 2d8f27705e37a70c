"""Over a real hub: a hospital's own figures stand in its own copy, and leave it only where protocol and hospital say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.federated import POLICY, Federation, federation, open_protocol
from tests.support import rows
from tests.system.trouble import wait_until
from wardround import hospital
from wardround.engines.agent import Agent
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.study.canonical import digest
from wardround.study.dataset import Dataset
from wardround.study.errors import VerificationError

LARGE: dict[str, Dataset] = {f"site{number}": rows(number, 150 + 50 * number) for number in range(3)}
SECURE: dict[str, Any] = {"rounds": {"quorum": 3, "combine": "secure", "due_seconds": 60}, "privacy": {"counts": False}}


def ended(made: Federation) -> dict[str, Any]:
    """Serve a study to its end and return the result, once each hospital has its own copy."""
    made.serving.gather_approvals()
    result = dict(made.serving.run())
    for gate in made.gates.values():
        wait_until(lambda gate=gate: bool(hospital.status(gate.folder)["own"]))  # type: ignore[misc]
    return result


def logged(made: Federation, name: str) -> list[dict[str, Any]]:
    return [entry for entry in hospital.entries(made.gates[name].folder) if entry["t"] == "results"]


def test_each_hospital_finds_its_own_figures_where_the_coordinator_never_sees_them(tmp_path: Path) -> None:
    with federation(tmp_path, open_protocol(**SECURE), LARGE) as made:
        result = ended(made)
        released = (made.centre.path / "result.json").read_bytes()
        assert result["site_results"] == "own" and result["verdicts"] == {}
        for name, gate in made.gates.items():
            path = gate.folder.path
            copy = json.loads((path / "result.json").read_bytes())
            assert (copy["reader"], copy["released"]) == (name, digest(released))
            assert set(copy["metrics"]["federated"]["sites"]) == {name} == set(copy["verdicts"])
            assert copy["metrics"]["federated"]["sites"][name]["auroc"]["low"] is not None
            assert copy["metrics"]["federated"]["all"] == result["metrics"]["federated"]["all"]
            assert f"This is the copy of {name}" in (path / "report.html").read_text()
            assert hospital.status(gate.folder)["own"] == [str(path / "result.json"), str(path / "report.html")]
            assert logged(made, name) == [], "nothing more has left"
        gate = made.gates["site1"]
        gate.stop()
        before = (gate.folder.path / "result.json").read_bytes()
        gate.start()
        gate.wait(20)
        assert not gate.failed and (gate.folder.path / "result.json").read_bytes() == before
        assert any("own figures" in line for line in gate.said)
        for spoilt in (b"[]", b"{", b'{"metrics": {"federated": 1}, "paired": {}, "sites": {}}'):
            gate.stop()
            (gate.folder.path / "result.json").write_bytes(spoilt)
            gate.failed.clear()
            gate.start()
            gate.wait(20)
            (error,) = gate.failed
            assert isinstance(error, VerificationError) and "stays as it came" in error.message
            assert (gate.folder.path / "result.json").read_bytes() == spoilt


def test_figures_leave_after_they_were_logged_where_all_agreed_to_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_log: list[bool] = []
    send = Agent._message

    def watched(self: Agent, kind: str, content: dict[str, Any], *more: Any) -> bytes:
        if kind == "record":
            in_log.append(any(entry["t"] == "results" for entry in hospital.entries(self._folder)) and "results" in content)
        return send(self, kind, content, *more)

    monkeypatch.setattr(Agent, "_message", watched)
    agreed = open_protocol(**SECURE, evaluation={"site_results": "open"})
    monkeypatch.setattr("tests.engines.federated.POLICY", POLICY.replace('"record"', '"record", "results"'))
    with federation(tmp_path, agreed, LARGE) as made:
        result = ended(made)
        assert in_log == [True] * 3, "another connection sees the entry, so it was durable before the message was made"
        assert set(result["metrics"]["local"]["sites"]) == set(LARGE) == set(result["verdicts"])
        assert all(site["test"] in ("10-49", "50-99") for site in result["sites"].values())
        for name in LARGE:
            (entry,) = logged(made, name)
            assert (entry["to"], entry["kind"]) == ("coordinator", "results") and entry["bytes"] > 500
            copy = json.loads((made.gates[name].folder.path / "result.json").read_bytes())
            assert copy["verdicts"] == result["verdicts"] and copy["metrics"]["federated"] == result["metrics"]["federated"]
        failed = [line.name for line in verify(made.centre.path).lines if line.verdict is Verdict.FAIL]
        assert failed == []


def test_figures_that_are_not_those_in_the_log_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Agent._message

    def lying(self: Agent, kind: str, content: dict[str, Any], *more: Any) -> bytes:
        if kind == "record" and self._member.site == "site0":
            content["results"]["figures"]["metrics"]["federated"]["auroc"]["value"] = 0.99
        return send(self, kind, content, *more)

    monkeypatch.setattr(Agent, "_message", lying)
    monkeypatch.setattr("tests.engines.federated.POLICY", POLICY.replace('"record"', '"record", "results"'))
    with federation(tmp_path, open_protocol(evaluation={"site_results": "open"}), LARGE) as made:
        result = ended(made)
        assert set(result["metrics"]["federated"]["sites"]) == {"site1", "site2"}
        assert any("not in its log" in str(event) for event in made.seen)
