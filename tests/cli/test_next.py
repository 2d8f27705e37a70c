"""`wardround next` names the step that waits, and a command that does it."""

from __future__ import annotations

import shlex
import sqlite3
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from wardround.cli.next import waiting
from wardround.cli.runs import Started, keep

SITE = 'name = "{}"\n[source]\nkind = "table"\npath = "x.csv"\n'


def command(folder: Path, number: int = 0) -> list[str]:
    return shlex.split(list(waiting(folder))[number].command)


def commands(folder: Path) -> list[list[str]]:
    return [shlex.split(step.command) for step in waiting(folder)]


def texts(folder: Path) -> str:
    return "\n".join(step.text for step in waiting(folder))


def stated(study: Path) -> None:
    """Fill in what a template leaves open."""
    text = study.read_text().replace("to be stated", "stated").replace("my-study", "mine")
    study.write_text(text.replace("Name of the coordinating centre", "Aachen"))


def test_step_after_step(wardround: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "my study"
    folder.mkdir()
    study = folder / "study.toml"
    assert command(folder) == ["wardround", "study", "new", str(study), "--template", "binary"]
    assert wardround(*command(folder)[1:]).code == 0
    assert "study, parties.coordinator, parties.legal_basis, parties.ethics, parties.retention. Fill that in" in texts(folder)
    assert command(folder) == ["wardround", "study", "check", str(study)]
    stated(study)
    for number, name in enumerate(("site.toml", "site-2.toml", "site-3.toml")):
        assert f"at least 3 sites (rounds.quorum); site files here: {number}." in texts(folder)
        assert commands(folder)[-1] == ["wardround", "site", "new", str(folder / name), "--study", str(study)]
        assert wardround(*commands(folder)[-1][1:]).code == 0
        assert ["wardround", "site", "check", str(folder / name), "--study", str(study)] in commands(folder)
    sites = [word for name in ("site-2", "site-3", "site") for word in ("--site", str(folder / f"{name}.toml"))]
    assert commands(folder)[3:] == [["wardround", "simulate", str(study), *sites, "--out", str(folder / "results")]]
    study.write_text(study.read_text().replace("quorum", "quorom"))
    assert command(folder) == ["wardround", "study", "check", str(study)]
    assert "2 findings" in next(iter(waiting(folder))).text


def test_two_sites_of_one_name_are_told_apart_first(wardround: Terminal, tmp_path: Path) -> None:
    wardround("study", "new", tmp_path / "study.toml")
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.toml").write_text(SITE.format("north" if name < "c" else "south"))
    assert f"these have the same: {tmp_path / 'a.toml'}, {tmp_path / 'b.toml'}." in texts(tmp_path)
    assert not any("simulate" in words for words in commands(tmp_path))


def test_site_files_of_another_study_are_left_alone(wardround: Terminal, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "other", tmp_path / "wards"):
        folder.mkdir(exist_ok=True)
        (folder / "a.toml").write_text(SITE.format(folder.name))
        if folder.name != "wards":
            wardround("study", "new", folder / "study.toml")
    assert [words[3] for words in commands(tmp_path) if words[1:3] == ["site", "check"]] == [
        str(tmp_path / "a.toml"),
        str(tmp_path / "wards" / "a.toml"),
    ]


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """A folder with an interrupted run of a study in another folder."""
    (tmp_path / "inputs").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "inputs" / "plan.toml").write_text("")
    sites = tuple(tmp_path / "inputs" / f"{name}.toml" for name in ("south", "north"))
    keep(Started(tmp_path / "inputs" / "plan.toml", sites, 2, tmp_path / "run"))
    with sqlite3.connect(tmp_path / "run" / "state.sqlite") as state:
        state.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL)")
    state.close()
    return tmp_path


SAME = shlex.split("wardround simulate inputs/plan.toml --site inputs/south.toml --site inputs/north.toml --out run --workers 2")


def test_an_interrupted_run_is_resumed_by_the_very_command_that_started_it(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(started)[2] == str(started / "inputs" / "plan.toml")
    monkeypatch.chdir(started)
    assert commands(Path(".")) == [SAME]
    moved = started / "elsewhere"
    moved.mkdir()
    for name in ("inputs", "run"):
        (started / name).rename(moved / name)
    monkeypatch.chdir(moved)
    assert commands(Path(".")) == [SAME]
    monkeypatch.chdir(moved / "run")
    plan, *sites = (str(moved / "inputs" / f"{name}.toml") for name in ("plan", "south", "north"))
    assert command(Path(".")) == ["wardround", "simulate", plan, "--site", sites[0], "--site", sites[1], "--out", ".", "--workers", "2"]


@pytest.mark.parametrize("text", ["", "[]", '{"study": 1, "sites": [], "workers": 0}', '{"study": "a"}', None])
def test_a_run_without_its_command_gets_no_guess(started: Path, text: str | None) -> None:
    kept = started / "run" / "command.json"
    kept.unlink() if text is None else kept.write_text(text)
    (step,) = waiting(started)
    assert step.command == ""
    assert "goes on when it is run again" in step.text


def test_another_study_beside_a_run_waits_as_well(started: Path, wardround: Terminal) -> None:
    (started / "results").mkdir()
    assert len(list(waiting(started))) == 1
    wardround("study", "new", started / "study.toml")
    stated(started / "study.toml")
    for name in ("a", "b", "c"):
        (started / f"{name}.toml").write_text(SITE.format(name))
    assert [words[1] for words in commands(started)] == ["simulate", "site", "site", "site", "simulate"]
    assert commands(started)[-1][-1] == str(started / "results-2")


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
