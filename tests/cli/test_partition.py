"""`wardround study partition`: what Python's `partition` does, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.api.test_partition import SPLIT, rows, source
from wardround.cli.main import app
from wardround.study.errors import ProtocolError

STUDY = """
study = "small"
[question]
kind = "binary"
title = "Small"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract]
label = "ill"
[contract.fields]
a = { type = "number", unit = "1", range = [-5, 5] }
b = { type = "number", unit = "1", range = [-5, 5] }
ill = { type = "code", codes = ["0", "1"] }
[model]
kind = "logistic"
[[phases]]
name = "moments"
kind = "moments"
[[phases]]
name = "train"
kind = "fedavg"
[[phases]]
name = "test"
kind = "evaluate"
[bounds]
sites = 10
examples = 500
[rounds]
quorum = 2
[evaluation]
metrics = ["auroc"]
"""


def call(folder: Path, *further: str) -> str:
    (folder / "study.toml").write_text(STUDY)
    site = source(folder, rows(120), SPLIT)
    done = CliRunner().invoke(app, ["study", "partition", str(folder / "study.toml"), str(site), "--out", str(folder / "out"), *further])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_hospitals_are_written_and_told(tmp_path: Path) -> None:
    told = call(tmp_path, "--by", "labels", "--by", "quantity", "--sites", "3", "--set", "alpha=0.5", "--set", "law=lognormal")
    assert told.splitlines()[-1] == f"Wrote 3 simulated hospitals into {tmp_path / 'out'}."
    assert "hospital-1.toml: " in told and (tmp_path / "out" / "hospital-3.toml").exists()
    options = json.loads((tmp_path / "out" / "partition.json").read_text())["options"]
    assert options["labels"]["alpha"] == 0.5 and options["quantity"]["law"] == "lognormal"


def test_json_is_the_file(tmp_path: Path) -> None:
    told = call(tmp_path, "--by", "column", "--set", "column=scanner", "--least", "5", "--json")
    assert json.loads(told) == json.loads((tmp_path / "out" / "partition.json").read_text())


@pytest.mark.parametrize(
    ("further", "words"),
    [(["--set", "alpha"], "is no option"), (["--set", "seed=3"], "is no option"), (["--test", "some"], "is not possible")],
)
def test_wrong_options_are_refused(tmp_path: Path, further: list[str], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        call(tmp_path, *further)
    assert not (tmp_path / "out").exists()
