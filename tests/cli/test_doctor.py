"""`wardround doctor` finds what is missing and says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.terminal import Terminal
from wardround.cli import doctor


def test_a_machine_that_runs_these_tests_is_well(wardround: Terminal, tmp_path: Path) -> None:
    said = wardround("doctor", tmp_path)
    assert said.code == 0
    found = wardround("doctor", tmp_path, "--json").document
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"] is True
    assert {"python", "torch", "extras", "threads", "disk", "memory", "clock", "models", "algorithms"} <= set(checks)
    assert all(bool(check["remedy"]) == (check["verdict"] != "ok") for check in checks.values())


def test_what_is_missing_has_a_remedy(wardround: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_answer", lambda code: "2.13.0 False")
    said = wardround("doctor", tmp_path / "nowhere")
    assert said.code == 1
    assert "is not a folder" in said.out
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    assert "Make room" in wardround("doctor", tmp_path).out


def test_a_torch_that_does_not_load_is_told_from_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_answer", lambda code: "")
    assert next(doctor._torch()).text == "installed, but does not load"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    torch, extras = doctor._torch()
    assert (torch.verdict, extras.verdict) == ("warning", "warning")


def test_a_program_that_crashes_has_no_answer() -> None:
    assert doctor._answer("print(6 * 7)") == "42"
    assert doctor._answer("print(1); import os; os.abort()") == ""


def test_plugins_that_are_not_registered_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wardround.study.plugins.names", lambda kind: ())
    assert {found.verdict for found in doctor._plugins()} == {"missing"}


def test_a_clock_that_stands_before_the_installation_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    (found,) = doctor._clock()
    assert found.verdict == "missing"
