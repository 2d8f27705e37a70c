"""`wardround verify`: check the record of a study offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wardround.cli import runs, say

COLOURS = {"PASS": "green", "FAIL": "red", "INCOMPLETE": "yellow"}


def verify(
    path: Annotated[Path, typer.Argument(help="Results folder, or the record folder in it.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check a study's record offline: what left each site, who signed it, and whether all sides agree.

    Exits with 0 when every line passes, with 1 when one fails, with 2 when evidence is missing. Witnesses come with a later release, so a
    clean run says "witnesses: INCOMPLETE" and exits with 2.
    """
    from wardround.record.verify import verify as check
    from wardround.study.errors import StoreError

    if not (path / "record").exists():
        runs.refuse_unfinished(path)
    if not path.is_dir():
        raise StoreError(f"{path}: there is no such folder.", "Name the results folder of a study; it holds the folder record.")
    if not any((path / name).exists() for name in ("record", "study", "result.json", "model.safetensors", "report.html")):
        raise StoreError(
            f"{path}: there is no study's result here.", "Name the folder that simulate or demo wrote: it holds the folder record."
        )
    report = check(path)
    if json:
        say.document(report.as_dict())
        raise typer.Exit(report.exit_code)
    width = max(len(line.name) for line in report.lines)
    for line in report.lines:
        verdict = typer.style(f"{line.verdict:<10}", fg=COLOURS[line.verdict])
        typer.echo(f"{verdict}  {line.name:<{width}}  {line.text}")
    typer.echo()
    if report.certificate:
        typer.echo(report.certificate)
    typer.secho(f"Verdict: {report.verdict}", fg=COLOURS[report.verdict], bold=True)
    raise typer.Exit(report.exit_code)
