"""`wardround simulate`: run a whole study with all its sites on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround.cli import runs, say

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
    tell(run(runs.Started(study, tuple(site), workers, out), json), json)


def run(started: runs.Started, json: bool = False) -> Result:
    """Run a study while its progress is shown on standard error.

    Args:
        started: study file, site files, worker processes and folder for results.
        json: whether standard output belongs to a machine.

    Raises:
        WardroundError: as `wardround.simulation.simulate` does.
        typer.Exit: Ctrl-C; the last whole round is kept.
    """
    from wardround.cli.progress import watching
    from wardround.coordinator.events import Event, StudyStarted
    from wardround.simulation import load_study
    from wardround.simulation import simulate as run_study

    loaded = load_study(started.study)
    try:
        with watching(loaded.protocol, runs.history(started.out)) as show:

            def watch(event: Event) -> None:
                if isinstance(event, StudyStarted):  # only now it is sure that the folder belongs to this study
                    runs.keep(started)
                show(event)

            return run_study(loaded, started.sites, started.out, workers=started.workers, watch=watch)
    except KeyboardInterrupt:
        say.stopped("The last whole round is kept; the same command goes on from there.", json)
        raise typer.Exit(130) from None


def tell(result: Result, json: bool) -> None:
    """Print what a study came to, what warns of it and where it lies, or its result as a document."""
    if json:
        say.document(dict(result.result))
        return
    from wardround.pages import passport
    from wardround.pages.headline import headline
    from wardround.pages.statistics import answer

    say.line("")
    ends = {"statistics": answer, "evaluation": passport.headline}
    say.line(ends.get(str(result.result.get("kind")), headline)(result.result), bold=True)
    for warning in result.result.get("warnings", []):
        say.line(f"Warning: {warning}", bold=True)
    say.line("")
    page = "passport.html" if result.result.get("kind") == "evaluation" else "report.html"
    say.line(f"{'Passport' if page != 'report.html' else 'Report'}:  {result.folder / page}")
    if result.result.get("model"):
        say.line(f"Model:   {result.folder / 'model.safetensors'}")
    say.line(f"Verify:  {runs.command('verify', result.folder)}")
