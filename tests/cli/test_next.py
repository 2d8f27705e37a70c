"""`wardround next` names the step that waits, and a command that does it."""

from __future__ import annotations

import shlex
import sqlite3
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from wardround.cli.next import waiting

SITE = 'name = "{}"\n[source]\nkind = "table"\npath = "x.csv"\n'


def command(folder: Path, number: int = 0) -> list[str]:
    return shlex.split(list(waiting(folder))[number].command)


def test_step_after_step(wardround: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "my study"
    folder.mkdir()
    study = folder / "study.toml"
    assert command(folder) == ["wardround", "study", "new", str(study), "--template", "binary"]
    assert wardround(*command(folder)[1:]).code == 0
    assert command(folder) == ["wardround", "site", "new", str(folder / "site.toml"), "--study", str(study)]
    assert wardround(*command(folder)[1:]).code == 0
    assert command(folder) == ["wardround", "site", "check", str(folder / "site.toml"), "--study", str(study)]
    assert command(folder, 1)[:5] == ["wardround", "simulate", str(study), "--site", str(folder / "site.toml")]
    study.write_text(study.read_text().replace("quorum", "quorom"))
    assert command(folder) == ["wardround", "study", "check", str(study)]
    assert "2 findings" in next(iter(waiting(folder))).text


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """A folder with a study, two sites in a folder of their own, and an interrupted run."""
    (tmp_path / "inputs").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "inputs" / "study.toml").write_text("")
    for name in ("north", "south"):
        (tmp_path / "inputs" / f"file-of-{name}.toml").write_text(SITE.format(name))
    with sqlite3.connect(tmp_path / "run" / "state.sqlite") as state:
        state.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
        state.execute("INSERT INTO meta VALUES ('data', ?)", (b'{"south": "sha256:1", "north": "sha256:2"}',))
    state.close()
    return tmp_path


def test_an_interrupted_run_is_resumed_by_the_same_command(started: Path) -> None:
    inputs = started / "inputs"
    sites = ["--site", str(inputs / "file-of-north.toml"), "--site", str(inputs / "file-of-south.toml")]
    assert command(started) == ["wardround", "simulate", str(inputs / "study.toml"), *sites, "--out", str(started / "run")]


def test_a_site_that_is_not_found_is_asked_for(started: Path) -> None:
    (started / "inputs" / "file-of-south.toml").unlink()
    assert "add the --site" in next(iter(waiting(started))).text


def test_a_finished_run_is_verified(started: Path, wardround: Terminal) -> None:
    with sqlite3.connect(started / "run" / "state.sqlite") as state:
        state.execute("INSERT INTO meta VALUES ('released', ?)", (b"yes",))
    state.close()
    assert command(started) == ["wardround", "verify", str(started / "run")]
    assert command(started, 1) == ["wardround", "report", str(started / "run")]
    assert wardround("next", started, "--json").document["steps"][0]["command"] == shlex.join(command(started))


def test_a_running_study_is_waited_for(started: Path, wardround: Terminal) -> None:
    state = sqlite3.connect(started / "run" / "state.sqlite")
    state.execute("PRAGMA locking_mode = EXCLUSIVE")
    state.execute("BEGIN EXCLUSIVE")
    said = wardround("next", started)
    state.close()
    assert said.out == f"{started / 'run'}: a study is running. Wait for it.\n"


def test_a_damaged_state_is_no_traceback(started: Path) -> None:
    (started / "run" / "state.sqlite").write_bytes(b"this is not a database" * 99)
    assert "interrupted" in next(iter(waiting(started))).text
