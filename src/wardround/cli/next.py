"""`wardround next`: say what waits for you in a folder, and the command that does it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from wardround.cli import say

RESULTS = "results"


class Step(NamedTuple):
    """Hold one thing that waits.

    Attributes:
        text: what it is.
        command: what to run; empty when there is nothing to do but wait.
    """

    text: str
    command: str


def next(
    folder: Annotated[Path, typer.Argument(help="Folder with a study, or where one shall be.")] = Path("."),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what waits for you here, and the exact command."""
    steps = list(waiting(folder))
    if json:
        say.document({"folder": str(folder.resolve()), "steps": [step._asdict() for step in steps]})
        return
    for step in steps:
        say.line(step.text)
        if step.command:
            say.line(f"    {step.command}", bold=True)


def waiting(folder: Path) -> Iterator[Step]:
    """Yield what waits in a folder, the first step first.

    Args:
        folder: may hold `study.toml` and site files (also one folder deeper) and results folders.
    """
    study = _first([folder / "study.toml", *sorted(folder.glob("*/study.toml"))])
    sites = site_files(folder)
    runs = [path.parent for path in sorted([*folder.glob("state.sqlite"), *folder.glob("*/state.sqlite")])]
    for run in runs:
        yield from _run(run, study, sites)
    if runs:
        return
    if not study.exists():
        yield Step("There is no study here yet. Write one:", _command("study", "new", study, "--template", "binary"))
    elif (wrong := _wrong(study)) is not None:
        yield Step(f"The study file cannot be used yet ({wrong}). See what is wrong with it:", _command("study", "check", study))
    elif not sites:
        command = _command("site", "new", folder / "site.toml", "--study", study)
        yield Step("The study is complete. Describe the data of a hospital:", command)
    else:
        for path in sites.values():
            yield Step(f"Check the data of {path}:", _command("site", "check", path, "--study", study))
        yield Step("Run the study with all sites on this machine:", _simulate(study, list(sites.values()), folder / RESULTS))


def _first(paths: list[Path]) -> Path:
    """Return the first path that exists, or the first of all."""
    return [*(path for path in paths if path.exists()), paths[0]][0]


def site_files(folder: Path) -> dict[str, Path]:
    """Return the site files in a folder and one folder deeper, by the name of the site."""
    import tomllib

    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("*.toml"), *folder.glob("*/*.toml")]):
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if "source" in data and isinstance(data.get("name"), str):
            found.setdefault(data["name"], path)
    return found


def _wrong(study: Path) -> str | None:
    """Return how much is wrong with a study file, or None."""
    from wardround.simulation import load_study
    from wardround.study.errors import ProtocolError
    from wardround.study.findings import FileRefused

    try:
        load_study(study)
    except FileRefused as refused:
        return f"{len(refused.findings)} findings" if len(refused.findings) > 1 else "one finding"
    except ProtocolError as error:
        return error.message
    return None


def _run(run: Path, study: Path, sites: dict[str, Path]) -> Iterator[Step]:
    """Yield what waits in a results folder."""
    state, names = _state(run / "state.sqlite")
    if state == "running":
        yield Step(f"{run}: a study is running. Wait for it.", "")
    elif state == "finished":
        yield Step(f"{run}: the study is finished. Read {run / 'report.html'}, and check the record:", _command("verify", run))
        yield Step("Write the report again from result and record:", _command("report", run))
    else:
        known = [sites[name] for name in names if name in sites]
        missing = "" if len(known) == len(names) else " (add the --site of the other sites that took part)"
        yield Step(f"{run}: the study was interrupted. The same command goes on{missing}:", _simulate(study, known, run))


def _state(path: Path) -> tuple[str, list[str]]:
    """Return "running", "finished" or "interrupted", and the names of the sites, from a study's state."""
    import json
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
            kept = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('released', 'data')"))
    except sqlite3.DatabaseError as error:
        return ("running" if "locked" in str(error) else "interrupted"), []
    return ("finished" if "released" in kept else "interrupted"), sorted(json.loads(kept["data"])) if "data" in kept else []


def _simulate(study: Path, sites: list[Path], out: Path) -> str:
    return _command("simulate", study, *(part for path in sites for part in ("--site", path)), "--out", out)


def _command(*words: str | Path) -> str:
    return shlex.join(["wardround", *(str(word) for word in words)])
