"""Know what a results folder holds: the command that started the study there, and how far it came.

The command is kept beside the results, since nobody can guess it: the study file may lie anywhere. Its paths are relative to the results
folder, so that this can be moved together with its inputs.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any, Literal, NamedTuple

COMMAND, STATE = "command.json", "state.sqlite"


class Started(NamedTuple):
    """Hold what a study was started with.

    Attributes:
        study: its file.
        sites: site files.
        workers: worker processes.
        out: the results folder.
    """

    study: Path
    sites: tuple[Path, ...]
    workers: int
    out: Path

    def __str__(self) -> str:
        """Return the command that goes on with it."""
        workers = ("--workers", self.workers) if self.workers else ()
        sites = (word for path in self.sites for word in ("--site", path))
        return command("simulate", self.study, *sites, "--out", self.out, *workers)


def command(*words: object) -> str:
    """Return a `wardround` command, quoted for a shell.

    Example:
        >>> command("verify", "my run")
        "wardround verify 'my run'"
    """
    return shlex.join(["wardround", *map(str, words)])


def keep(started: Started) -> None:
    """Write down in the results folder what a study was started with."""
    study, *sites = (os.path.relpath(path, started.out) for path in (started.study, *started.sites))
    text = json.dumps({"study": study, "sites": sites, "workers": started.workers}, indent=1)
    fresh = started.out / f"{COMMAND}.new"
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(started.out / COMMAND)


def started(out: Path) -> Started | None:
    """Return what the study in a results folder was started with; None where no command of ours started it."""
    try:
        kept = json.loads((out / COMMAND).read_text(encoding="utf-8"))
        study, *sites = (_path(out, path) for path in (kept["study"], *kept["sites"]))
        return Started(study, tuple(sites), int(kept["workers"]), out)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def state(out: Path) -> Literal["running", "finished", "interrupted"] | None:
    """Return how far the study in a folder is; None where there is none."""
    import sqlite3

    if not (out / STATE).exists():
        return None
    try:
        return "finished" if _rows(out, "SELECT 1 FROM meta WHERE key = 'released'") else "interrupted"
    except sqlite3.DatabaseError as error:
        return "running" if "locked" in str(error) else "interrupted"


def history(out: Path) -> list[dict[str, Any]]:
    """Return one row for each round that a folder has seen; none where they cannot be read: running the study says why."""
    import sqlite3

    try:
        return [json.loads(row) for (row,) in _rows(out, "SELECT row FROM history ORDER BY number")]
    except (sqlite3.DatabaseError, ValueError):
        return []


def refuse_unfinished(out: Path) -> None:
    """Do nothing where a study is finished or there is none.

    Raises:
        StoreError: there is one that is not finished yet; names the command that goes on.
    """
    from wardround.study.errors import StoreError

    found = state(out)
    if found == "running":
        raise StoreError(f"{out}: this study is running and has not finished.", "Wait for it, then run this again.")
    if found == "interrupted":
        again = started(out)
        remedy = f"The same command goes on: {again}" if again else "The same command, or the same call in Python, goes on."
        raise StoreError(f"{out}: this study has not finished.", remedy)


def _rows(out: Path, query: str) -> list[tuple[Any, ...]]:
    """Return rows of a study's state, which stays as it is."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(f"{(out / STATE).resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
        return connection.execute(query).fetchall()


def _path(out: Path, kept: str) -> Path:
    """Return a kept path as it is written from here: relative while it does not lead out of this folder."""
    path = os.path.normpath(out / kept)
    return Path(os.path.abspath(path) if path.startswith(os.pardir) else path)
