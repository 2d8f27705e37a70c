"""`wardround simulate`, `verify` and `report`, from a table to a verified record."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal

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


def test_from_tables_to_a_verified_record(wardround: Terminal, tmp_path: Path, command: list[str]) -> None:
    said = wardround(*command)
    results = tmp_path / "results"
    assert said.code == 0, said.err
    assert f"wardround verify {results}" in said.out
    assert said.err.splitlines()[0] == "small: 3 phases at 2 sites (north, south)"
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
    assert said.code == 130
    assert "The last whole round is kept; the same command goes on from there." in said.err


@pytest.mark.parametrize("words", [("verify", "nowhere"), ("report", "nowhere")])
def test_a_folder_that_is_not_there_is_wrong_use(wardround: Terminal, words: tuple[str, ...]) -> None:
    said = wardround(*words)
    assert said.code == 2
    assert "nowhere" in said.err
