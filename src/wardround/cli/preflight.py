"""`wardround study preflight`: do the hospitals mean the same? Compare them field by field, or write the plan for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wardround.cli import runs, say


def preflight(
    study: Annotated[Path, typer.Argument(help="The study file; of a study that is to follow, or the plan of a preflight.")],
    site: Annotated[list[Path] | None, typer.Option("--site", help="A site file; once for each site, two at least.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for results. The same command goes on where it was interrupted.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Write the plan for hospitals to agree to, in place of running it here.")
    ] = None,
    site_results: Annotated[
        str, typer.Option(help="Of --plan: blinded (hospitals see each other without names) or open (with names).")
    ] = "blinded",
    json: Annotated[bool, typer.Option("--json", help="Print what was found as one JSON document.")] = False,
) -> None:
    """Compare hospitals before a study begins: units, codes, signs, dates, markers for missing values, shares, drift, label cards.

    With --site and --out, all hospitals on this machine. With --plan, writes the study file of the preflight, to be served with
    'wardround coordinator init' like any other: nothing is trained, and each hospital finds itself in the result. Exits with 0 when nothing
    clashes, with 1 when something does, and with 2 when nothing can be said.
    """
    from wardround.study.errors import ProtocolError

    if plan is not None:
        if site or out:
            raise ProtocolError("--plan writes a plan and runs nothing.", "Leave out --site and --out, or --plan.")
        _write(study, plan, site_results, json)
        return
    if out is None or not site or len(site) < 2:
        raise ProtocolError(
            "A preflight compares hospitals, so it needs two site files and a folder.",
            "Add --site FILE twice and --out DIR; or --plan FILE.",
        )
    result = _run(study, tuple(site), out, json)
    table = _tell(result, out, json)
    raise typer.Exit(_answered(table))


def _write(study: Path, plan: Path, site_results: str, json: bool) -> None:
    from wardround.cli.study import write_new
    from wardround.preflight import is_preflight, plan_text
    from wardround.simulation import load_study
    from wardround.study.errors import ProtocolError

    if site_results not in ("blinded", "open"):
        raise ProtocolError(f"--site-results: {site_results!r} is not known.", "Write blinded or open.")
    protocol = load_study(study).protocol
    if is_preflight(protocol):
        raise ProtocolError(f"{study} is the plan of a preflight already.", f"Read it: wardround study check {study}")
    write_new(plan, plan_text(protocol, site_results))
    checked = load_study(plan).protocol
    if json:
        say.document({"plan": str(plan), "study": checked.study, "digest": checked.digest})
        return
    say.line(f"Wrote {plan}, the preflight of {protocol.study}; nothing is trained.")
    say.line(f"What a data-protection officer reads: wardround study check {plan}")
    say.line(f"Among hospitals: wardround coordinator init FOLDER --study {plan} (see wardround coordinator init --help)")


def _run(study: Path, sites: tuple[Path, ...], out: Path, json: bool) -> Mapping[str, Any]:
    from wardround.cli.progress import watching
    from wardround.preflight import plan_of
    from wardround.simulation import Study, load_study
    from wardround.simulation import simulate as run_study

    protocol = plan_of(load_study(study).protocol, len(sites))
    try:
        with watching(protocol, runs.history(out)) as show:
            return run_study(Study(protocol, study), sites, out, watch=show).result
    except KeyboardInterrupt:
        say.stopped("The same command goes on from there.", json)
        raise typer.Exit(130) from None


def _tell(result: Mapping[str, Any], out: Path, json: bool) -> Mapping[str, Any]:
    """Print what was found, the gravest first."""
    from wardround.pages.preflight import GRADES, answer, odd, table_of

    table = table_of(result) or {}
    if json:
        say.document({"answer": answer(result), "report": str(out / "report.html"), **table})
        return table
    say.line("")
    say.line(answer(result), bold=True)
    for one in odd(table):
        if one["grade"] in ("clash", "differs"):
            say.line(f"  {GRADES[one['grade']]:<8} {one['field'] or 'all rows'} at {one['site']}: {one['sentence']}")
        if one["grade"] == "clash":
            say.line(f"           {one['remedy']}")
    say.line("")
    say.line(f"Report:  {out / 'report.html'}")
    say.line(f"Verify:  {runs.command('verify', out)}")
    return table


def _answered(table: Mapping[str, Any]) -> int:
    if table["verdict"] == "clash":
        return say.NO
    said = any(one["verdict"] != "cannot_say" for field in table["fields"] for one in field["sites"].values())
    return say.OK if said else say.WRONG_USE
