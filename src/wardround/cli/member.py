"""`wardround site`, the part that a hospital in a study needs: join, prepare, review, approve, run, and say no."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.cli import say
from wardround.cli.rehearse import site_rehearse

if TYPE_CHECKING:
    from wardround.bringing import Brings
    from wardround.site.folder import SiteFolder

FOLDER = Annotated[Path, typer.Option("--dir", help="The hospital's folder.")]
HERE = Path(".")


def join(
    invite: Annotated[Path, typer.Argument(help="The invite from the coordinating centre.")],
    folder: FOLDER = HERE,
    expected: Annotated[str, typer.Option("--fingerprint", help="As told by telephone; an invite of another is refused.")] = "",
) -> None:
    """Join a study with an invite: make this hospital's keys, here, and fetch the protocol. No data is touched."""
    import time

    from wardround import hospital
    from wardround.cli.site import site_text
    from wardround.record.note import fingerprint
    from wardround.study.errors import VerificationError

    found = fingerprint(hospital.read_invite(invite, time.time()).coordinator)
    if expected and expected.replace(" ", "") != found.replace(" ", ""):
        raise VerificationError(
            "This invite is not from the coordinator with that fingerprint.", "Ask the coordinating centre by telephone."
        )
    made = hospital.join(folder, invite)
    member = made.membership
    site_file = folder / hospital.SITE_FILE
    if not site_file.exists():
        site_file.write_text(site_text(member.site, made.protocol.contract, "patients.csv"), encoding="utf-8")
        say.line(f"Wrote {site_file}; name your table and columns in it.")
    say.line(f"{member.site} has joined study {member.study}; its keys lie in {folder / 'keys'} and never leave.")
    say.line(f"Fingerprint of the coordinator, to compare by telephone: {fingerprint(member.coordinator)}", bold=True)
    say.line(f"Fingerprint of this hospital, for those who ask: {made.fingerprint}")
    say.line("Next: read the protocol (wardround site review), allow what you allow in policy.toml, then: wardround site approve")


