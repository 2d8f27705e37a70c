"""What a round between hospitals costs when nobody trains: over TLS, by real processes on this machine, beside Flower and NVFLARE.

A phase that only echoes stands in for training; gate, fixed point, signatures, both logs, the hub, the fold and the store are what
hospitals run. The rivals' deployments are configured as well as their documents allow (see `rivals/`), their models have the same size,
and their rounds end when the mean is known. Rows are made up.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.parts.deployment import echo
from benchmarks.parts.many import twenty
from benchmarks.rivals import flower, nvflare, timing, venvs
from benchmarks.rivals.rival import Rival

TINY = "round without training, 3 sites, tiny model, median"
TEN = "10 sites x 28 MB, one round"
LARGE = "3 sites x 500 MB, one round"
SHARE = "3 sites x 500 MB, share of Flower's time in the same run"
PEAK = "3 sites x 500 MB, coordinator's peak memory over the model's size"
MANY = "20 sites, 20 rounds, one killed, one frozen: rounds closed"
GATE = "20 sites: largest gate"
CASES = {TINY: (3, 0.03, 40), TEN: (10, 28.0, 5), LARGE: (3, 500.0, 3)}
"""Sites, megabytes and rounds of each case."""

LIMIT = 900.0
Figures = list[dict[str, Any]]


def run(data: Path, quick: bool) -> tuple[Figures, str]:
    """Return a figure for every goal under [federation], and the table beside the rivals.

    Args:
        data: not needed.
        quick: ours only, and fewer rounds.
    """
    figures: Figures = []
    text = ["one round without training; median (first) in seconds, peak memory of the coordinating side in MB", ""]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        pythons = {} if quick else {name: venvs.prepare(name, work / "rivals") for name in RIVALS}
        for what, (sites, megabytes, rounds) in CASES.items():
            ours = timed(work / "ours", sites, megabytes, 3 if quick else rounds)
            rows = {"wardround": ours}
            for name, (python, versions) in pythons.items():
                rows[f"{name} {versions[VERSION[name]]}"] = timing.timed(
                    RIVALS[name], python, sites, megabytes, min(rounds, 10), work / "runs" / f"{name}-{sites}-{megabytes:g}", LIMIT
                )
            figures += judged(what, megabytes, rows)
            text += [what, *(f"  {row(name, one)}" for name, one in rows.items()), ""]
        found = twenty(work / "many", 5 if quick else 20)
        figures += [figure(MANY, found["rounds"], "rounds", 1), figure(GATE, max(found["gates"]), "MB", len(found["gates"]))]
        text += [f"20 sites: {found['text']}"]
    return figures, "\n".join(text)


RIVALS: dict[str, Rival] = {"flower": flower, "nvflare": nvflare}
VERSION = {"flower": "flwr", "nvflare": "nvflare"}


def timed(place: Path, sites: int, megabytes: float, rounds: int) -> dict[str, Any]:
    """Return our own figures in the rivals' form."""
    found = echo(place, sites, int(megabytes * 1e6 / 4), rounds, LIMIT)
    shutil.rmtree(place)
    if found["refused"]:
        return {"value": None, "why": found["refused"][0]}
    seconds = found["seconds"]
    middle = statistics.median(seconds[1:] or seconds)
    return {"value": middle, "first": seconds[0], "seconds": seconds, "peak_mb": found["peak"], "gates": found["gates"]}


def judged(what: str, megabytes: float, rows: dict[str, dict[str, Any]]) -> Figures:
    """Return the figures of one case: ours, and how it stands beside the rivals'."""
    ours = rows["wardround"]
    if ours["value"] is None:
        return []
    seconds = ours["seconds"]
    found = [figure(what, ours["value"], "s", len(seconds), min(seconds), max(seconds))]
    for name, one in rows.items():
        if name != "wardround" and one["value"] is not None:
            found.append(figure(f"{what}: {name}", one["value"], "s", len(one["seconds"])))
    if what == LARGE:
        found.append(figure(PEAK, ours["peak_mb"] / megabytes, "x", 1))
        theirs = next((one["value"] for name, one in rows.items() if name.startswith("flower")), None)
        if theirs is not None:
            found.append(figure(SHARE, ours["value"] / theirs, "x", 1))
    return found


def row(name: str, one: dict[str, Any]) -> str:
    """Return one line of the table."""
    if one["value"] is None:
        return f"{name:<18} not measured: {one['why']}"
    return f"{name:<18} {one['value']:8.3f} ({one['first']:.3f})  {one['peak_mb']:8.0f}"


def figure(what: str, value: float, unit: str, n: int, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Return one figure in the benchmarks' form."""
    least, most = value if low is None else low, value if high is None else high
    ends = {"low": round(least, 3), "high": round(most, 3)}
    return {"what": what, "value": round(value, 3), "unit": unit, "n": n, "seeds": [], **ends}
