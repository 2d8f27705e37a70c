"""`wardround report`: write the report of a finished study again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wardround.cli import runs, say


def report(
    folder: Annotated[Path, typer.Argument(help="Results folder of a finished study.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write report.html anew from the result and the record in a folder.

    Exits with 1 when the result is not the one that the record says was released.
    """
    from wardround.pages.report import check_released, write_report

    if not (folder / "result.json").exists():
        runs.refuse_unfinished(folder)
    check_released(folder)
    path = write_report(folder)
    if json:
        say.document({"report": str(path)})
    else:
        say.line(f"Wrote {path}")