def prepare(
    folder: FOLDER = HERE,
    keep: Annotated[
        bool, typer.Option("--keep", help="In a study with frozen data, go on with the rows as approved though the table differs now.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Read this hospital's rows and opt-out list, hold them against the contract and write the snapshot. Reaches no coordinator.

    Once answers have left, compare with the snapshot in use: patients on the opt-out list are taken out; newer rows are taken in where the
    plan says data = "rolling"; where it says "frozen", changed rows stop this hospital until they are put back, or until --keep.
    """
    from wardround import bringing
    from wardround.site.folder import SiteFolder

    _brings(bringing.prepare(SiteFolder(folder), keep), json)


def withdraw(folder: FOLDER = HERE, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Read the opt-out list again and take out who is on it, from the next round on. The hospital's table is not opened."""
    from wardround import bringing
    from wardround.site.folder import SiteFolder

    _brings(bringing.withdraw(SiteFolder(folder)), json, withdraws=True)


def changes(folder: FOLDER = HERE, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say which rows were not as in the snapshot when 'site prepare' last compared: places in the table and fields, never a value."""
    from wardround import bringing
    from wardround.site.folder import SiteFolder

    found = bringing.changed_rows(SiteFolder(folder))
    if json:
        say.document(found)
        return
    say.line(f"Compared with snapshot {found['snapshot']}:", bold=True)
    for row in found["rows"]:
        fields = ", ".join(row["fields"]) or "what differs cannot be told"
        where = f"row {row['row']} of the table: {fields}" if row["row"] else "a row that is gone"
        say.line(f"  patient {row['patient'][:8]}, {where}")
    say.line(
        f"  {len(found['rows'])} rows of {found['patients']} patients changed, {found['gone']} of these patients have no row any more."
    )
    say.line(f"  {found['added']} patients and {found['new_rows']} rows of known patients are new, {found['moved']} stand in another part.")


def _brings(found: Brings, json: bool, withdraws: bool = False) -> None:
    """Say what came of preparing; small counts are not shown."""
    from wardround.data.report import shown
    from wardround.record.entries import band

    brought, different, told = found.brought, found.changes, [one.sentence for one in found.told]
    if json:
        counts = {"patients": band(brought.patients), "rows": band(brought.rows), "withdrew": shown(found.withdrew)}
        more = {} if different is None else {"changed_rows": shown(len(different.rows)), "new_patients": shown(different.added)}
        say.document({"snapshot": brought.snapshot, "newer": found.newer, "ends": found.ends, **counts, **more, "opt_out": told})
        return
    for one in found.told:
        say.line(f"{one.sentence} {one.remedy}")
    if different is not None and different.rows:
        say.line(f"{different}. Look which: wardround site changes")
    if found.withdrew:
        say.line(f"{shown(found.withdrew)} patients withdrew. They are in nothing that is worked out from now on.")
    if found.ends:
        say.line("This ends this hospital's part in the study, since its sums with and without these patients could be subtracted.")
    elif found.newer:
        say.line(f"The snapshot of {band(brought.patients)} patients, {brought.snapshot}, counts from the next round on.")
    elif different is not None or withdraws:
        if withdraws and not found.withdrew:
            say.line("Nobody on the opt-out list is in the snapshot.")
        say.line(f"The snapshot stays as it is, {brought.snapshot}.")
    else:
        say.line(f"Prepared a snapshot of {band(brought.patients)} patients, {brought.snapshot}.")


def review(folder: FOLDER = HERE, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Print what the study would do with this hospital's data, in plain words, and where the hospital's rules forbid it."""
    import time

    from wardround.site.folder import SiteFolder
    from wardround.site.reviewing import asked_lines, asked_so_far
    from wardround.study.protocol.summary import as_text, summary

    made = SiteFolder(folder)
    protocol, parts = made.protocol, summary(made.protocol)
    broken, asked = _broken(made), asked_so_far(made, time.time())
    if json:
        page = [{"title": part.title, "lines": list(part.lines)} for part in parts]
        say.document({"study": protocol.study, "digest": protocol.digest, "summary": page, "forbidden": broken, "asked": asked})
        return
    for part in parts:
        title, _, lines = as_text([part], say.width()).partition("\n")
        say.line(title, bold=True)
        say.line(lines)
    say.line("This hospital's rules", bold=True)
    for one in broken or ["They allow all of this (policy.toml)."]:
        say.line(f"  {one}")
    if asked is not None:
        say.line("What studies of statistics were told of these patients so far", bold=True)
        for one in asked_lines(asked):
            say.line(f"  {one}")
    say.line("")
    say.line(f"Protocol {protocol.digest}")


def approve(
    folder: FOLDER = HERE,
    role: Annotated[str, typer.Option("--as", help="Who approves, such as data-protection officer.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    held: Annotated[
        str,
        typer.Option(
            metavar="CODE", help="Let out the answer that 'site status' shows under this code, in place of approving the protocol."
        ),
    ] = "",
) -> None:
    """Sign this exact protocol for this hospital. Prepares the data first if that was not done, in a process of its own."""
    from wardround import hospital
    from wardround.site.folder import PREPARED, SiteFolder

    made = SiteFolder(folder)
    if held:
        say.line(f"The answer to {hospital.decide(made, 'release', held)} is let out.")
        return
    if not (folder / PREPARED).exists():
        _prepare_apart(folder)
    if not yes:
        review(folder)
        if not typer.confirm("Approve this protocol for this hospital?"):
            say.line("Nothing was signed. To refuse it for good: wardround site refuse")
            raise typer.Exit(say.NO)
    hospital.approve(made, role or "not stated")
    say.line(f"Approved {made.protocol.digest} for snapshot {made.brought.snapshot}. Next: wardround site run")


def refuse(
    folder: FOLDER = HERE,
    reason: Annotated[str, typer.Option(help="One line that the coordinating centre is told.")] = "no reason given",
    held: Annotated[
        str, typer.Option(metavar="CODE", help="Refuse the answer that 'site status' shows under this code, in place of the protocol.")
    ] = "",
) -> None:
    """Refuse the protocol: nothing is answered from now on, and the coordinating centre is told."""
    from wardround import hospital
    from wardround.site.folder import SiteFolder

    made = SiteFolder(folder)
    if held:
        say.line(f"The answer to {hospital.decide(made, 'refuse', held)} is refused.")
        return
    told = hospital.refuse(made, reason)
    say.line("Refused. " + ("The coordinating centre is told." if told else "The coordinating centre could not be told; tell it yourself."))


def run(folder: FOLDER = HERE) -> None:
    """Take part until the study ends: dial out, answer what was approved, log what leaves. The same command goes on after any stop."""
    from wardround import hospital
    from wardround.site.folder import SiteFolder

    with say.ending():
        hospital.run(SiteFolder(folder), say.line)


def leave(folder: FOLDER = HERE) -> None:
    """Leave the study for good: nothing is answered from now on, and the coordinating centre is told."""
    from wardround import hospital
    from wardround.site.folder import SiteFolder

    told = hospital.leave(SiteFolder(folder))
    say.line("Left. " + ("The coordinating centre is told." if told else "The coordinating centre could not be told; tell it yourself."))


def status(folder: FOLDER = HERE, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say how this hospital stands: approved or not, what was answered, and what waits for a person's look."""
    from wardround.hospital import status as found
    from wardround.site.folder import SiteFolder
    from wardround.site.reviewing import asked_lines

    facts = found(SiteFolder(folder))
    if json:
        say.document(facts)
        return
    say.line(f"{facts['site']} in study {facts['study']}: {facts['text']}", bold=True)
    for name, count in facts["log"].items():
        say.line(f"  {name:<12} {count}")
    for held in facts["held"]:
        say.line(f"  waits for a look: {held['turn']}, code {held['code']}")
        for term in held["terms"]:
            say.line(f"    {term['name']:<32} {term['shape']!s:<14} from {term['low']:.4g} to {term['high']:.4g}")
    for one in asked_lines(facts["asked"]) if facts["asked"] else []:
        say.line(f"  told: {one}")
    if facts["own"]:
        say.line(f"  this hospital's own figures, beside the totals: {', '.join(facts['own'])}")
    say.line(f"  fingerprint of this hospital: {facts['fingerprint']}")
    for other in facts["others"]:
        say.line(f"  met {other['site']}, fingerprint {other['fingerprint']}, to be compared by telephone")
    for path in facts["evidence"]:
        say.line(f"  a step of the secure sum was refused; what the coordinating centre had signed lies in {path}")
    for failure in facts["failures"]:
        when = datetime.datetime.fromtimestamp(failure["time"]).isoformat(" ")
        say.line(f"  went wrong here at {when}: {failure['text']}")


def log(folder: FOLDER = HERE, json: Annotated[bool, typer.Option("--json", help="Print every entry as a line of JSON.")] = False) -> None:
    """Print this hospital's log: what left, what was refused, what was approved."""
    import json as library

    from wardround.hospital import entries
    from wardround.site.folder import SiteFolder

    for entry in entries(SiteFolder(folder)):
        if json:
            typer.echo(library.dumps(entry, ensure_ascii=False, sort_keys=True))
        else:
            say.line(_sentence(entry))


def _sentence(entry: dict[str, Any]) -> str:
    turn = f"{entry['phase']}, round {entry['round'] + 1}" if "phase" in entry else ""
    match entry["t"]:
        case "egress":
            text = f"sent {entry['bytes']} bytes of {entry['kind']} for {turn}, examples {entry['examples']}"
        case "refused":
            text = f"refused {turn} ({entry['where']}): {entry['reason']}"
        case "snapshot":
            why = {"withdrawal": ", since patients withdrew", "rolling": ", with newer rows"}.get(entry.get("why", ""), "")
            text = f"brought a snapshot of {entry['patients']} patients from a {entry['source']} source{why}"
        case "changed":
            decision = "stopped" if entry["decision"] == "stop" else "went on with those that were approved"
            text = f"found {entry['rows']} rows of {entry['patients']} patients changed, and {decision}"
        case "approval":
            text = f"approved protocol {entry['protocol']} ({entry['role']})"
        case "declined":
            text = f"refused protocol {entry['protocol']}: {entry['reason']}"
        case "left":
            text = "left the study"
        case "handed_over":
            text = f"handed a copy of this log to the {entry['to']}"
        case "results":
            text = f"sent this hospital's own test figures, {entry['bytes']} bytes, to the {entry['to']}"
        case _:
            text = f"{entry['t']} {turn}".strip()
    return f"{entry['ts']}  {text}"


def what_would_leave(folder: Path, quiet: bool = False) -> list[str]:
    """Print what would leave a hospital that has joined; return which of its rules forbid the study."""
    from wardround.site.folder import SiteFolder
    from wardround.study.protocol.summary import as_text, summary

    made = SiteFolder(folder)
    broken = _broken(made)
    if not quiet:
        part = next(one for one in summary(made.protocol) if one.title == "What leaves each hospital")
        say.line(as_text([part], say.width()))
        for one in broken:
            say.line(one)
    return broken


def _broken(folder: SiteFolder) -> list[str]:
    """Return which of the hospital's rules forbid the study, one sentence each."""
    import time

    from wardround.site.reviewing import complaints
    from wardround.study.errors import ProtocolError

    try:
        return [f"Rule {rule} forbids it: {why}." for rule, why in complaints(folder, time.time())]
    except ProtocolError as error:
        return [str(error)]


def _prepare_apart(folder: Path) -> None:
    """Run the loader in a process of its own: what reads the hospital's systems is not what talks to a coordinator."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-m", "wardround", "site", "prepare", "--dir", str(folder)], check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


def add_to(app: typer.Typer) -> None:
    """Give `wardround site` these commands."""
    for command in (join, prepare, withdraw, changes, review, approve, refuse, run, status, log, leave):
        app.command()(command)
    app.command(name="rehearse")(site_rehearse)
