"""`wardround study estimate`: hours, bytes, memory and money of a study, before anybody signs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wardround.cli import say

if TYPE_CHECKING:
    from wardround.study.protocol import Protocol


def estimate(
    study: Annotated[Path, typer.Argument(help="The study file.")],
    site: Annotated[
        list[Path] | None, typer.Option("--site", help="A site file, for how many rows it has; once for each site. Rows are counted here.")
    ] = None,
    sites: Annotated[int, typer.Option(min=0, help="How many sites, in place of site files; 0 for as many as the plan allows.")] = 0,
    examples: Annotated[int, typer.Option(min=0, help="Rows of each site; 0 for as many as the plan allows.")] = 0,
    rates: Annotated[Path | None, typer.Option("--rates", help="A rate sheet; without one the price is not known.")] = None,
    mbit: Annotated[float, typer.Option(min=0, help="Megabits a second of the coordinating centre's line; 0 where not known.")] = 0,
    latency: Annotated[float, typer.Option(min=0, help="Milliseconds for a message there and back.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a study will take, of each site and in all: hours, bytes, memory, privacy spent, and money where a rate sheet is given.

    A few rounds are tried out on this machine, on made-up rows of the sites' sizes, so it takes some seconds, and the hours are those of
    machines like this one.
    """
    from wardround.estimate import estimate as worked_out
    from wardround.rates import read_rates
    from wardround.simulation import load_study

    protocol = load_study(study).protocol
    prices = None if rates is None else read_rates(rates)
    found = worked_out(protocol, _rows(protocol, site or [], sites, examples), mbit, latency / 1000, prices)
    if json:
        say.document(found)
        return
    for text in lines(found):
        say.line(text)


def _rows(protocol: Protocol, files: list[Path], sites: int, examples: int) -> dict[str, int]:
    """Return how many rows each site has.

    Raises:
        ProtocolError: site files and a number of sites are both given, or a site file is wrong.
        DataError: a site's rows cannot be read.
    """
    from wardround.data.load import inspect
    from wardround.data.site_file import load_site
    from wardround.study.errors import ProtocolError

    if not files:
        names = [f"site-{number:03d}" for number in range(1, (sites or protocol.bounds.sites) + 1)]
        return dict.fromkeys(names, examples or protocol.bounds.examples)
    if sites or examples:
        raise ProtocolError("Site files and numbers of sites or rows do not go together.", "Give --site, or --sites with --examples.")
    found: dict[str, int] = {}
    for one in map(load_site, files):
        checked = inspect(one, protocol)
        if checked.dataset is None:
            raise checked.report.error()
        found[one.name] = len(checked.dataset)
    if len(found) < len(files):
        raise ProtocolError("Two site files have the same name.", "Give every site its own name.")
    return found


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield an estimate in words."""
    hospitals, simulation, money = found["hospitals"], found["simulation"], found["money"]
    sizes = [one["examples"] for one in found["sites"].values()]
    yield f"Study {found['study']}: {found['rounds']} rounds, {len(sizes)} sites with {min(sizes):,} to {max(sizes):,} rows."
    if found["at_most"]:
        yield "At most: a phase ends earlier where the plan's stop rule, or the sums themselves, say so."
    line = "" if hospitals["line_counted"] else ", the line not counted (--mbit)"
    yield f"  between hospitals     {_time(hospitals['seconds'])}{line}"
    each = hospitals["site"]
    yield f"  each site             sends {_size(each['bytes_up'])}, receives {_size(each['bytes_down'])}, memory {_size(each['memory'])}"
    yield f"  coordinating centre   memory {_size(hospitals['coordinator']['memory'])}"
    yield f"  in all                {_size(hospitals['all']['bytes_up'])} from sites, {_size(hospitals['all']['bytes_down'])} to sites"
    yield f"  simulated here        {_time(simulation['seconds'])}, memory {_size(simulation['memory'])}"
    yield f"  privacy spent         {found['privacy']['note']}"
    if money == "not known":
        yield "  money                 not known (--rates)"
        return
    parts = f"each site {money['site']:,.2f}, centre {money['coordinator']:,.2f}"
    yield f"  money                 {money['all']:,.2f} {money['currency']}: {parts}"
    if money["not_priced"]:
        yield f"                        not in the rate sheet: {', '.join(money['not_priced'])}"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}" if unit != "kB" else f"{count / size:.0f} {unit}"
    return f"{count:.0f} B"
