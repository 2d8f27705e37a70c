"""What lies beside the record must be what was released last."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.record.player import MODEL, Player, failing, some
from wardround.record.report import Verdict
from wardround.record.verify import verify


def test_a_model_that_no_phase_gave_is_named(tmp_path: Path) -> None:
    player = Player()
    player.play(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"another")
    other = "sha256:" + hashlib.sha256(b"another").hexdigest()
    release = dict(list(player.logs["study"].entries())[-1])
    fields = {name: release[name] for name in ("phase", "result", "report")}
    player.add("study", "release", **fields, model=other)
    assert "is not the result of phase train" in failing(verify(player.export(tmp_path)))["model"]
    player.add("study", "release", **{**fields, "phase": "unknown"}, model=other)
    assert "is not the result of phase unknown" in failing(verify(player.export(tmp_path)))["model"]


def test_the_last_release_counts(tmp_path: Path) -> None:
    player = Player()
    player.play(tmp_path)
    release = dict(list(player.logs["study"].entries())[-1])
    (tmp_path / "report.html").write_bytes(b"the second report")
    again = "sha256:" + hashlib.sha256(b"the second report").hexdigest()
    player.add("study", "release", phase="train", model=release["model"], result=release["result"], report=again)
    assert failing(verify(player.export(tmp_path))) == {}


def test_a_release_before_its_phase_ended_is_named(tmp_path: Path) -> None:
    player = Player(release=False)
    player.agree()
    model = "sha256:" + hashlib.sha256(MODEL).hexdigest()
    player.add("study", "release", phase="train", model=model, result=some("r"), report=some("p"))
    player.play(tmp_path)
    assert "is not the result of phase train" in failing(verify(tmp_path))["model"]


def test_files_without_a_release_are_not_vouched_for(tmp_path: Path) -> None:
    directory = Player(release=False).play(tmp_path)
    (directory / "model.safetensors").write_bytes(MODEL)
    report = verify(directory)
    line = next(line for line in report.lines if line.name == "model")
    assert failing(report) == {} and line.verdict is Verdict.INCOMPLETE and "does not vouch" in line.text


def test_tables_alone_are_no_release_of_a_plan_that_trains(tmp_path: Path) -> None:
    player = Player(release=False)
    player.play(tmp_path)
    player.add("study", "tables", result=some("r"), report=some("p"))
    found = failing(verify(player.export(tmp_path)))
    assert "the plan trains a model" in found["model"]
    assert "it was released and is missing" in found["results"]
