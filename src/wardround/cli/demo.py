"""`wardround demo`: a study on real data, from nothing to the report, in about ten seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEMOS = ("breast-cytology",)


def demo(
    name: Annotated[str, typer.Argument(help=f"Which demo: {', '.join(DEMOS)}.")] = DEMOS[0],
    out: Annotated[Path, typer.Option("--out", help="Folder for inputs and results.")] = Path("wardround-demo"),
    json: Annotated[bool, typer.Option("--json", help="Print result.json on standard output.")] = False,
) -> None:
    """Run a study on real data: 569 patients with a breast mass, dealt out to five made-up hospitals.

    Tables, site files and study file are written to OUT/inputs, the results to OUT/results. Copy the inputs to begin with data of your own.
    """
    from wardround.cli import runs
    from wardround.cli.simulate import run, tell
    from wardround.study.errors import ProtocolError

    if name not in DEMOS:
        raise ProtocolError(f"There is no demo named {name!r}.", f"Use one of: {', '.join(DEMOS)}.")
    from wardround.demos.breast_cytology import write

    inputs = write(out / "inputs")
    typer.echo(f"Wrote {len(inputs.sites)} hospitals' tables, their site files and the study file to {out / 'inputs'}.", err=True)
    tell(run(runs.Started(inputs.study, inputs.sites, 0, out / "results"), json), json)
