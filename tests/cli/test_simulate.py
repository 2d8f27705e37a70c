"""`wardround simulate`, `verify` and `report`, from a table to a verified record."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from wardround.cli.progress import Lines
from wardround.cli.simulate import tell
from wardround.coordinator import events
from wardround.simulation import Result

STUDY = """
study = "small"
[question]
kind = "binary"
title = "Is x large?"
purpose = "A test."
[parties]
coordinator = "nobody"
[contract]
label = "large"
fields.x = { type = "number", unit = "1", range = [0, 100] }
fields.large = { type = "code", codes = [0, 1] }
[model]
kind = "logistic"
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
rounds = 2
[[phases]]
name = "evaluate"
kind = "evaluate"
[bounds]
sites = 3
examples = 100
[rounds]
quorum = 2
[evaluation]
metrics = ["auroc"]
replicates = 30
compare = []
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The words of a command that simulates two small hospitals."""
    (tmp_path / "study.toml").write_text(STUDY)
    words = ["simulate", str(tmp_path / "study.toml"), "--out", str(tmp_path / "results")]
    for name in ("north", "south"):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["patient", "x", "large"])
            table.writerows([f"{name}{number}", number, int(number > 30)] for number in range(60))
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\n[source]\nkind = "table"\npath = "{name}.csv"\n')
        words += ["--site", str(tmp_path / f"{name}.toml")]
    return words


def next_step(wardround: Terminal, folder: Path) -> list[str]:
    return shlex.split(wardround("next", folder, "--json").document["steps"][0]["command"])


def test_from_tables_to_a_verified_record(wardround: Terminal, tmp_path: Path, command: list[str]) -> None:
    said = wardround(*command)
    results = tmp_path / "results"
    assert said.code == 0, said.err
    assert f"wardround verify {results}" in said.out
    assert "small: 3 phases at 2 sites (north, south)" in said.err.splitlines()
    assert wardround(*command, "--json").document == json.loads((results / "result.json").read_text())

    verified = wardround("verify", results, "--json")
    assert (verified.code, verified.document["verdict"]) == (2, "INCOMPLETE")
    assert {line["name"] for line in verified.document["lines"] if line["verdict"] != "PASS"} == {"witnesses"}
    assert "Verdict: INCOMPLETE" in wardround("verify", results).out
    whole = (results / "result.json").read_text()
    (results / "result.json").write_text(whole.replace("north", "south"))
    assert wardround("verify", results).code == 1
    (results / "result.json").write_text(whole)

    before = (results / "report.html").read_bytes()
    (results / "report.html").unlink()
    assert wardround("report", results, "--json").document == {"report": str(results / "report.html")}
    assert (results / "report.html").read_bytes() == before


def test_ctrl_c_says_how_to_go_on(wardround: Terminal, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wardround.simulation.simulate", interrupted)
    said = wardround(*command)
    assert (said.code, said.out) == (130, "")
    assert "The last whole round is kept; the same command goes on from there." in said.err
    assert wardround(*command, "--json").document["error"]["kind"] == "Stopped"


def test_an_interrupted_study_is_gone_on_with(
    wardround: Terminal, tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, seen = Lines.__call__, []

    def stop(lines: Lines, event: events.Event) -> None:
        tell(lines, event)
        seen.append(event)
        if isinstance(event, events.RoundClosed) and (event.phase, event.round) == ("train.1", 2):
            raise KeyboardInterrupt

    study, results = tmp_path / "study.toml", tmp_path / "results"
    text = study.read_text().replace('["auroc"]', '["brier"]\ntune = { learning_rate = [0.2, 0.02, 0.5] }')
    study.write_text(text.replace("rounds = 2", "rounds = 6"))
    monkeypatch.setattr(Lines, "__call__", stop)
    assert wardround(*command).code == 130
    monkeypatch.undo()

    same = next_step(wardround, tmp_path)
    assert same == ["wardround", *command[:2], *command[4:], *command[2:4]]
    for words in (("verify", results), ("report", results)):
        said = wardround(*words, "--json")
        assert said.code == 2
        assert said.document["error"]["message"] == f"{results}: this study has not finished."
        assert said.document["error"]["remedy"] == f"The same command goes on: {shlex.join(same)}"

    said = wardround(*same[1:])
    assert said.code == 0, said.err
    lines = said.err.splitlines()
    assert "going on at train.1, round 3 of 6" in lines
    result = json.loads((results / "result.json").read_text())
    rate = result["chosen"]["learning_rate"]
    (chosen,) = (line for line in lines if line.startswith("train: chose"))
    kept = {row["phase"]: (row["round"], row["brier"]) for row in result["history"] if row["kept"]}
    name = chosen.split()[2].rstrip(",")
    assert (
        chosen
        == f"train: chose {name}, learning_rate {rate}: lowest brier on validation, {kept[name][1]:.3f} at round {kept[name][0]} of 6"
    )
    assert kept[name][1] == min(value for _, value in kept.values())
    assert f"train.2: 6 rounds; kept round {kept['train.2'][0]}, brier {kept['train.2'][1]:.3f}" in lines
    assert next_step(wardround, tmp_path) == ["wardround", "verify", str(results)]


def test_another_study_does_not_take_over_a_folder_s_command(wardround: Terminal, tmp_path: Path, command: list[str]) -> None:
    assert wardround(*command).code == 0
    kept = (tmp_path / "results" / "command.json").read_text()
    assert json.loads(kept) == {"study": "../study.toml", "sites": ["../north.toml", "../south.toml"], "workers": 0}
    (tmp_path / "other.toml").write_text(STUDY.replace("rounds = 2", "rounds = 3"))
    said = wardround("simulate", tmp_path / "other.toml", *command[2:])
    assert said.code == 2
    assert "another one than this folder was started with" in said.err
    assert (tmp_path / "results" / "command.json").read_text() == kept


def test_warnings_follow_the_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tell(Result(tmp_path, {"sites": {"north": {}}, "verdicts": {}, "warnings": ["It guesses."]}), json=False)
    first, second, *_ = capsys.readouterr().out.strip().splitlines()
    assert "no verdict" in first.lower()
    assert second == "Warning: It guesses."


@pytest.mark.parametrize("words", [("verify", "nowhere"), ("report", "nowhere")])
def test_a_folder_that_is_not_there_is_wrong_use(wardround: Terminal, words: tuple[str, ...]) -> None:
    said = wardround(*words)
    assert said.code == 2
    assert "nowhere" in said.err
