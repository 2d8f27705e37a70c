"""`wardround study feasibility`: how many patients would a study have? Criterion by criterion, with all sites on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wardround.cli import runs, say

KIND = "feasibility"
BAR = 30
"""Characters of the longest bar."""


def feasibility(
    study: Annotated[Path, typer.Argument(help='The study file, with kind = "statistics" and a phase of kind "feasibility".')],
    out: Annotated[Path, typer.Option("--out", help="Folder for results. The same command goes on where it was interrupted.")],
    site: Annotated[list[Path], typer.Option("--site", help="A site file; once for each site.")],
    need: Annotated[int, typer.Option(min=0, help="Patients that the study needs; 0 for no such question.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print result.json on standard output.")] = False,
) -> None:
    """Count the patients that meet each criterion, and step by step all of them, with all sites on this machine.

    Between hospitals the same study file is served like any other. With --need exits with 1 when fewer are left after the last criterion,
    and with 2 when that cannot be said, since a count is withheld.
    """
    from wardround.cli.simulate import run
    from wardround.simulation import load_study
    from wardround.study.errors import ProtocolError

    if not any(phase.kind == KIND for phase in load_study(study).protocol.phases):
        raise ProtocolError(
            f"{study} has no phase of kind {KIND!r}.", 'Add [[phases]] with kind = "feasibility" and criteria; see docs/statistics.md.'
        )
    result = run(runs.Started(study, tuple(site), 0, out), json)
    tables = [one for one in result.result["statistics"].values() if one["kind"] == KIND]
    if json:
        say.document(dict(result.result))
    else:
        for table in tables:
            for text in lines(table):
                say.line(text)
        say.line(f"Report:  {result.folder / 'report.html'}")
        say.line(f"Verify:  {runs.command('verify', result.folder)}")
    if need:
        raise typer.Exit(max((answered(table, need) for table in tables), default=say.OK))


def answered(table: Mapping[str, Any], need: int) -> int:
    """Return the exit code for how many patients are needed: enough, too few, or not to be said."""
    last = table["steps"][-1]["remaining"]
    if isinstance(last["count"], int) and last["count"] >= need:
        return say.OK
    return say.WRONG_USE if not isinstance(last["count"], int) or last.get("held_back_at") else say.NO


def lines(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield a flow as text: a line a step, with how many it takes out and a bar for those left."""
    steps = [("all", {}, table["start"]), *((one["name"], one["excluded"], one["remaining"]) for one in table["steps"])]
    wide = max(len(name) for name, _, _ in steps)
    most = max((left["count"] for _, _, left in steps if isinstance(left["count"], int)), default=1) or 1
    for name, out, left in steps:
        bar = "█" * round(BAR * left["count"] / most) if isinstance(left["count"], int) else ""
        taken = f"  takes out {_text(out)}" if out else ""
        yield f"{name:<{wide}}  {_left(left):>9}  {bar}{taken}".rstrip()
    label = table.get("label")
    if label:
        shares = [f"{one['code']} {_text(one)}" + ("" if one["share"] is None else f" ({one['share']:.1%})") for one in label["cells"]]
        yield f"{label['field']} among those who meet all: {', '.join(shares)}, missing {_text(label['missing'])}"


def _left(found: Mapping[str, Any]) -> str:
    """Return how many patients are left: where sites held that back, at least how many."""
    held = found.get("held_back_at")
    if not held or not isinstance(found["count"], int):
        return _text(found)
    return f"at least {found['count']} ({held} {'site' if held == 1 else 'sites'} held back)"


def _text(found: Mapping[str, Any]) -> str:
    held = found.get("held_back_at")
    sites = "site" if held == 1 else "sites"
    return f"{found['count']} (+ {held} {sites} held back)" if held else str(found["count"])
