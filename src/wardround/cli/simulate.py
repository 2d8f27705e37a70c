"""`wardround simulate`: run a whole study with all its sites on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround.cli import say

if TYPE_CHECKING:
    from wardround.simulation import Result


def simulate(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for results. The same command goes on where it was interrupted.")],
    site: Annotated[list[Path], typer.Option("--site", help="A site file; once for each site.")],
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0 trains in this one. The results are the same.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print result.json on standard output.")] = False,
) -> None:
    """Run a study with all sites on this machine, from their data to the report."""
    tell(run(study, site, out, workers), json)


def run(study: Path, sites: list[Path], out: Path, workers: int = 0) -> Result:
    """Run a study while its progress is shown on standard error.

    Args:
        study: its file.
        sites: site files.
        out: folder for results.
        workers: worker processes; 0 for none.

    Raises:
        WardroundError: as `wardround.simulation.simulate` does.
        typer.Exit: Ctrl-C; the last whole round is kept.
    """
    from wardround.cli.progress import watching
    from wardround.simulation import load_study
    from wardround.simulation import simulate as run_study

    loaded = load_study(study)
    try:
        with watching() as watch:
            return run_study(loaded, sites, out, workers=workers, watch=watch)
    except KeyboardInterrupt:
        typer.echo("Stopped. The last whole round is kept; the same command goes on from there.", err=True)
        raise typer.Exit(130) from None


def tell(result: Result, json: bool) -> None:
    """Print what a study came to and where it lies, or its result as a document."""
    if json:
        say.document(dict(result.result))
        return
    from wardround.pages.headline import headline

    say.line("")
    say.line(headline(result.result), bold=True)
    say.line("")
    say.line(f"Report:  {result.folder / 'report.html'}")
    say.line(f"Model:   {result.folder / 'model.safetensors'}")
    say.line(f"Verify:  wardround verify {result.folder}")
