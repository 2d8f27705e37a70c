"""`wardround next`: say what waits for you in a folder, and the command that does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from wardround.cli import runs, say

if TYPE_CHECKING:
    from wardround.study.protocol import Protocol

RESULTS = "results"


class Step(NamedTuple):
    """Hold one thing that waits.

    Attributes:
        text: what it is.
        command: what to run; empty when there is nothing to run.
    """

    text: str
    command: str


class SiteFound(NamedTuple):
    """Hold a site file that was found, and the name of its site."""

    name: str
    path: Path


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
    """Yield what waits in a folder, the first step first: for each run there, and for a study that has none yet.

    Args:
        folder: may hold `study.toml`, with site files beside it or one folder deeper, and results folders.
    """
    found = [path.parent for path in sorted([*folder.glob(runs.STATE), *folder.glob(f"*/{runs.STATE}")])]
    commands = {run: runs.started(run) for run in found}
    for run, started in commands.items():
        yield from _run(run, started)
    study = _first([folder / "study.toml", *sorted(folder.glob("*/study.toml"))])
    begun = [started is None or started.study.resolve() == study.resolve() for started in commands.values()]
    if any(begun) or (found and not study.exists()):
        return
    if not study.exists():
        yield Step("There is no study here yet. Write one:", runs.command("study", "new", study, "--template", "binary"))
        return
    read = _read(study)
    if isinstance(read, str):
        yield Step(f"The study file cannot be used yet ({read}). See what is wrong with it:", runs.command("study", "check", study))
    else:
        yield from _prepare(study, read, _free(folder / RESULTS))


def _run(run: Path, started: runs.Started | None) -> Iterator[Step]:
    """Yield what waits in a results folder."""
    state = runs.state(run)
    if state == "running":
        yield Step(f"{run}: a study is running. Wait for it.", "")
    elif state == "finished":
        page = next_page(run)
        yield Step(f"{run}: the study is finished. Read {page}, and check the record:", runs.command("verify", run))
        yield Step("Write the report again from result and record:", runs.command("report", run))
    elif started is not None:
        yield Step(f"{run}: the study was interrupted. The same command goes on:", str(started))
    else:
        yield Step(f"{run}: the study was interrupted. What started it, such as a call in Python, goes on when it is run again.", "")


def next_page(run: Path) -> Path:
    """Return the page to read of a finished study: the passport of a tested model, else the report."""
    return run / "passport.html" if (run / "passport.html").exists() else run / "report.html"


def _prepare(study: Path, protocol: Protocol, out: Path) -> Iterator[Step]:
    """Yield what is still to be done before a study can be run, and how to run it."""
    from wardround.study.protocol.templates import left_to_fill_in

    left = left_to_fill_in(protocol)
    if left:
        text = f"The study file still says what the template says of {', '.join(left)}. Fill that in, then check it:"
        yield Step(text, runs.command("study", "check", study))
    sites = site_files(study.parent)
    for site in sites:
        yield Step(f"Check the data of {site.path}:", runs.command("site", "check", site.path, "--study", study))
    twice = [name for name, count in Counter(site.name for site in sites).items() if count > 1]
    if twice:
        named = ", ".join(str(site.path) for site in sites if site.name in twice)
        yield Step(f"Give every site a name of its own; these have the same: {named}.", "")
    elif len(sites) < protocol.rounds.quorum:
        known = f"The study needs at least {protocol.rounds.quorum} sites (rounds.quorum); site files here: {len(sites)}."
        command = runs.command("site", "new", _free(study.parent / "site.toml"), "--study", study)
        yield Step(f"{known} Describe the data of {'another' if sites else 'a'} hospital:", command)
    else:
        words = (word for site in sites for word in ("--site", site.path))
        command = runs.command("simulate", study, *words, "--out", out)
        yield Step("Run the study with all sites on this machine:", command)


def _first(paths: list[Path]) -> Path:
    """Return the first path that exists, or the first of all."""
    return [*(path for path in paths if path.exists()), paths[0]][0]


def _free(path: Path) -> Path:
    """Return a path that nothing has yet: this one, or the next with a number."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def site_files(folder: Path) -> list[SiteFound]:
    """Return the site files of the study in a folder: those there, and those one folder deeper where no other study is."""
    import tomllib

    deeper = [path for path in folder.glob("*/*.toml") if not path.with_name("study.toml").exists()]
    found = []
    for path in sorted([*folder.glob("*.toml"), *deeper]):
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if "source" in data and isinstance(data.get("name"), str):
            found.append(SiteFound(data["name"], path))
    return found


def _read(study: Path) -> Protocol | str:
    """Return the protocol in a study file, or how much is wrong with it."""
    from wardround.simulation import load_study
    from wardround.study.errors import ProtocolError
    from wardround.study.findings import FileRefused

    try:
        return load_study(study).protocol
    except FileRefused as refused:
        return f"{len(refused.findings)} findings" if len(refused.findings) > 1 else "one finding"
    except ProtocolError as error:
        return error.message
