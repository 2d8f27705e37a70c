"""Rehearse a study: `wardround study rehearse` at the coordinating centre or on one machine, `wardround site rehearse` at a hospital."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.cli import say
from wardround.cli.doctor import COLOURS, Found

if TYPE_CHECKING:
    from wardround.site.folder import SiteFolder

_OF_THE_WAY = ("name", "port", "tls", "hub clock", "disk")
"""Checks whose words hold nothing of this machine but how it reaches the hub, its clock and how much room it has."""

_ASK = "Its own screen says what, and what to do: ask there."
_SENTENCES = {
    "StoreError": "Its folder or its disk cannot be used.",
    "DataError": "Rows could not be made up from the contract.",
    "ProtocolError": "The plan cannot be carried out there.",
    "PolicyRefused": "Its own machine says no.",
    "VerificationError": "A file or a message there is not genuine.",
    "Unreachable": "It does not reach the hub.",
    "NotAdmitted": "The hub does not let it in.",
    "MissingExtra": "An optional part of the program is not installed there.",
}
"""What the coordinating centre is told of an error at a hospital, whose own words may name a local file."""


def study_rehearse(
    place: Annotated[Path, typer.Argument(help="The study file, with --site; or the coordinator's folder.")],
    site: Annotated[
        list[Path] | None, typer.Option("--site", help="A site file; once for each site. Only its name is read, no patient's row.")
    ] = None,
    wait: Annotated[float, typer.Option(min=1, max=3600, help="Seconds for which hospitals are waited for.")] = 30,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run all phases of a study in short, on made-up rows: who can be reached, how long a round takes, how many bytes, what goes wrong.

    In a coordinator's folder it is served to the hospitals that have joined; at each, run: wardround site rehearse. It needs no approval,
    since a hospital's gate answers it with made-up rows only. A model that is to be tested is not run: its scores are made up. Exits with 0
    when every site took part, with 1 when something is wrong.
    """
    from wardround.cli.progress import watching
    from wardround.coordinator.folder import Folder
    from wardround.rehearsal import rehearse_between, rehearse_here
    from wardround.simulation import load_study
    from wardround.study.errors import ProtocolError
    from wardround.study.protocol.rehearsed import rehearsal_of

    if place.is_dir():
        if site:
            raise ProtocolError("Site files are for a rehearsal on this machine.", "Give the study file in place of the folder.")
        folder = Folder(place)
        with watching(rehearsal_of(folder.protocol)) as watch:
            made = rehearse_between(folder, wait, watch)
    else:
        protocol = load_study(place).protocol
        if not site:
            raise ProtocolError(
                "No site is named.", "Give --site for each site, or the coordinator's folder for hospitals that have joined."
            )
        with watching(rehearsal_of(protocol)) as watch:
            made = rehearse_here(protocol, site, watch)
    if json:
        say.document(made.document())
    else:
        for text in lines(made.document()):
            say.line(text)
    raise typer.Exit(say.OK if made.whole else say.NO)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a rehearsal came to, in words."""
    rounds = found["round_seconds"]
    if rounds:
        yield (
            f"Rehearsed {found['study']} on made-up rows: {found['rounds']} rounds in {found['seconds']:.0f} s, a round "
            f"{rounds['median']:.2f} s, the slowest {rounds['slowest']:.2f} s; {found['bytes_up']:,} bytes of sums up, "
            f"{found['bytes_down']:,} down."
        )
    else:
        yield f"The rehearsal of {found['study']} closed no round."
    for site, state in found["sites"].items():
        yield f"  {site:<24} {state}"
    for one in found["faults"]:
        yield f"{one['site'] or 'the study'}: {one['what']}"
        yield f"    {one['remedy']}"
    if found["ok"]:
        yield "Nothing stood in the way."


def site_rehearse(
    folder: Annotated[Path, typer.Option("--dir", help="The hospital's folder.")] = Path("."),
    invite: Annotated[Path | None, typer.Option("--invite", help="Join with this invite first.")] = None,
) -> None:
    """Take part in the rehearsal that the coordinating centre serves, on made-up rows; no patient's record is opened, nothing is approved.

    Looks first whether this machine can: name, port, TLS, key, clock, disk. What is missing is said here and, where the hub can be reached,
    to the coordinating centre. Exits with 0 when the rehearsal ended well, with 1 when something is missing.
    """
    from wardround import hospital
    from wardround.rehearsing import take_part
    from wardround.site.folder import SiteFolder
    from wardround.study.errors import StoreError, WardroundError

    if invite is not None:
        hospital.join(folder, invite)
    made = SiteFolder(folder)
    _ = made.membership  # a folder that has joined nothing says so
    if hospital.running(made.path):
        raise StoreError("A process takes part as this hospital here, in the study or in a rehearsal.", "Wait for it to end, or stop it.")
    missing = []
    for one in _looked_at(made):
        typer.echo(f"{typer.style(f'{one.verdict:<8}', fg=COLOURS[one.verdict])}  {one.name:<10}  {one.text}")
        if one.remedy:
            typer.echo(f"{'':22}{one.remedy}")
        missing += [one] if one.verdict == "missing" else []
    if missing:
        _tell(made, *_outside(missing[0]))
        raise typer.Exit(say.NO)
    try:
        with say.ending():
            take_part(made, say.line)
    except WardroundError as error:
        _tell(made, _SENTENCES.get(type(error).__name__, "Something stands in its way."), _ASK)
        raise


def _looked_at(folder: SiteFolder) -> Iterator[Found]:
    """Yield what was found on the way to the hub, of the disk, and where the hospital's own rules forbid the study."""
    from wardround.cli.doctor_network import network
    from wardround.rehearsing import needs, room
    from wardround.study.errors import WardroundError

    yield from network(folder.path, None)
    size = needs(folder)
    why = room(folder.path, size)
    text = f"this machine's disk has no room for the {size / 1e6:.0f} MB of this study: {why}"
    yield Found("disk", "missing", text, "Make room in this folder.") if why else Found("disk", "ok", f"has room for {size / 1e6:.0f} MB")
    try:
        broken = list(folder.rules.complaints(folder.protocol, "", 2**53))
    except WardroundError as error:
        yield Found("rules", "warning", error.message, error.remedy)
        return
    for rule, why in broken:
        if rule != "sources":
            yield Found(
                "rules", "warning", f"rule {rule} of policy.toml forbids the study itself: {why}", "Change it, or refuse the study."
            )


def _outside(found: Found) -> tuple[str, str]:
    """Return what the coordinating centre is told of what is missing, and the remedy; of a folder or a key no more than that."""
    if found.name in _OF_THE_WAY:
        return f"{found.name}: {found.text}.", found.remedy
    return f"{found.name}: it is not in order.", _ASK


def _tell(folder: SiteFolder, reason: str, remedy: str) -> None:
    """Tell the coordinating centre what keeps this hospital from the rehearsal, where it can be told; no word of it is about the study."""
    from wardround.engines.agent import tell
    from wardround.study.errors import WardroundError
    from wardround.study.protocol.rehearsed import rehearsal_of

    try:
        tell(folder, "decline", {"reason": reason, "remedy": remedy}, rehearsal_of(folder.protocol).digest)
    except WardroundError:
        typer.echo("The coordinating centre could not be told; tell it yourself.")
    else:
        typer.echo("The coordinating centre is told.")
