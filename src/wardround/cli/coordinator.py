"""`wardround coordinator`: set up a coordinating centre, invite hospitals, serve the study, cut a hospital off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround.cli import say

if TYPE_CHECKING:
    from wardround.serving import Serving

app = typer.Typer(help="Set up a coordinating centre, invite hospitals, serve a study.", no_args_is_help=True, rich_markup_mode=None)
FOLDER = Annotated[Path, typer.Argument(help="The coordinator's folder.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must be empty or not there.")],
    study: Annotated[Path, typer.Option("--study", help="The study file.")],
    address: Annotated[str, typer.Option(help="Address of this machine on which the hub listens; never all interfaces.")],
    port: Annotated[int, typer.Option(help="Port of the hub, the only one that hospitals need to reach.")] = 4222,
    name: Annotated[str, typer.Option(help="One word for the coordinating centre; stands in its log's name.")] = "coordinator",
    host: Annotated[
        list[str] | None, typer.Option("--host", help="Name or address by which hospitals call the hub; may be repeated.")
    ] = None,
    slots: Annotated[int, typer.Option(help="Most hospitals that can be invited.")] = 64,
) -> None:
    """Make a coordinator's folder for one study: keys, certificates, the plan and its initial parameters. Nothing is started."""
    from wardround import centre
    from wardround.record.note import fingerprint
    from wardround.simulation import load_study

    made = centre.init(folder, load_study(study).protocol, name, address, port, host or [], slots)
    say.line(f"Made {folder} for study {made.protocol.study}, protocol {made.protocol.digest}.")
    say.line(f"Fingerprint of the coordinator: {fingerprint(made.signer.vkey)}", bold=True)
    say.line(f"Invite a hospital: wardround coordinator invite {folder} NAME. Then serve: wardround coordinator serve {folder}")


@app.command()
def invite(
    folder: FOLDER,
    site: Annotated[str, typer.Argument(help="Name of the hospital in the study.")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; NAME.invite in the folder if not given.")] = None,
    hours: Annotated[float, typer.Option(min=0.001, max=24 * 90, help="For how long it is good.")] = 72,
) -> None:
    """Write an invite for one hospital: good once, and until it expires. Whoever holds it can join, so hand it over safely."""
    from wardround import centre
    from wardround.coordinator.folder import Folder, write_secret
    from wardround.record.note import fingerprint
    from wardround.study.errors import StoreError

    place, made = out or folder / f"{site}.invite", Folder(folder)
    if place.exists():
        raise StoreError(f"{place} exists already.", "Remove it first, or name another file.")
    write_secret(place, centre.invite(made, site, hours))
    say.line(f"Wrote {place}, good for {hours:g} hours and once. Give it to {site} on a way that others cannot read.")
    say.line(f"Fingerprint to compare by telephone: {fingerprint(made.signer.vkey)}")


@app.command()
def serve(
    folder: FOLDER,
    start_with: Annotated[int, typer.Option(min=0, help="Hospitals that must have approved; 0 for all that are invited.")] = 0,
) -> None:
    """Run the hub and the study until it has ended. Killed or stopped at any moment, the same command goes on."""
    from wardround.cli.progress import watching
    from wardround.coordinator.folder import Folder
    from wardround.serving import Serving

    made = Folder(folder)
    with say.ending(), watching(made.protocol) as watch:
        serving = Serving(made, start_with, watch)
        try:
            _serve(serving)
        finally:
            serving.close()
    page = folder / ("passport.html" if made.protocol.evaluates else "report.html")
    say.line(f"The study has ended. Read {page}, and check the record: wardround verify {folder}")


def _serve(serving: Serving) -> None:
    from wardround.serving import FAREWELL

    serving.run()
    serving.wait_for_sites(FAREWELL)


@app.command()
def revoke(
    folder: FOLDER,
    site: Annotated[str, typer.Argument(help="Name of the hospital.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Cut a hospital off, at once; its key is good no longer, and the study goes on without it. Exit code 1: the hub could not be told."""
    from dataclasses import asdict

    from wardround import centre
    from wardround.coordinator.folder import Folder
    from wardround.study.errors import Unreachable

    done = centre.cut_off(Folder(folder), site, "revoked")
    if json:
        say.document(asdict(done))
    elif done.hub == "told":
        say.line(f"{site} is cut off: the hub was told, its key is good no longer and its line is cut.")
        if len(done.servers) > 1:
            say.line(f"Servers of the hub that read the new list: {', '.join(done.servers)}.")
            say.line(f"One that is down now must start on {folder / 'hub' / 'nats.conf'}, or on a copy as of now.")
    elif done.hub == "not running":
        say.line(f"{site} is cut off: no hub runs now, and when it starts {site}'s key is good no longer.")
    if done.hub == "not told":
        say.complain(Unreachable(f"{site} is off the list, but the hub was not told, so its line may still be up: {done.why}", done.remedy))
        raise typer.Exit(say.NO)


@app.command()
def status(folder: FOLDER, json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say how the study stands, and which hospitals are invited, in, silent, revoked or gone."""
    from wardround.coordinator.folder import Folder
    from wardround.standing import standing

    found = standing(Folder(folder))
    if json:
        say.document(found)
        return
    say.line(f"Study {found['study']}: {found['text']}", bold=True)
    for site in found["sites"]:
        say.line(f"  {site['site']:<24} {site['state']}{site['fingerprint'] and '; fingerprint ' + site['fingerprint']}")
