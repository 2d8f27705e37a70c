"""Over a real hub: an ONNX model is tested at four hospitals, the figures are the pooled ones, and each hospital has its own copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import areas, fitted, halves, others, table, unseen, written
from tests.engines.federated import POLICY, federation
from tests.learning.finished_studies import logistic, need_onnx, rows, text, write
from tests.system.trouble import wait_until
from wardround import hospital, load_study
from wardround.data.load import prepare
from wardround.data.site_file import load_site
from wardround.record.report import Verdict
from wardround.record.verify import verify
from wardround.study.canonical import digest


@pytest.mark.slow
def test_heart_disease_at_four_hospitals_is_as_in_one_place(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    need_onnx()
    training, tested = halves(shared_data("heart_disease_uci").parent)
    weights, bias = fitted(training)
    listed = [row for one in tested.values() for row in one]
    x, y = table(listed)
    p = 1 / (1 + np.exp(-(x @ weights + bias)))
    files = written(tmp_path / "inputs", tested, logistic(weights, bias), "secure", 10)
    agreed = load_study(tmp_path / "inputs" / "study.toml").protocol
    data = {path.stem: prepare(load_site(path), agreed, tmp_path / path.stem).dataset for path in files}
    with federation(tmp_path / "net", agreed, data) as made:
        made.serving.gather_approvals()
        result = dict(made.serving.run())
        for gate in made.gates.values():
            wait_until(lambda gate=gate: bool(hospital.status(gate.folder)["own"]))  # type: ignore[misc]
        worst, beyond, compared = areas(result, p, y, listed)
        assert worst < 5e-3 and beyond < 1e-9 and compared >= 4
        brier, benefit, wrong = others(result, p, y)
        assert brier < 1e-3 and benefit < 1e-9 and wrong == 0
        assert result["tested_model"]["digest"] == digest(logistic(weights, bias)) and result["verdict"]["word"] == "meets"
        assert result["site_results"] == "own" and result["verdicts"] == {} and result["metrics"]["model"]["sites"] == {}
        for name, gate in made.gates.items():
            path = gate.folder.path
            copy = json.loads((path / "result.json").read_bytes())
            assert copy["reader"] == name and set(copy["verdicts"]) == {name}, "its own verdict, which did not leave it"
            assert (path / "passport.json").read_bytes() == (made.centre.path / "passport.json").read_bytes()
            mark = f"{name}: this hospital"
            assert mark in (path / "report.html").read_text() and mark not in (path / "passport.html").read_text()
        cleveland = json.loads((made.gates["cleveland"].folder.path / "result.json").read_bytes())
        assert cleveland["own"]["patients"]["all"] == len(tested["cleveland"]) and cleveland["verdicts"]["cleveland"] == "meets"
        assert [line.name for line in verify(made.centre.path).lines if line.verdict is Verdict.FAIL] == []
        assert unseen(made.centre.path, 10) == 0


def test_figures_of_sites_stand_in_the_passport_where_all_agreed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_onnx()
    monkeypatch.setattr("tests.engines.federated.POLICY", POLICY.replace('"record"', '"record", "results"'))
    study = text(sites=2, replicates=50, phase="bar = 0.6").replace("[evaluation]", '[evaluation]\nsite_results = "open"')
    files = write(tmp_path / "inputs", study, rows({"north": 250, "south": 250}))
    agreed = load_study(tmp_path / "inputs" / "study.toml").protocol
    data = {path.stem: prepare(load_site(path), agreed, tmp_path / path.stem).dataset for path in files}
    with federation(tmp_path / "net", agreed, data) as made:
        made.serving.gather_approvals()
        result = dict(made.serving.run())
        assert set(result["metrics"]["model"]["sites"]) == {"north", "south"} == set(result["verdicts"])
        assert result["warnings"][0].startswith("Two sites took part")
        assert "meets the bar" in (made.centre.path / "passport.html").read_text()
